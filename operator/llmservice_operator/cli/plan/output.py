"""A plan for people, for a pull request, and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from llmservice_operator.cli import wire
from llmservice_operator.cli.plan import phrases
from llmservice_operator.cli.plan.service_plan import Appraisal, Fit, PlannedChange, Removal
from llmservice_operator.cli.plan.summary import outcome
from llmservice_operator.cli.terminal import one_line, table
from llmservice_operator.simulation.simulate import SimulationResult, StartingPoint
from llmservice_operator.simulation.timeline import Step, UpdateWay

_OUTCOMES: dict[int, wire.Outcome] = {0: "NoChange", 2: "Change", 3: "CannotSucceed"}


def text(answers: Sequence[PlannedChange]) -> str:
    """For people."""
    return "\n\n".join("\n".join(_text(answer)) for answer in answers)


def markdown(answers: Sequence[PlannedChange]) -> str:
    """For a comment on a pull request."""
    return "\n\n".join("\n".join(_markdown(answer)) for answer in answers)


def document(answers: Sequence[PlannedChange]) -> wire.Plan:
    """For programs: see docs/plan.md."""
    status = max(answer.status for answer in answers)
    return wire.Plan(outcome=_OUTCOMES[status], services=[_service(answer) for answer in answers])


def _json(answers: Sequence[PlannedChange]) -> str:
    return wire.text(document(answers))


FORMS: dict[str, Callable[[Sequence[PlannedChange]], str]] = {"text": text, "markdown": markdown, "json": _json}


def _text(answer: PlannedChange) -> Iterator[str]:
    yield f"{answer.namespace}/{answer.name}: {outcome(answer)}."
    for trouble in phrases.troubles(answer):
        yield f"  {trouble}"
    seen = answer.simulation
    if seen is not None:
        yield from _steps(seen, answer.device)
        yield from _section("Spec", [f"  {phrases.field(each)}   {phrases.effect(each)}" for each in seen.spec])
        yield from _section("Children", list(_children(seen)))
    yield from _section("Volume claims", [f"  {each}" for each in phrases.disks(answer)])
    if seen is not None:
        yield from _section(
            "Requires approval (kubectl llm upgrade)", [f"  {one_line(each)}" for each in seen.requires_approval]
        )
    facts = {"Fit": phrases.fit(answer), "Cost": phrases.cost(answer)}
    for name, text in facts.items():
        yield from [f"\n{name}: {text}"] if text else []
    yield from _section("Notes", [f"  {note}" for note in answer.notes])


def _section(title: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        yield f"\n{title}"
        yield from found


def _steps(seen: SimulationResult, device: str) -> Iterator[str]:
    if not seen.steps:
        return
    devices = bool(seen.most_devices)
    rows = [
        (f"  {index}. {phrases.step(each)}", str(each.ready), str(each.devices) if devices else "")
        for index, each in enumerate(seen.steps, 1)
    ]
    yield "\n" + table(("Steps", "READY", f"{device}S".upper()), rows)
    for way in phrases.ways(seen):
        yield f"  {way}"


def _children(seen: SimulationResult) -> Iterator[str]:
    for child in seen.children:
        yield f"  {phrases.SIGNS[child.change]} {phrases.child(child)}"
        yield from (f"      {field}" for field in phrases.fields(child))


def _markdown(answer: PlannedChange) -> Iterator[str]:
    sign = {0: "⚪", 2: "🟢", 3: "🔴"}[answer.status]
    yield f"### {sign} `{answer.namespace}/{answer.name}`: {outcome(answer)}"
    for trouble in phrases.troubles(answer):
        yield f"\n> {trouble}"
    seen = answer.simulation
    if seen is not None:
        if seen.steps:
            yield f"\n| | step | ready | {answer.device}s |\n|---|---|---|---|"
            for index, each in enumerate(seen.steps, 1):
                yield f"| {index} | {phrases.step(each)} | {each.ready} | {each.devices} |"
            for way in phrases.ways(seen):
                yield f"\n{way}"
        if seen.spec:
            yield "\n| field | before | after | |\n|---|---|---|---|"
            for change in seen.spec:
                before, after = (_cell(phrases.value(side)) for side in (change.field.before, change.field.after))
                yield f"| `{change.field.path}` | {before} | {after} | {phrases.effect(change)} |"
        if seen.children:
            yield "\n<details><summary>Children</summary>\n\n```diff"
            yield from _diff(seen)
            yield "```\n\n</details>"
    for line in phrases.disks(answer):
        yield f"\nVolume claims {line}"
    if seen is not None and seen.requires_approval:
        yield "\nRequires approval (`kubectl llm upgrade`):\n"
        yield from (f"- {_cell(one_line(each))}" for each in seen.requires_approval)
    facts = {"Fit": phrases.fit(answer), "Cost": phrases.cost(answer)}
    for name, text in facts.items():
        yield from [f"\n**{name}:** {text}"] if text else []
    if answer.notes:
        yield "\nNotes:\n"
        yield from (f"- {note}" for note in answer.notes)


def _diff(seen: SimulationResult) -> Iterator[str]:
    for child in seen.children:
        sign = phrases.SIGNS[child.change]
        yield f"{sign if sign in '+-' else '!'} {phrases.child(child)}"
        for field in child.fields:
            if field.before is not None:
                yield f"-   {field.path}: {phrases.value(field.before)}"
            if field.after is not None:
                yield f"+   {field.path}: {phrases.value(field.after)}"


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("`", "'")
    return f"`{escaped}`"


def _service(answer: PlannedChange) -> wire.ServicePlan:
    known = wire.ServicePlan(
        namespace=answer.namespace,
        name=answer.name,
        outcome=_OUTCOMES[answer.status],
        summary=outcome(answer),
        refusals=[wire.RefusalPart(by=each.by, object=each.what, message=each.message) for each in answer.refusals],
        notes=list(answer.notes),
        fit=_fit(answer.before, answer.after),
        cost=_cost(answer.before, answer.after),
    )
    if answer.removal is not None:
        return _removed(known, answer.removal)
    return known if answer.simulation is None else _simulated(known, answer.simulation)


def _removed(known: wire.ServicePlan, removal: Removal) -> wire.ServicePlan:
    return msgspec.structs.replace(
        known,
        created=False,
        removed=True,
        before=_counts(removal.before),
        after=wire.CountsPart(replicas=0, ready=0, devices=0),
        volume_claims=wire.ClaimsPart(created=[], deleted=list(removal.claims)),
    )


def _simulated(known: wire.ServicePlan, seen: SimulationResult) -> wire.ServicePlan:
    return msgspec.structs.replace(
        known,
        created=seen.created,
        removed=False,
        end=seen.end.value,
        why=seen.why,
        before=_counts(seen.before),
        after=_counts(seen.after),
        least_ready=seen.least_ready,
        peak_devices=seen.most_devices,
        peak_pods=seen.most_pods,
        strategies=[_strategy(each) for each in seen.ways],
        steps=[_step(each) for each in seen.steps],
        spec=[
            wire.SpecFieldPart(
                path=each.field.path,
                before=each.field.before,
                after=each.field.after,
                restarts=each.restarts,
                children=list(each.children),
            )
            for each in seen.spec
        ],
        children=[
            wire.ChildPart(
                change=each.change.value,
                kind=each.kind,
                name=each.name,
                replaces=each.before or UNSET,
                fields=[wire.FieldPart(path=one.path, before=one.before, after=one.after) for one in each.fields],
            )
            for each in seen.children
        ],
        volume_claims=wire.ClaimsPart(created=list(seen.disks_made), deleted=list(seen.disks_deleted)),
        pending_approval=list(seen.requires_approval),
    )


def _counts(of: StartingPoint) -> wire.CountsPart:
    return wire.CountsPart(replicas=of.replicas, ready=of.ready, devices=of.devices)


def _strategy(way: UpdateWay) -> wire.StrategyPart:
    return wire.StrategyPart(strategy=way.strategy.value, reason=way.why)


def _step(of: Step) -> wire.StepPart:
    return wire.StepPart(
        action=of.action.value, replicas=list(of.replicas), pods=list(of.pods), ready=of.ready, devices=of.devices
    )


def _fit(before: Appraisal, after: Appraisal) -> wire.FitChangePart | UnsetType:
    if before.fit is None and after.fit is None:
        return UNSET
    return wire.FitChangePart(before=_verdict(before.fit), after=_verdict(after.fit))


def _verdict(fit: Fit | None) -> wire.VerdictPart | UnsetType:
    return UNSET if fit is None else wire.VerdictPart(verdict=fit.verdict, message=fit.message)


def _cost(before: Appraisal, after: Appraisal) -> wire.CostChangePart | UnsetType:
    if before.cost_per_hour is None and after.cost_per_hour is None:
        return UNSET
    return wire.CostChangePart(
        before_per_hour=UNSET if before.cost_per_hour is None else before.cost_per_hour,
        after_per_hour=UNSET if after.cost_per_hour is None else after.cost_per_hour,
        currency=after.currency or before.currency,
    )
