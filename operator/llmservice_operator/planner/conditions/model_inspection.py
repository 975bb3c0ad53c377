"""Inspection: reads a model's configuration before GPUs are requested, if a check needs it.

A Job with the runtime image reads config.json and reports through the termination message of its container. The
operator stores the result in the status and then deletes the Job.
"""

import dataclasses
import datetime
from typing import Any

import pydantic

from llmservice_contract.choices import AcceleratorType
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import NotAnInspection, inspection_from_json
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.diagnosis import admission, scheduling, volume_binding
from llmservice_operator.planner.model import pods, revisions, timestamps
from llmservice_operator.planner.model.observed import EVENTS_SECONDS, Input, Object
from llmservice_operator.planner.model.result import NO_RESULT, Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, of, unknown
from llmservice_operator.planner.report.finding import sentence
from llmservice_operator.resources import devices, names
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.platform import FitPolicy

RETRY_SECONDS = 60
LONGEST_RETRY_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Reading:
    """Progress of the inspection."""

    facts: ModelFacts | None = None
    """The facts about the model in the spec; None if they are not known."""
    result: Result = NO_RESULT
    """The verdict says why the facts are missing; None if they are known or nothing has to wait for them."""
    said: Verdict | None = None
    """The same, if nothing waits for the facts."""
    jobs: tuple[dict[str, Any], ...] = ()
    """The Job that is needed now."""
    retry: Object | None = None
    """A failed Job to delete, so that another one is created."""


def read(state: ServiceState, spec: LLMServiceSpec) -> Reading:
    """The model's facts, or what to do to get them."""
    key, known = revisions.facts_key(spec), state.facts
    if known is not None and known.source != key:
        known = None
    draft_missing = revisions.draft_waits(state, spec, known)
    if known is not None and not draft_missing and (known.configuration is not None or not _for_fit(state, spec)):
        return Reading(facts=known)
    pinning = revisions.waits(state, spec)
    if devices.per_replica(spec) == 1 and not _for_fit(state, spec) and not pinning:
        return Reading()
    desired = make_inspection(state.owner, spec, state.observed.platform)
    reading = _read(state, key, desired)
    reading = dataclasses.replace(reading, facts=revisions.with_draft(spec, reading.facts, known))
    waits = devices.per_replica(spec) > 1 or pinning or state.observed.platform.fit_policy is FitPolicy.DENY
    if waits and (known is None or draft_missing):
        return reading
    # Nothing waits for the facts, so a failed Job stays and shows why: there is no retry.
    return dataclasses.replace(
        reading,
        facts=reading.facts or known,
        jobs=(desired,),
        result=Result(requires=reading.result.requires),
        said=reading.result.verdict,
        retry=None,
    )


def _for_fit(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether the condition Fits needs the facts."""
    on_gpus = spec.accelerator.type is not AcceleratorType.CPU
    return on_gpus and state.observed.platform.fit_policy is not FitPolicy.OFF


def _read(state: ServiceState, key: str, desired: dict[str, Any]) -> Reading:
    job = next((job for job in state.own("Job") if job["metadata"]["name"] == desired["metadata"]["name"]), None)
    if job is None:
        return Reading(result=Result(_pending(state, f"a Job is reading the configuration of {key}")), jobs=(desired,))
    return _result(state, key, desired, job)


def _result(state: ServiceState, key: str, desired: dict[str, Any], job: Object) -> Reading:
    pod = next((pod for pod in state.observed.pods if pods.owned_by(pod, job["metadata"]["uid"])), None)
    ended = (pods.container(pod, names.INSPECTION_CONTAINER).get("state", {}) if pod else {}).get("terminated")
    if ended:
        try:
            return Reading(facts=_facts(key, ended.get("message") or ""), jobs=(desired,))
        except _Unreadable as error:
            code = str(ended.get("exitCode"))
            said = error.failure or _failure(f"the inspection ended with exit code {code}", {"exitCode": code})
            return _failed(state, key, desired, job, said, timestamps.parse(ended.get("finishedAt")))
    over = _job_end(job)
    if over is not None:
        said = _failure(over.get("message") or "the Job has finished and its result is missing")
        return _failed(state, key, desired, job, said, timestamps.parse(over.get("lastTransitionTime")))
    text = f"Job {job['metadata']['name']} is reading the configuration of {key}"
    finding = admission.in_events(state, state.reported("Job", pods.name(job))) if pod is None else None
    problem = None
    if pod is not None:
        problem = diagnosis.diagnose(
            diagnosis.PodContext(pod, state.observed.now, container=names.INSPECTION_CONTAINER)
        )
    if problem is not None and reasons.needs_person(problem.kind):
        finding = problem.finding
    elif pod is not None and not pods.bound(pod) and pods.condition(pod, "PodScheduled").get("message"):
        said_of_it = phrases.tail(str(pods.condition(pod, "PodScheduled")["message"]))
        finding = volume_binding.find(state, pod, said_of_it) or scheduling.find(state, pod, "its pod")
    result = Result(_pending(state, text, finding))
    if pod is None:
        result = Result(result.verdict, state.observed.missing(Input.EVENTS), state.after(EVENTS_SECONDS))
    return Reading(result=result, jobs=(desired,))


def _failed(
    state: ServiceState,
    key: str,
    desired: dict[str, Any],
    job: Object,
    said: Finding,
    ended: datetime.datetime | None,
) -> Reading:
    """The model can't be read. The delay before the next attempt grows with the time since the first failure."""
    now = state.observed.now
    finding = dataclasses.replace(
        said,
        reason=said.reason if reasons.of(said.reason).model_unread else reasons.MODEL_UNREADABLE,
        message=f"the configuration of {key} can't be read: {phrases.tail(said.message)}",
        field=said.field or "spec.model.source",
    )
    verdict = of(finding, reasons.MODEL_UNREADABLE)
    before = _same_before(state)
    failed_at = ended or now
    since = (timestamps.parse(before["lastTransitionTime"]) if before else None) or failed_at
    delay = min(LONGEST_RETRY_SECONDS, max(RETRY_SECONDS, (failed_at - since).total_seconds()))
    left = delay - (now - failed_at).total_seconds()
    if left > 0:
        return Reading(result=Result(verdict, recheck_at=state.after(left)), jobs=(desired,))
    return Reading(result=Result(verdict), retry=job)


def _pending(state: ServiceState, text: str, finding: Finding | None = None) -> Verdict:
    """The inspection is not finished. A retry keeps the verdict of the failed attempt."""
    before = _same_before(state)
    if before is not None:
        findings = tuple(each for each in state.findings if each.reason == before["reason"])[:1]
        return Verdict("False", before["reason"], str(before.get("message", "")), reasons.MODEL_UNREADABLE, findings)
    if finding is None:
        return unknown(reasons.INSPECTING_MODEL, text)
    message = f"{text}; {sentence(finding)}"
    return Verdict("Unknown", finding.reason, message, reasons.INSPECTING_MODEL, (finding,))


def _same_before(state: ServiceState) -> dict[str, Any] | None:
    before = dict(state.previous.get("Accepted", {}))
    same = before.get("status") == "False" and reasons.of(str(before.get("reason"))).model_unread
    return before if same and before.get("observedGeneration") == state.generation else None


class _Unreadable(Exception):
    """The termination message contains no facts."""

    def __init__(self, failure: Finding | None) -> None:
        super().__init__(failure.message if failure is not None else "")
        self.failure = failure
        """What the message says instead; None if it is empty."""


def _failure(message: str, numbers: dict[str, str] | None = None) -> Finding:
    return Finding(reasons.MODEL_UNREADABLE, message, numbers=numbers or {})


def _facts(key: str, message: str) -> ModelFacts:
    try:
        inspection = inspection_from_json(message)
    except NotAnInspection:
        raise _Unreadable(_failure(message) if message else None) from None
    if isinstance(inspection, Finding):
        raise _Unreadable(inspection)
    try:
        return ModelFacts(
            source=key,
            architecture=inspection.architecture,
            attention_heads=inspection.attention_heads,
            key_value_heads=inspection.key_value_heads,
            layers=inspection.layers,
            max_context_length=inspection.max_context_length,
            weight_bytes=inspection.weight_bytes,
            quantization=inspection.quantization,
            configuration=inspection.configuration or "",
            revision=inspection.revision,
            draft_revision=inspection.draft_revision,
            remote_code=inspection.remote_code,
        )
    except pydantic.ValidationError as error:
        said = f"the result of the inspection is invalid: {error.errors()[0]['msg']}"
        raise _Unreadable(_failure(said)) from None


def _job_end(job: Object) -> dict[str, Any] | None:
    conditions = job.get("status", {}).get("conditions") or ()
    over = (item for item in conditions if item["type"] in ("Failed", "Complete") and item["status"] == "True")
    return next((dict(item) for item in over), None)
