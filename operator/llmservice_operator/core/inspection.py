"""Reading a model's configuration before any GPU is taken, where a check needs it.

A Job of the runtime image reads config.json and reports through its container's termination message. Its result goes
into the status; once it is seen there, the Job has done its work and goes.
"""

import dataclasses
import datetime
from typing import Any

import pydantic

from llmservice_contract.inspection import InspectionFailure, NotAnInspection, inspection_from_json
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.core import diagnosis, pods, reasons, times, words
from llmservice_operator.core.observed import Object
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict, no, unknown
from llmservice_operator.render import devices, names, source
from llmservice_operator.render.inspection import make_inspection

RETRY_SECONDS = 60
LONGEST_RETRY_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Reading:
    """How far the reading of a model is."""

    facts: ModelFacts | None = None
    """What is known of the spec's model; None where nothing is."""
    verdict: Verdict | None = None
    """Why the facts are not there; None where they are, or are not needed."""
    jobs: tuple[dict[str, Any], ...] = ()
    """The Job that is needed now."""
    retry: Object | None = None
    """A failed Job that goes, so that another is made."""
    requeue_after: float | None = None
    unchecked: bool = False
    """Whether a check would need facts of a model that can't be read beforehand."""


def read(situation: Situation, spec: LLMServiceSpec) -> Reading:
    """The model's facts, or what there is to do to get them."""
    key = facts_key(spec)
    if situation.facts is not None and situation.facts.source == key:
        return Reading(facts=situation.facts)
    if devices.per_replica(spec) == 1:
        return Reading()
    if source.parse(spec.model.source).scheme is source.Scheme.S3:
        return Reading(unchecked=True)
    desired = make_inspection(situation.owner, spec, situation.observed.platform)
    job = next((job for job in situation.own("Job") if job["metadata"]["name"] == desired["metadata"]["name"]), None)
    if job is None:
        return Reading(verdict=_pending(situation, f"a Job reads the configuration of {key}"), jobs=(desired,))
    return _result(situation, key, desired, job)


def facts_key(spec: LLMServiceSpec) -> str:
    """Which model facts are of: source and revision."""
    revision = f"@{spec.model.revision}" if spec.model.revision else ""
    return spec.model.source + revision


def _result(situation: Situation, key: str, desired: dict[str, Any], job: Object) -> Reading:
    pod = next((pod for pod in situation.observed.pods if pods.owned_by(pod, job["metadata"]["uid"])), None)
    ended = (pods.container(pod, names.INSPECTION_CONTAINER).get("state", {}) if pod else {}).get("terminated")
    if ended:
        try:
            return Reading(facts=_facts(key, ended.get("message") or ""), jobs=(desired,))
        except _Unreadable as error:
            said = str(error) or f"the inspection ended with exit code {ended.get('exitCode')}"
            return _failed(situation, key, desired, job, said, times.parse(ended.get("finishedAt")))
    over = _job_end(job)
    if over is not None:
        said = over.get("message") or "the Job is over and its result is gone"
        return _failed(situation, key, desired, job, said, times.parse(over.get("lastTransitionTime")))
    text = f"Job {job['metadata']['name']} reads the configuration of {key}"
    problem = None
    if pod is not None:
        problem = diagnosis.diagnose(
            diagnosis.Patient(pod, situation.observed.now, container=names.INSPECTION_CONTAINER)
        )
    if problem is not None and problem.reason in reasons.PERSON_NEEDED:
        text += f"; {problem.message}"
    elif pod is not None and not pods.bound(pod) and pods.condition(pod, "PodScheduled").get("message"):
        text += f"; its pod has no node: {pods.condition(pod, 'PodScheduled')['message']}"
    return Reading(verdict=_pending(situation, text), jobs=(desired,))


def _failed(
    situation: Situation,
    key: str,
    desired: dict[str, Any],
    job: Object,
    said: str,
    ended: datetime.datetime | None,
) -> Reading:
    """The model was not readable: say so, and try again after a while that grows with the time it has been so."""
    now = situation.observed.now
    verdict = no(
        reasons.MODEL_UNREADABLE,
        f"the configuration of {key} can't be read: {words.clipped(said)}",
    )
    before = _same_before(situation)
    failed_at = ended or now
    since = (times.parse(before["lastTransitionTime"]) if before else None) or failed_at
    delay = min(LONGEST_RETRY_SECONDS, max(RETRY_SECONDS, (failed_at - since).total_seconds()))
    left = delay - (now - failed_at).total_seconds()
    if left > 0:
        return Reading(verdict=verdict, jobs=(desired,), requeue_after=left)
    return Reading(verdict=verdict, retry=job)


def _pending(situation: Situation, text: str) -> Verdict:
    """Still reading. A repeated try keeps the verdict of the one before it: the user has read that already."""
    before = _same_before(situation)
    if before is not None:
        return no(reasons.MODEL_UNREADABLE, str(before.get("message", "")))
    return unknown(reasons.INSPECTING_MODEL, text)


def _same_before(situation: Situation) -> dict[str, Any] | None:
    before = dict(situation.previous.get("Accepted", {}))
    same = before.get("reason") == reasons.MODEL_UNREADABLE
    return before if same and before.get("observedGeneration") == situation.generation else None


class _Unreadable(Exception):
    """The message holds no facts; the text is what it says instead."""


def _facts(key: str, message: str) -> ModelFacts:
    try:
        inspection = inspection_from_json(message)
    except NotAnInspection:
        raise _Unreadable(message) from None
    if isinstance(inspection, InspectionFailure):
        raise _Unreadable(inspection.message or inspection.error)
    try:
        return ModelFacts(
            source=key,
            architecture=inspection.architecture,
            attention_heads=inspection.attentionHeads,
            key_value_heads=inspection.keyValueHeads,
            layers=inspection.layers,
            max_context_length=inspection.maxContextLength,
            weight_bytes=inspection.weightBytes,
            quantization=inspection.quantization,
        )
    except pydantic.ValidationError as error:
        raise _Unreadable(f"the inspection's facts make no sense: {error.errors()[0]['msg']}") from None


def _job_end(job: Object) -> dict[str, Any] | None:
    conditions = job.get("status", {}).get("conditions") or ()
    over = (item for item in conditions if item["type"] in ("Failed", "Complete") and item["status"] == "True")
    return next((dict(item) for item in over), None)
