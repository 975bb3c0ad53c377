"""Phrases for the steps, fields and children of a plan, shared by all output formats for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmservice_operator.cli.plan.service_plan import DOES_NOT_FIT, PlannedChange
from llmservice_operator.simulation.diff import Change, ChildChange
from llmservice_operator.simulation.simulate import End, SimulationResult
from llmservice_operator.simulation.spec_effects import SpecChange
from llmservice_operator.simulation.timeline import Action, Step

_LONGEST = 120

_VERBS = {
    Action.START: ("starts", "start"),
    Action.START_SURGE: ("starts as surge pod", "start as surge pods"),
    Action.REPLACE: ("is replaced", "are replaced"),
    Action.ROLL_BACK: ("is rolled back", "are rolled back"),
    Action.STOP: ("stops", "stop"),
    Action.STOP_SURGE: ("stops (surge pod)", "stop (surge pods)"),
}
SIGNS = {
    Change.CREATE: "+",
    Change.UPDATE: "~",
    Change.REPLACE: "~",
    Change.RENAME: "~",
    Change.RECREATE: "±",
    Change.DELETE: "-",
}


def step(item: Step) -> str:
    """What happens in a step."""
    return f"{', '.join(item.pods)} {_VERBS[item.action][len(item.pods) > 1]}"


def ways(seen: SimulationResult) -> Iterator[str]:
    """The strategy by which replicas are replaced, and why."""
    return (f"strategy {each.strategy}: {each.why}" for each in seen.ways)


def field(item: SpecChange) -> str:
    """A changed field of the spec."""
    return f"{item.field.path}: {value(item.field.before)} -> {value(item.field.after)}"


def effect(item: SpecChange) -> str:
    """The effect of this field alone."""
    if item.restarts:
        return "replaces pods"
    return f"no restarts ({', '.join(item.children)})" if item.children else "no restarts"


def child(item: ChildChange) -> str:
    """What happens to a child."""
    name = f"{item.kind} {item.name}"
    match item.change:
        case Change.REPLACE:
            return f"{item.kind} {item.before} -> {item.name}"
        case Change.RENAME:
            return f"{item.kind} {item.before} -> {item.name} (renamed, same content)"
        case Change.RECREATE:
            return f"{name} (recreated; its pods stay)"
        case _:
            return name


def fields(item: ChildChange) -> Iterator[str]:
    """The fields of a child that change."""
    return (f"{each.path}: {value(each.before)} -> {value(each.after)}" for each in item.fields)


def value(of: Any) -> str:
    """A value in one line."""
    if of is None:
        return "nothing"
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)
    text = " ".join(text.split()) or '""'
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def troubles(answer: PlannedChange) -> Iterator[str]:
    """Why a change can't succeed."""
    for refusal in answer.refusals:
        yield f"{refusal.what}: {refusal.message}"
    seen = answer.simulation
    if seen is not None and seen.why and seen.end is not End.DONE:
        yield seen.why
    if answer.after.fit is not None and answer.after.fit.verdict == DOES_NOT_FIT:
        yield answer.after.fit.message


def disks(answer: PlannedChange) -> Iterator[str]:
    """Created and deleted volume claims."""
    seen, removal = answer.simulation, answer.removal
    if seen is not None and seen.disks_made:
        yield f"created: {', '.join(seen.disks_made)}"
    deleted = removal.claims if removal is not None else seen.disks_deleted if seen is not None else ()
    if deleted:
        yield f"deleted with their data: {', '.join(deleted)}"


def cost(answer: PlannedChange) -> str:
    """Cost before and after; empty if it is not known."""
    before, after = answer.before.cost_per_hour, answer.after.cost_per_hour
    if after is None:
        return ""
    unit = f"{answer.after.currency} per hour".strip()
    return f"{after:.2f} {unit}" if before is None else f"{before:.2f} -> {after:.2f} {unit}"


def fit(answer: PlannedChange) -> str:
    """Whether the model fits before and after; empty if it is not known."""
    before, after = answer.before.fit, answer.after.fit
    if after is None:
        return ""
    return after.verdict if before is None else f"{before.verdict} -> {after.verdict}"
