"""Steps, fields and children of a plan in words: what every form for people shares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.cli.plan.service_plan import DOES_NOT_FIT, PlannedChange
from llmservice_operator.simulation.diff import Change, ChildChange
from llmservice_operator.simulation.simulate import End, SimulationResult
from llmservice_operator.simulation.spec_effects import SpecChange
from llmservice_operator.simulation.timeline import Action, Step

_LONGEST = 120

_VERBS = {
    Action.START: ("starts", "start"),
    Action.START_ONE_MORE: ("starts beside the others", "start beside the others"),
    Action.REPLACE: ("is replaced", "are replaced"),
    Action.GO_BACK: ("goes back to what ran before", "go back to what ran before"),
    Action.STOP: ("stops", "stop"),
    Action.STOP_ONE_MORE: ("stops again", "stop again"),
}
_WAYS = {RolloutStrategy.IN_PLACE: "in place", RolloutStrategy.SURGE: "with one more meanwhile"}
SIGNS = {
    Change.CREATE: "+",
    Change.UPDATE: "~",
    Change.REPLACE: "~",
    Change.RENAME: "~",
    Change.RECREATE: "±",
    Change.DELETE: "-",
}


def step(told: Step) -> str:
    """What happens in a step."""
    return f"{', '.join(told.pods)} {_VERBS[told.action][len(told.pods) > 1]}"


def ways(seen: SimulationResult) -> Iterator[str]:
    """In which way replicas are replaced, and why."""
    return (f"{_WAYS[each.strategy]}, {each.why}" for each in seen.ways)


def field(told: SpecChange) -> str:
    """What a field of the spec becomes."""
    return f"{told.field.path}: {value(told.field.before)} -> {value(told.field.after)}"


def effect(told: SpecChange) -> str:
    """What follows from the field alone."""
    if told.restarts:
        return "replaces pods"
    return f"restarts nothing ({', '.join(told.children)})" if told.children else "restarts nothing"


def child(told: ChildChange) -> str:
    """What becomes of a child."""
    name = f"{told.kind} {told.name}"
    match told.change:
        case Change.REPLACE:
            return f"{told.kind} {told.before} -> {told.name}"
        case Change.RENAME:
            return f"{told.kind} {told.before} -> {told.name} (another name, the same content)"
        case Change.RECREATE:
            return f"{name} (made anew; its pods stay)"
        case _:
            return name


def fields(told: ChildChange) -> Iterator[str]:
    """The fields of a child that change."""
    return (f"{each.path}: {value(each.before)} -> {value(each.after)}" for each in told.fields)


def value(of: Any) -> str:
    """A value in one line."""
    if of is None:
        return "nothing"
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)
    text = " ".join(text.split()) or '""'
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def troubles(answer: PlannedChange) -> Iterator[str]:
    """Why a change can't succeed, and what else has to be known of it."""
    for refusal in answer.refusals:
        yield f"{refusal.what}: {refusal.message}"
    seen = answer.foresight
    if seen is not None and seen.why and seen.end is not End.DONE:
        yield seen.why
    if answer.after.fit is not None and answer.after.fit.verdict == DOES_NOT_FIT:
        yield answer.after.fit.message


def disks(seen: SimulationResult) -> Iterator[str]:
    """What becomes of replicas' own disks."""
    if seen.disks_made:
        yield f"disks are made: {', '.join(seen.disks_made)}"
    if seen.disks_deleted:
        yield f"disks are deleted with what they hold: {', '.join(seen.disks_deleted)}"


def cost(answer: PlannedChange) -> str:
    """What it costs before and after; empty where that is not known."""
    before, after = answer.before.cost_per_hour, answer.after.cost_per_hour
    if after is None:
        return ""
    unit = f"{answer.after.currency} an hour".strip()
    return f"{after:.2f} {unit}" if before is None else f"{before:.2f} -> {after:.2f} {unit}"


def fit(answer: PlannedChange) -> str:
    """Whether the model fits before and after; empty where that is not known."""
    before, after = answer.before.fit, answer.after.fit
    if after is None:
        return ""
    return after.verdict if before is None else f"{before.verdict} -> {after.verdict}"
