"""The condition RolledOut: whether all replicas run the current spec, and if not, the progress of the rollout."""

import dataclasses

from llmservice_contract.finding import Finding
from llmservice_operator.planner.diagnosis import Problem, node_autoscaler, volume_binding
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.rollout_record import Failure, Record
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, yes
from llmservice_operator.planner.report.finding import sentence
from llmservice_operator.planner.rollout import surge
from llmservice_operator.planner.rollout.state import RolloutState
from llmservice_operator.planner.rollout.steps import Step
from llmservice_operator.resources import names


def rolled_out(wanted: int) -> Verdict:
    """The verdict if all replicas run the current spec."""
    if wanted == 0:
        return yes(reasons.ROLLED_OUT, "Scaled to zero")
    return yes(reasons.ROLLED_OUT, "All replicas run the current spec")


def waiting(result: Result) -> Result:
    """``result`` while a change of the operator's version waits for approval."""
    note = (
        "this version of the operator would change its pods, which requires approval: `kubectl llm upgrade-check` "
        "shows the changes"
    )
    if result.verdict is None:
        return result
    verdict = dataclasses.replace(result.verdict, message=f"{result.verdict.message}; {note}")
    return dataclasses.replace(result, verdict=verdict)


def as_before(fleet: RolloutState, record: Record) -> Verdict:
    """The previous verdict, while the revisions of the pods are not known."""
    before = fleet.state.previous.get("RolledOut")
    if before is None or before["reason"] == reasons.ROLLED_OUT:
        return rolled_out(fleet.wanted) if not fleet.good else updating(fleet.wanted, 0, "")
    causes = (_failed(record.failure),) if record.failure is not None else ()
    return Verdict("False", before["reason"], before.get("message", ""), findings=causes)


def updating(wanted: int, updated: int, way: str, waits: str = "") -> Verdict:
    """The verdict during a rollout."""
    done = f"{phrases.count_of(updated, wanted, 'replica')} updated"
    return no(reasons.UPDATING, done + (f" ({way})" if way else "") + (f"; {waits}" if waits else ""))


def of_rolling(
    fleet: RolloutState,
    record: Record,
    step: Step,
    least: int,
    *,
    paused: bool = False,
    stopped: Problem | None = None,
    waits: str = "",
) -> Verdict:
    """Progress and strategy of a rollout, and what it waits for."""
    if not fleet.good and not fleet.outdated:
        return rolled_out(fleet.wanted)
    done = _new(fleet)
    progress = updating(fleet.wanted, done, "").message
    if stopped is not None:
        message = f"{stopped.message}; {progress}; the rollout is stopped because spec.rollout.onFailure is Pause"
        return Verdict("False", reasons.ROLLOUT_FAILED, message, findings=(stopped.finding,))
    if paused:
        return no(reasons.PAUSED, f"{progress}; spec.rollout.paused is true, so the others are not updated")
    if step.short and record.surge and (surge_verdict := _surge_verdict(fleet, record, progress)) is not None:
        return surge_verdict
    if step.short:
        lacks = f"{phrases.count_of(fleet.ready, fleet.wanted, 'replica')} ready, at least {least} required"
        if fleet.ready < fleet.wanted:
            lacks += "; the condition Serving says why the others are not"
        lacks += f"; {waits}" if waits else ""
        return no(reasons.LEAST_CAPACITY, f"{progress}; the next update waits: {lacks}")
    leaving = "waiting for terminating pods" if fleet.leaving else ""
    way = leaving if record.strategy is None else f"strategy {record.strategy}: {record.why}"
    return updating(fleet.wanted, done, way, waits)


def _surge_verdict(fleet: RolloutState, record: Record, progress: str) -> Verdict | None:
    """The verdict if the rollout waits for a surge pod that has no node or can't be created; otherwise None."""
    waits = f"{progress}; a surge pod must run first ({record.why})"
    if surge.surge_timed_out(fleet, record):
        cause = surge.cause(fleet)
        message = f"{waits}; it can't be created" + (f": {sentence(cause)}" if cause is not None else "")
        return Verdict("False", reasons.LEAST_CAPACITY, message, findings=(cause,) if cause is not None else ())
    pod = fleet.pods.get(fleet.wanted)
    if pod is None or not fleet.unplaceable(pod):
        return None
    said = phrases.tail(str(pods.condition(pod, "PodScheduled").get("message") or ""))
    held = volume_binding.find(fleet.state, pod, said)
    if held is not None and held.reason == reasons.VOLUME_IN_USE:
        return Verdict("False", reasons.LEAST_CAPACITY, f"{waits}; {sentence(held)}", findings=(held,))
    report = node_autoscaler.latest_report(fleet.state, fleet.group(pod))
    return no(reasons.LEAST_CAPACITY, waits + (f"; {report.message}" if report is not None else ""))


def rolled_back(failure: Failure, left: int) -> Verdict:
    """The verdict after a rollback; ``left`` replicas still have the failed revision."""
    cause = sentence(failure.finding)
    state = f"{left} still to be replaced" if left else "all replicas run the previous spec"
    message = f"Rollout failed: {cause}{'' if phrases.ended(cause) else '.'} Rolled back; {state}. {_retried(failure)}"
    return Verdict("False", reasons.ROLLED_BACK, message, findings=(_failed(failure),))


def _retried(failure: Failure) -> str:
    why, at = reasons.of(failure.finding.reason), failure.retry_at
    at_once = f"and at once if the annotation {names.REFRESH_ANNOTATION} of the service changes"
    if not at and why.credentials_refused:
        return f"The failed spec is not retried until it changes, {at_once}: set it after the Secret was corrected."
    if not at:
        return "The failed spec is not retried until it changes."
    if why.unplaced:
        return f"The failed spec is tried again when the nodes have room for it, not before {at}."
    if why.credentials_refused:
        return f"The failed spec is tried again when a Job can read the model, from {at} on, {at_once}."
    return f"The failed spec is tried again at {at}, {at_once}."


def _failed(failure: Failure) -> Finding:
    return dataclasses.replace(failure.finding, message=f"Rollout failed: {failure.finding.message}")


def _new(fleet: RolloutState) -> int:
    return sum(number < fleet.wanted for number in fleet.updated_replicas)
