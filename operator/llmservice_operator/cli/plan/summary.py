"""The outcome of a plan in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from llmservice_operator.cli.plan.service_plan import DOES_NOT_FIT, PlannedChange, Removal
from llmservice_operator.simulation.simulate import End, SimulationResult
from llmservice_operator.simulation.timeline import Action, Step

_ENDS = {
    End.NOT_ACCEPTED: "the operator does not accept the spec, and running replicas stay as they are",
    End.ROLLED_BACK: "new replicas can't run, and the operator rolls back",
    End.STUCK: "the rollout stops before it is complete",
}


def outcome(answer: PlannedChange) -> str:
    """What happens to the service, without a full stop."""
    seen = answer.simulation
    if answer.removal is not None:
        return _removal(answer.removal, answer.device)
    if answer.refusals:
        first = answer.refusals[0]
        who = f"the {first.by}" if first.by == "API server" else f"the CRD's {first.by}"
        return f"can't succeed: {who} would refuse the {first.what}"
    if seen is None or not seen.changes:
        return "nothing changes" + ("; the current rollout continues" if seen is not None and seen.steps else "")
    if seen.end in _ENDS:
        return f"can't succeed: {_ENDS[seen.end]}"
    if answer.after.fit is not None and answer.after.fit.verdict == DOES_NOT_FIT:
        return "can't succeed: the model does not fit its GPUs"
    return "; ".join(part for part in (_happens(seen), _capacity(seen), _devices(seen, answer.device)) if part)


def _removal(removal: Removal, device: str) -> str:
    before = removal.before
    freed = f" and {_count(before.devices, device)} {_verb(before.devices, 'become')} free" if before.devices else ""
    return (
        "removed from the manifests; it runs until a tool that prunes, or `kubectl delete`, deletes it: then "
        f"{_count(before.replicas, 'replica')} {_verb(before.replicas, 'stop')}{freed}"
    )


def _happens(seen: SimulationResult) -> str:
    if seen.created:
        return f"a new service: {_count(seen.after.replicas, 'replica')} {_verb(seen.after.replicas, 'start')}"
    parts = [
        f"{_count(len(numbers), 'replica')} {_verb(len(numbers), verb)}"
        for action, verb in ((Action.START, "start"), (Action.STOP, "stop"))
        if (numbers := _numbers(seen.steps, action))
    ]
    replaced = _numbers(seen.steps, Action.REPLACE)
    if replaced:
        many = _all_or(len(replaced), max(seen.before.replicas, len(replaced)))
        at_once = max(len(step.replicas) for step in seen.steps if step.action is Action.REPLACE)
        how = "one after the other" if at_once == 1 else f"up to {at_once} at once"
        parts.append(f"{many} {'is' if len(replaced) == 1 else 'are'} replaced" + f" {how}" * (len(replaced) > 1))
    said = " and ".join(parts) or _quiet(seen)
    if seen.end is End.NO_BETTER:
        said += f"; {_count(seen.after.replicas - seen.after.ready, 'replica')} can't run, as before"
    return said


def _quiet(seen: SimulationResult) -> str:
    """The outcome if no pod changes."""
    if seen.end is End.PAUSED:
        return "no restarts (spec.rollout.paused is true)"
    if seen.children:
        return f"no restarts ({_count(len(seen.children), 'child')} {_verb(len(seen.children), 'change')})"
    return "no restarts (only the spec changes)"


def _capacity(seen: SimulationResult) -> str:
    """Ready replicas during the rollout."""
    if seen.created or not any(step.action is Action.REPLACE for step in seen.steps):
        return ""
    promised = min(seen.before.ready, seen.after.replicas)
    if seen.least_ready >= promised:
        return f"never fewer than {seen.least_ready} ready" if promised else ""
    if seen.least_ready == 0:
        return "temporarily 0 ready replicas"
    return f"never fewer than {seen.least_ready} of {seen.before.replicas} ready"


def _devices(seen: SimulationResult, device: str) -> str:
    if not seen.most_devices or not seen.steps:
        return ""
    more = seen.most_devices - seen.before.devices
    if more <= 0:
        fewer = seen.before.devices - seen.after.devices
        return f"{_count(fewer, device)} {_verb(fewer, 'become')} free" if fewer > 0 else f"no extra {device} needed"
    kept = seen.after.devices - seen.before.devices
    meanwhile = " during the rollout" if kept < more else ""
    return f"{more} more {device}{'' if more == 1 else 's'} needed{meanwhile}"


def _numbers(steps: Sequence[Step], action: Action) -> set[int]:
    return {number for step in steps if step.action is action for number in step.replicas}


def _all_or(count: int, total: int) -> str:
    if total == 1:
        return "the replica"
    if count == total == 2:
        return "both replicas"
    return f"all {total} replicas" if count == total else f"{count} of {total} replicas"


def _count(count: int, noun: str) -> str:
    plural = "children" if noun == "child" else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb
