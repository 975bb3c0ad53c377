"""One step of a rollout: the StatefulSet with its replicas and partition, and the pods to delete.

Each call plans the next step from the observed state. After that step is applied and observed, the next call continues.
"""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from llmservice_operator.api.rollout import OnFailure, RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import foreign_changes, pods
from llmservice_operator.planner.model.observed import NOTHING, Input, Object
from llmservice_operator.planner.model.plan import deletion_of
from llmservice_operator.planner.model.result import Result, earliest
from llmservice_operator.planner.model.rollout_record import Record, digest
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.rollout import (
    approval,
    canary,
    condition,
    progress_deadline,
    recreate,
    retry,
    rollback,
    steps,
    strategy,
    surge,
    worker_sets,
)
from llmservice_operator.planner.rollout.state import RolloutState
from llmservice_operator.planner.rollout.statefulset import RolloutStep, deletions, render_statefulset
from llmservice_operator.resources import names
from llmservice_operator.resources.children import Children
from llmservice_operator.resources.objects import canonical


def plan_rollout(state: ServiceState, spec: LLMServiceSpec, children: Children) -> RolloutStep:
    """The next step for the StatefulSets in ``children``, which were rendered from the spec."""
    rendered, environment, worker_statefulsets = children.leader, children.environment, children.workers
    asked = _asked(state, spec, rendered, worker_statefulsets)
    rendered = _as_others_left_it(state, rendered)
    worker_statefulsets = tuple(_as_others_left_it(state, each) for each in worker_statefulsets)
    kept = state.statefulset is not None and approval.requires_approval(
        state, rendered["spec"]["template"], asked, Record.of(state.statefulset)
    )
    step = _of_leader(state, spec, rendered, environment, asked, kept)
    if state.statefulset is not None:
        fleet = RolloutState.of(state, state.statefulset)
        step = dataclasses.replace(step, canary=canary.split(fleet, spec, Record.of(step.statefulset)))
    return worker_sets.sync_workers(state, step, worker_statefulsets, kept)


def _of_leader(
    state: ServiceState,
    spec: LLMServiceSpec,
    rendered: dict[str, Any],
    environment: Object,
    asked: Record,
    waits: bool,
) -> RolloutStep:
    live = state.statefulset
    if live is None:
        left = state.wanted_replicas if state.orphans else 0
        return RolloutStep(
            render_statefulset(rendered, asked, left), Result(condition.rolled_out(state.wanted_replicas))
        )
    fleet, known = RolloutState.of(state, live), Record.of(live)
    template = rendered["spec"]["template"]
    if not waits:
        return _shape(fleet, spec, known or _unrecorded(fleet, asked), asked, rendered)
    there = digest(live["spec"]["template"])
    kept = approval.kept(asked, known or dataclasses.replace(_unrecorded(fleet, asked), template=there, by=""))
    shaped = _shape(
        fleet, spec, kept, kept, {**rendered, "spec": {**rendered["spec"], "template": live["spec"]["template"]}}
    )
    result = condition.waiting(shaped.result)
    return dataclasses.replace(
        shaped,
        result=dataclasses.replace(result, recheck_at=earliest(result.recheck_at, approval.begins_at(state))),
        offer=approval.offer(state, template, environment, asked.template),
    )


def _shape(
    fleet: RolloutState, spec: LLMServiceSpec, known: Record, asked: Record, rendered: dict[str, Any]
) -> RolloutStep:
    waits = bool(asked.waiting)
    if (
        known.template == asked.template
        and not known.done
        and foreign_changes.unstable_field(fleet.state, pods.name(fleet.live))
    ):
        return _with_few_writes(fleet, known, rendered)
    if known.failure is not None and (waits or known.has_failed(asked.template, _refresh(fleet.state))):
        again = retry.Retry() if waits or spec.rollout.paused else retry.check(fleet, known.failure, rendered)
        if not again.due:
            return _with_retry(rollback.roll_back(fleet, spec, known, known.failure, rendered), again)
        asked = dataclasses.replace(asked, attempts=known.attempts + 1)
    if recreate.requires_recreate(rendered, fleet.live):
        begun = _begin(fleet, known.next(asked, fleet.placed), known.done, rendered)
        why = "an immutable field changes; its pods are kept"
        return dataclasses.replace(begun, releases=(deletion_of(fleet.live, why),))
    if not known.is_of(asked.template) or not foreign_changes.has_template(
        fleet.state, rendered["spec"]["template"], fleet.live
    ):
        return _begin(fleet, known.next(asked, fleet.placed), known.done, rendered)
    if not fleet.settled:
        return _as_it_is(fleet, known, rendered)
    if known.done or (steps.finished(fleet, known) and _can_spare(fleet, spec, known)):
        return RolloutStep(render_statefulset(rendered, asked.finished()), Result(condition.rolled_out(fleet.wanted)))
    changing = fleet.outdated or fleet.good
    return _roll(fleet, spec, progress_deadline.record_nodes(fleet, known) if changing else known, rendered)


def _with_retry(step: RolloutStep, again: retry.Retry) -> RolloutStep:
    result = step.result
    recheck_at = earliest(result.recheck_at, again.recheck_at)
    return dataclasses.replace(
        step, result=dataclasses.replace(result, requires=result.requires | again.requires, recheck_at=recheck_at)
    )


def _as_others_left_it(state: ServiceState, rendered: dict[str, Any]) -> dict[str, Any]:
    """``rendered`` with the values of others that can't or need not be set back."""
    name = rendered["metadata"]["name"]
    live = next((each for each in state.own("StatefulSet") if pods.name(each) == name), None)
    if live is None and state.statefulset is not None and pods.name(state.statefulset) == name:
        live = state.statefulset
    return recreate.with_created_values(foreign_changes.with_values_of_others(state, rendered), live)


def _asked(
    state: ServiceState, spec: LLMServiceSpec, rendered: dict[str, Any], worker_statefulsets: Sequence[dict[str, Any]]
) -> Record:
    """The record of the desired template."""
    template = rendered["spec"]["template"]
    return Record(
        digest(
            [template, *(each["spec"]["template"] for each in worker_statefulsets)] if worker_statefulsets else template
        ),
        model=_model(spec),
        by=approval.operator_digest(state.observed.platform),
        spec=approval.spec_digest(spec),
    )


def _unrecorded(fleet: RolloutState, asked: Record) -> Record:
    """The record of a StatefulSet that was created before records were stored."""
    done = fleet.last_good == fleet.newest and not fleet.outdated
    return dataclasses.replace(asked, done=done, placed=fleet.placed)


def _can_spare(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> bool:
    """Whether enough replicas are ready without the surge pod."""
    promised = min(fleet.wanted, fleet.placed) - spec.rollout.max_unavailable
    return not record.surge or fleet.ready - 1 >= promised


def _begin(fleet: RolloutState, record: Record, was_done: bool, rendered: dict[str, Any]) -> RolloutStep:
    """Sets the new template, with a partition that updates no pod yet. The last good template is stored beside it."""
    good = fleet.live["spec"]["template"] if was_done else fleet.good
    good = recreate.still_mountable(good, rendered, fleet.live)
    partition = fleet.wanted + record.surge if fleet.pods or fleet.leaving else 0
    statefulset = render_statefulset(rendered, record, partition, record.surge, good)
    return RolloutStep(statefulset, Result(condition.updating(fleet.wanted, 0, "")))


def _with_few_writes(fleet: RolloutState, record: Record, rendered: dict[str, Any]) -> RolloutStep:
    """One write for the whole rollout, if each write changes the pod template: the StatefulSet controller replaces the
    pods. The end is not recorded, because that would be another write."""
    why = "each write changes the pod template"
    record = dataclasses.replace(
        record, strategy=RolloutStrategy.IN_PLACE, why=why, lacking="", placed=0, canary="", canary_before=""
    )
    back = record.failure is not None and fleet.good is not None
    statefulset = render_statefulset(rendered, record, 0, 0, fleet.good, roll_back=back)
    left = [pod for pod in fleet.outdated if pods.ordinal(pod) < fleet.wanted]
    done = fleet.settled and not left and not fleet.missing
    if record.failure is not None:
        verdict = condition.rolled_back(record.failure, len(left))
    else:
        verdict = (
            condition.rolled_out(fleet.wanted)
            if done
            else condition.updating(fleet.wanted, fleet.wanted - len(left), why)
        )
    stuck = [pod for pod in left if fleet.settled and fleet.replaceable(pod)]
    return RolloutStep(statefulset, Result(verdict), deletions(fleet.to_replace(stuck), "it has an older revision"))


def _as_it_is(fleet: RolloutState, record: Record, rendered: dict[str, Any]) -> RolloutStep:
    """No step while the controller has not observed the last change. Added pods keep their revision."""
    size = fleet.wanted + record.surge
    partition = None if fleet.on_delete else min(fleet.partition, size)
    if partition and size > fleet.size:
        partition = size
    verdict = condition.rolled_out(fleet.wanted) if record.done else condition.as_before(fleet, record)
    return RolloutStep(render_statefulset(rendered, record, partition, record.surge, fleet.good), Result(verdict))


def _roll(fleet: RolloutState, spec: LLMServiceSpec, record: Record, rendered: dict[str, Any]) -> RolloutStep:
    """The next step, or a rollback if the new revision fails."""
    rollout = spec.rollout
    prospect = (
        progress_deadline.check_progress(fleet, record)
        if fleet.good and not rollout.paused
        else progress_deadline.DeadlineCheck()
    )
    stopped = prospect.problem
    if stopped is not None and rollout.on_failure is OnFailure.ROLLBACK:
        given_up = retry.failure_of(fleet, spec, stopped.finding, record, _refresh(fleet.state))
        return rollback.roll_back(fleet, spec, dataclasses.replace(record, failure=given_up), given_up, rendered)
    known = surge.record_missing(fleet, record)
    way = _with_strategy(fleet, spec, known, rendered)
    compared = canary.CanaryStep(way.record) if rollout.paused else canary.check(fleet, spec, way.record)
    record, stopped = compared.record, stopped or compared.problem
    if stopped is not None and rollout.on_failure is OnFailure.ROLLBACK:
        given_up = retry.failure_of(fleet, spec, stopped.finding, record, _refresh(fleet.state))
        return rollback.roll_back(fleet, spec, dataclasses.replace(record, failure=given_up), given_up, rendered)
    limits = steps.Limits(
        size=fleet.wanted + record.surge,
        least=steps.promised(fleet, spec, record),
        placed=record.placed,
        moving=not (rollout.paused or compared.holds) and stopped is None and record.strategy is not None,
    )
    on_delete = False
    if fleet.without_disk:
        step, going = steps.next_disk(fleet, limits)
    else:
        step = steps.next_step(fleet, limits)
        lost = [pod for pod in fleet.outdated if pods.ordinal(pod) < step.partition and fleet.replaceable(pod)]
        on_delete = bool(step.short and lost) or (fleet.on_delete and (bool(lost) or fleet.missing))
        going = lost if fleet.on_delete else _due(fleet, step)
    return RolloutStep(
        render_statefulset(rendered, record, None if on_delete else step.partition, record.surge, fleet.good),
        Result(
            condition.of_rolling(
                fleet,
                record,
                step,
                limits.least,
                paused=rollout.paused,
                stopped=stopped,
                waits=prospect.waits or compared.progress,
            ),
            way.requires | surge.required(fleet, known) | compared.requires,
            _next(
                fleet,
                prospect.changes_at,
                way.waits_until,
                surge.overdue_at(fleet, record),
                surge.without_node_at(fleet, record),
                surge.events_at(fleet, known),
                compared.recheck_at,
            ),
        ),
        (
            *deletions(fleet.to_replace(going), "it has an older revision"),
            *deletions(_in_the_way(fleet, limits), "it exceeds spec.replicas while another replica has no pod"),
        ),
    )


def _next(fleet: RolloutState, *times: datetime.datetime | None) -> datetime.datetime | None:
    """The first of these times that is in the future."""
    return min((time for time in times if time is not None and time > fleet.state.observed.now), default=None)


def _due(fleet: RolloutState, step: steps.Step) -> list[Object]:
    """Outdated pods to delete now, so that new ones replace them. The StatefulSet controller would replace most of
    them, but it waits forever for a pod that does not become ready (kubernetes/kubernetes#67250) or has no node."""
    from_here = max(step.partition, fleet.partition)
    return [pod for pod in fleet.outdated if pods.ordinal(pod) >= from_here]


def _in_the_way(fleet: RolloutState, limits: steps.Limits) -> list[Object]:
    """Pods beyond the StatefulSet's size while a replica has no pod. The StatefulSet controller does not delete them
    while it fails to create that pod, and a quota may prevent its creation because of them."""
    waits = any(number not in fleet.pods and number not in fleet.leaving for number in range(limits.size))
    if not waits or fleet.size != limits.size:
        return []
    return [pod for number, pod in sorted(fleet.pods.items()) if number >= limits.size]


@dataclasses.dataclass(frozen=True)
class _StrategyChoice:
    record: Record
    """The record with the chosen strategy."""
    requires: frozenset[Input] = NOTHING
    """The nodes, if they would improve the choice."""
    waits_until: datetime.datetime | None = None
    """Latest time at which the choice is made; None if it is made."""


def _with_strategy(
    fleet: RolloutState, spec: LLMServiceSpec, record: Record, rendered: dict[str, Any]
) -> _StrategyChoice:
    if fleet.without_disk:
        return _in_place(record, "volumes are added to one replica after the other")
    if why := strategy.given_up(fleet, spec, record):
        return _in_place(record, why)
    wish = spec.rollout.strategy
    if (
        spec.rollout.paused
        or not fleet.outdated
        or (wish in (RolloutStrategy.AUTO, record.strategy) and strategy.still_holds(fleet, spec, record))
    ):
        return _StrategyChoice(record)
    template = rendered["spec"]["template"]
    if until := strategy.waits_until(fleet, spec, template):
        return _StrategyChoice(record, waits_until=until)
    way, why = strategy.choose(fleet, spec, template)
    return _StrategyChoice(dataclasses.replace(record, strategy=way, why=why), strategy.required(fleet, spec, template))


def _in_place(record: Record, why: str) -> _StrategyChoice:
    return _StrategyChoice(dataclasses.replace(record, strategy=RolloutStrategy.IN_PLACE, why=why, lacking=""))


def _model(spec: LLMServiceSpec) -> str:
    """Digest of the settings that determine the loading time."""
    model = spec.model
    parts = [model.source, model.revision or "", str(spec.quantization.method), *(spec.accelerator.products or ())]
    return names.digest(canonical(parts))


def _refresh(state: ServiceState) -> str:
    return pods.annotations(state.observed.service).get(names.REFRESH_ANNOTATION) or ""
