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
from llmservice_operator.planner.conditions import model_changes
from llmservice_operator.planner.diagnosis import admission, scheduling, volume_binding
from llmservice_operator.planner.model import pods, revisions, timestamps, volume_claims
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


def is_used(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether the model of such a service is read by a Job."""
    pinned = spec.model.digest is not None
    return pinned or devices.per_replica(spec) > 1 or _for_fit(state, spec) or revisions.waits(state, spec)


def read(state: ServiceState, spec: LLMServiceSpec) -> Reading:
    """The model's facts, or what to do to get them."""
    reading = _needed(state, spec)
    claims = [claim for job in reading.jobs for claim in pods.claims(job["spec"]["template"])]
    if not any(_nodes_with(state, claim) for claim in claims):
        return reading
    modes = state.observed.missing(Input.ACCESS_MODES)
    result = dataclasses.replace(reading.result, requires=reading.result.requires | modes)
    return dataclasses.replace(reading, result=result)


def _needed(state: ServiceState, spec: LLMServiceSpec) -> Reading:
    key, known = revisions.facts_key(spec), state.facts
    if known is not None and (known.source != key or spec.model.digest not in (None, known.digest)):
        known = None
    draft_missing = revisions.draft_waits(state, spec, known)
    if known is not None and not draft_missing and (known.configuration is not None or not _for_fit(state, spec)):
        return _known(state, spec, known)
    if not is_used(state, spec):
        return Reading()
    denies = state.observed.platform.fit_policy is FitPolicy.DENY
    needed = denies or spec.model.digest is not None or devices.per_replica(spec) > 1
    waits = (needed or revisions.waits(state, spec)) and (known is None or draft_missing)
    reading = _read(state, key, _job(state, spec), waits=waits)
    reading = dataclasses.replace(reading, facts=revisions.with_draft(spec, reading.facts, known))
    if waits:
        return reading
    return dataclasses.replace(
        reading,
        facts=reading.facts or known,
        result=dataclasses.replace(reading.result, verdict=None),
        said=reading.result.verdict,
    )


def _known(state: ServiceState, spec: LLMServiceSpec, known: ModelFacts) -> Reading:
    """The known facts, or those that were read again. A failure to read them again changes nothing."""
    due = model_changes.read_again_at(state, spec, known)
    if due is None or due > state.observed.now:
        return Reading(facts=known, result=Result(recheck_at=due))
    desired = _job(state, spec)
    job = _existing(state, desired)
    reading = _read(state, known.source, desired, waits=False)
    fresh, read_at = reading.facts, timestamps.parse(known.read_at)
    if job is not None and fresh is not None and read_at is not None:
        finished = timestamps.parse(fresh.read_at)
        if finished is not None and finished <= read_at and fresh.refresh == known.refresh:
            return Reading(facts=known, retry=job)  # its result is the known facts
    if fresh is None:
        return dataclasses.replace(reading, facts=known, result=Result(recheck_at=reading.result.recheck_at))
    kept = {"draft": known.draft, "draft_revision": known.draft_revision}
    return dataclasses.replace(reading, facts=fresh.model_copy(update=kept))


def _job(state: ServiceState, spec: LLMServiceSpec) -> dict[str, Any]:
    """The Job. Its pod runs beside the engines if they have mounted a claim that one node only can mount. A Job that
    exists stays, unless its pod waits for that volume on another node."""
    platform, refresh = state.observed.platform, model_changes.refresh(state)
    anywhere = make_inspection(state.owner, spec, platform, refresh)
    claims = pods.claims(anywhere["spec"]["template"])
    if not claims:
        return anywhere
    beside = make_inspection(state.owner, spec, platform, refresh, beside_engines=True)
    modes = state.observed.access_modes or {}
    shared = [
        claim for claim in volume_claims.of_one_node(claims, modes) if not volume_claims.is_of_one_pod(modes, claim)
    ]
    nodes = {node for claim in shared for node in _nodes_with(state, claim)}
    if _existing(state, beside) is not None:
        return beside
    job = _existing(state, anywhere)
    if job is not None and not _waits_elsewhere(state, job, nodes):
        return anywhere
    return beside if nodes else anywhere


def _nodes_with(state: ServiceState, claim: str) -> set[str]:
    """Nodes on which pods of the service mount the claim."""
    there = (*state.engines, *state.workers, *state.leaving)
    return {str(pod["spec"]["nodeName"]) for pod in there if pods.bound(pod) and claim in pods.claims(pod)}


def _waits_elsewhere(state: ServiceState, job: Object, nodes: set[str]) -> bool:
    """Whether the Job's pod waits for its volume on another node than these, on which it is mounted."""
    pod = _pod(state, job)
    if pod is None or not nodes or not pods.bound(pod) or pod["spec"]["nodeName"] in nodes:
        return False
    status = pods.container(pod, names.INSPECTION_CONTAINER).get("state") or {}
    return "running" not in status and "terminated" not in status


def _pod(state: ServiceState, job: Object) -> Object | None:
    return next((pod for pod in state.pods if pods.owned_by(pod, job["metadata"]["uid"])), None)


def _existing(state: ServiceState, desired: dict[str, Any]) -> Object | None:
    return next((job for job in state.own("Job") if job["metadata"]["name"] == desired["metadata"]["name"]), None)


def _for_fit(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether the condition Fits needs the facts."""
    on_gpus = spec.accelerator.type is not AcceleratorType.CPU
    return on_gpus and state.observed.platform.fit_policy is not FitPolicy.OFF


def _read(state: ServiceState, key: str, desired: dict[str, Any], *, waits: bool) -> Reading:
    """``waits``: whether pods wait for the facts."""
    job = _existing(state, desired)
    if job is None:
        return Reading(result=Result(_pending(state, f"a Job is reading the configuration of {key}")), jobs=(desired,))
    return _result(state, key, desired, job, waits)


def _result(state: ServiceState, key: str, desired: dict[str, Any], job: Object, waits: bool) -> Reading:
    pod = _pod(state, job)
    ended = (pods.container(pod, names.INSPECTION_CONTAINER).get("state", {}) if pod else {}).get("terminated")
    if ended:
        try:
            facts = _facts(key, ended.get("message") or "")
            at = timestamps.parse(ended.get("finishedAt")) or state.observed.now
            when = {"read_at": timestamps.show(at), "refresh": model_changes.refresh(state)}
            return Reading(facts=facts.model_copy(update=when), jobs=(desired,))
        except _Unreadable as error:
            code = str(ended.get("exitCode"))
            said = error.failure or _failure(f"the inspection ended with exit code {code}", {"exitCode": code})
            return _failed(state, key, desired, job, said, timestamps.parse(ended.get("finishedAt")), waits)
    over = _job_end(job)
    if over is not None:
        said = _failure(over.get("message") or "the Job has finished and its result is missing")
        return _failed(state, key, desired, job, said, timestamps.parse(over.get("lastTransitionTime")), waits)
    text = f"Job {job['metadata']['name']} is reading the configuration of {key}"
    finding = (
        admission.in_events(state, state.reported("Job", pods.name(job)), of_inspection=True) if pod is None else None
    )
    problem = None
    if pod is not None:
        problem = diagnosis.diagnose(
            diagnosis.PodContext(
                pod,
                state.observed.now,
                container=names.INSPECTION_CONTAINER,
                events=state.reported("Pod", pods.name(pod)),
                own_image=state.spec is not None and state.spec.pod.image is not None,
            )
        )
    if problem is not None and reasons.needs_person(problem.kind, problem.reason):
        finding = problem.finding
    elif pod is not None and not pods.bound(pod) and pods.condition(pod, "PodScheduled").get("message"):
        said_of_it = phrases.tail(str(pods.condition(pod, "PodScheduled")["message"]))
        finding = volume_binding.find(state, pod, said_of_it) or scheduling.find(state, pod, "its pod")
    result = Result(_pending(state, text, finding))
    if pod is None or (problem is not None and problem.kind == reasons.STARTING):
        result = Result(result.verdict, state.observed.missing(Input.EVENTS), state.after(EVENTS_SECONDS))
    return Reading(result=result, jobs=(desired,))


def _failed(
    state: ServiceState,
    key: str,
    desired: dict[str, Any],
    job: Object,
    said: Finding,
    ended: datetime.datetime | None,
    waits: bool,
) -> Reading:
    """The model can't be read. The delay before the next attempt grows with the time since the first failure, and is at
    least what the server asked for."""
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
    asked = said.numbers.get("retryAfterSeconds", "")
    patience = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 0
    least = RETRY_SECONDS if waits else LONGEST_RETRY_SECONDS
    delay = min(LONGEST_RETRY_SECONDS, max(least, patience, (failed_at - since).total_seconds()))
    left = delay - (now - failed_at).total_seconds()
    next_try = timestamps.show(failed_at + datetime.timedelta(seconds=delay))
    when = f"Next try at {next_try}, and at once if the annotation {names.REFRESH_ANNOTATION} of the service changes."
    verdict = dataclasses.replace(verdict, message=phrases.joined(verdict.message, when))
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
    """The condition that says that the last attempt failed: Accepted, or Fits if nothing waits for the facts."""
    for kind, status in (("Accepted", "False"), ("Fits", "Unknown")):
        before = dict(state.previous.get(kind, {}))
        same = before.get("status") == status and reasons.of(str(before.get("reason"))).model_unread
        if same and before.get("observedGeneration") == state.generation:
            return before
    return None


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
            digest=inspection.digest,
        )
    except pydantic.ValidationError as error:
        said = f"the result of the inspection is invalid: {error.errors()[0]['msg']}"
        raise _Unreadable(_failure(said)) from None


def _job_end(job: Object) -> dict[str, Any] | None:
    conditions = job.get("status", {}).get("conditions") or ()
    over = (item for item in conditions if item["type"] in ("Failed", "Complete") and item["status"] == "True")
    return next((dict(item) for item in over), None)
