"""The condition RolledOut: whether all replicas run the current spec, and if not, the progress of the rollout."""

import dataclasses

from llmservice_contract.finding import Finding
from llmservice_operator.planner.diagnosis import Problem
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.rollout_record import Failure, Record
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, yes
from llmservice_operator.planner.report.finding import sentence
from llmservice_operator.planner.rollout import surge
from llmservice_operator.planner.rollout.state import RolloutState
from llmservice_operator.planner.rollout.steps import Step


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


def updating(wanted: int, updated: int, way: str) -> Verdict:
    """The verdict during a rollout."""
    done = f"{phrases.count_of(updated, wanted, 'replica')} updated"
    return no(reasons.UPDATING, done + (f" ({way})" if way else ""))


def of_rolling(
    fleet: RolloutState, record: Record, step: Step, least: int, *, paused: bool = False, stopped: Problem | None = None
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
        waits = f"{phrases.count_of(fleet.ready, fleet.wanted, 'replica')} ready, at least {least} required"
        if fleet.ready < fleet.wanted:
            waits += "; the condition Serving says why the others are not"
        return no(reasons.LEAST_CAPACITY, f"{progress}; the next update waits: {waits}")
    waits = "waiting for terminating pods" if fleet.leaving else ""
    way = waits if record.strategy is None else f"strategy {record.strategy}: {record.why}"
    return updating(fleet.wanted, done, way)


def _surge_verdict(fleet: RolloutState, record: Record, progress: str) -> Verdict | None:
    """The verdict if the rollout waits for a surge pod that has no node or can't be created; otherwise None."""
    waits = f"{progress}; a surge pod must run first ({record.why})"
    if surge.surge_timed_out(fleet, record):
        cause = surge.cause(fleet)
        message = f"{waits}; it can't be created" + (f": {sentence(cause)}" if cause is not None else "")
        return Verdict("False", reasons.LEAST_CAPACITY, message, findings=(cause,) if cause is not None else ())
    pod = fleet.pods.get(fleet.wanted)
    return no(reasons.LEAST_CAPACITY, waits) if pod is not None and fleet.unplaceable(pod) else None


def rolled_back(failure: Failure, left: int) -> Verdict:
    """The verdict after a rollback; ``left`` replicas still have the failed revision."""
    cause = sentence(failure.finding)
    state = f"{left} still to be replaced" if left else "all replicas run the previous spec"
    message = (
        f"Rollout failed: {cause}{'' if phrases.ended(cause) else '.'} Rolled back; {state}. "
        "The failed spec is not retried until it changes."
    )
    return Verdict("False", reasons.ROLLED_BACK, message, findings=(_failed(failure),))


def _failed(failure: Failure) -> Finding:
    return dataclasses.replace(failure.finding, message=f"Rollout failed: {failure.finding.message}")


def _new(fleet: RolloutState) -> int:
    return sum(fleet.updated(pod) for number, pod in fleet.pods.items() if number < fleet.wanted)
