"""A plan for people, for a pull request, and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmservice_operator.cli.plan import lines
from llmservice_operator.cli.plan.answer import Answer, Appraisal
from llmservice_operator.cli.plan.sentence import outcome
from llmservice_operator.cli.terminal import table
from llmservice_operator.core.foresight.diary import Step
from llmservice_operator.core.foresight.foresee import Foresight, Standing

_SUCCEEDS = {0: "NoChange", 2: "Change", 3: "CannotSucceed"}


def text(answers: Sequence[Answer]) -> str:
    """For people."""
    return "\n\n".join("\n".join(_text(answer)) for answer in answers)


def markdown(answers: Sequence[Answer]) -> str:
    """For a comment on a pull request."""
    return "\n\n".join("\n".join(_markdown(answer)) for answer in answers)


def document(answers: Sequence[Answer]) -> str:
    """For programs: see docs/plan.md."""
    status = max(answer.status for answer in answers)
    found = {"outcome": _SUCCEEDS[status], "services": [_document(answer) for answer in answers]}
    return json.dumps(found, indent=2, ensure_ascii=False)


FORMS: dict[str, Callable[[Sequence[Answer]], str]] = {"text": text, "markdown": markdown, "json": document}


def _text(answer: Answer) -> Iterator[str]:
    yield f"{answer.namespace}/{answer.name}: {outcome(answer)}."
    for trouble in lines.troubles(answer):
        yield f"  {trouble}"
    seen = answer.foresight
    if seen is not None:
        yield from _steps(seen, answer.device)
        yield from _section("Spec", [f"  {lines.field(each)}   {lines.effect(each)}" for each in seen.spec])
        yield from _section("Children", list(_children(seen)))
        yield from _section("Disks", [f"  {each}" for each in lines.disks(seen)])
    if seen is not None:
        yield from _section("Waits for consent (kubectl llm upgrade)", [f"  {each}" for each in seen.waits_for_consent])
    facts = {"Fit": lines.fit(answer), "Cost": lines.cost(answer)}
    for name, told in facts.items():
        yield from [f"\n{name}: {told}"] if told else []
    yield from _section("Notes", [f"  {note}" for note in answer.notes])


def _section(title: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        yield f"\n{title}"
        yield from found


def _steps(seen: Foresight, device: str) -> Iterator[str]:
    if not seen.steps:
        return
    devices = bool(seen.most_devices)
    rows = [
        (f"  {index}. {lines.step(each)}", str(each.ready), str(each.devices) if devices else "")
        for index, each in enumerate(seen.steps, 1)
    ]
    yield "\n" + table(("Steps", "READY", f"{device}S".upper()), rows)
    for way in lines.ways(seen):
        yield f"  {way}"


def _children(seen: Foresight) -> Iterator[str]:
    for child in seen.children:
        yield f"  {lines.SIGNS[child.change]} {lines.child(child)}"
        yield from (f"      {field}" for field in lines.fields(child))


def _markdown(answer: Answer) -> Iterator[str]:
    sign = {0: "⚪", 2: "🟢", 3: "🔴"}[answer.status]
    yield f"### {sign} `{answer.namespace}/{answer.name}`: {outcome(answer)}"
    for trouble in lines.troubles(answer):
        yield f"\n> {trouble}"
    seen = answer.foresight
    if seen is not None:
        if seen.steps:
            yield f"\n| | step | ready | {answer.device}s |\n|---|---|---|---|"
            for index, each in enumerate(seen.steps, 1):
                yield f"| {index} | {lines.step(each)} | {each.ready} | {each.devices} |"
            for way in lines.ways(seen):
                yield f"\n{way}"
        if seen.spec:
            yield "\n| field | before | after | |\n|---|---|---|---|"
            for change in seen.spec:
                before, after = (_cell(lines.value(side)) for side in (change.field.before, change.field.after))
                yield f"| `{change.field.path}` | {before} | {after} | {lines.effect(change)} |"
        if seen.children:
            yield "\n<details><summary>Children</summary>\n\n```diff"
            yield from _diff(seen)
            yield "```\n\n</details>"
        for told in lines.disks(seen):
            yield f"\n{told}"
    if seen is not None and seen.waits_for_consent:
        yield "\nWaits for consent (`kubectl llm upgrade`):\n"
        yield from (f"- `{each}`" for each in seen.waits_for_consent)
    facts = {"Fit": lines.fit(answer), "Cost": lines.cost(answer)}
    for name, told in facts.items():
        yield from [f"\n**{name}:** {told}"] if told else []
    if answer.notes:
        yield "\nNotes:\n"
        yield from (f"- {note}" for note in answer.notes)


def _diff(seen: Foresight) -> Iterator[str]:
    for child in seen.children:
        sign = lines.SIGNS[child.change]
        yield f"{sign if sign in '+-' else '!'} {lines.child(child)}"
        for field in child.fields:
            if field.before is not None:
                yield f"-   {field.path}: {lines.value(field.before)}"
            if field.after is not None:
                yield f"+   {field.path}: {lines.value(field.after)}"


def _cell(told: str) -> str:
    escaped = told.replace("|", "\\|").replace("`", "'")
    return f"`{escaped}`"


def _document(answer: Answer) -> dict[str, Any]:
    seen = answer.foresight
    found: dict[str, Any] = {
        "namespace": answer.namespace,
        "name": answer.name,
        "outcome": _SUCCEEDS[answer.status],
        "summary": outcome(answer),
        "refusals": [{"by": each.by, "object": each.what, "message": each.message} for each in answer.refusals],
        "notes": list(answer.notes),
    }
    if seen is not None:
        found |= _foreseen(seen)
    found |= _appraised(answer.before, answer.after)
    return found


def _foreseen(seen: Foresight) -> dict[str, Any]:
    return {
        "created": seen.created,
        "end": str(seen.end),
        "why": seen.why,
        "before": _standing(seen.before),
        "after": _standing(seen.after),
        "leastReady": seen.least_ready,
        "peakDevices": seen.most_devices,
        "peakPods": seen.most_pods,
        "ways": list(lines.ways(seen)),
        "steps": [_step(each) for each in seen.steps],
        "spec": [
            {
                "path": each.field.path,
                "before": each.field.before,
                "after": each.field.after,
                "restarts": each.restarts,
                "children": list(each.children),
            }
            for each in seen.spec
        ],
        "children": [
            {
                "change": str(each.change),
                "kind": each.kind,
                "name": each.name,
                **({"takesThePlaceOf": each.before} if each.before else {}),
                "fields": [{"path": one.path, "before": one.before, "after": one.after} for one in each.fields],
            }
            for each in seen.children
        ],
        "disks": {"made": list(seen.disks_made), "deleted": list(seen.disks_deleted)},
        "waitsForConsent": list(seen.waits_for_consent),
    }


def _standing(of: Standing) -> dict[str, int]:
    return {"replicas": of.replicas, "ready": of.ready, "devices": of.devices}


def _step(of: Step) -> dict[str, Any]:
    return {
        "action": str(of.action),
        "replicas": list(of.replicas),
        "pods": list(of.pods),
        "ready": of.ready,
        "devices": of.devices,
    }


def _appraised(before: Appraisal, after: Appraisal) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fits = {"before": before.fit, "after": after.fit}
    if any(fits.values()):
        told = {side: {"verdict": fit.verdict, "message": fit.message} for side, fit in fits.items() if fit}
        found["fit"] = told
    costs = {"before": before.cost_per_hour, "after": after.cost_per_hour}
    if any(each is not None for each in costs.values()):
        amounts = {f"{side}PerHour": each for side, each in costs.items() if each is not None}
        found["cost"] = {**amounts, "currency": after.currency or before.currency}
    return found
