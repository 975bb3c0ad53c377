"""The plan for one service: ``plan(observed)``.

The plan depends only on what was observed. No progress is stored: the same observation gives the same plan, and after a
plan was carried out, the next one is empty.
"""

from collections.abc import Callable, Iterator

from llmservice_operator.planner.actions import field_changes, node_failure, volume_refresh
from llmservice_operator.planner.actions.decision import Decision, decide
from llmservice_operator.planner.conditions import gang_scheduling, replicas_writer, scaling_active
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.model.plan import Plan, Resize
from llmservice_operator.planner.model.result import Result, earliest, required
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.status import conditions, cost, placeable_replicas
from llmservice_operator.planner.status.events import events
from llmservice_operator.planner.status.service_status import make_status
from llmservice_operator.resources import devices
from llmservice_operator.resources.kinds import JOB

ASIDE: tuple[Callable[[ServiceState], Result], ...] = (
    replicas_writer.evaluate,
    field_changes.evaluate,
    node_failure.evaluate,
    cost.evaluate,
    placeable_replicas.evaluate,
)
"""Checks that are not conditions but require inputs or a recheck."""


def plan(observed: Observed) -> Plan:
    """What to do for one service now. The garbage collector handles a service that is being deleted."""
    if observed.service["metadata"].get("deletionTimestamp"):
        return Plan(why="being deleted")
    state = ServiceState.of(observed)
    decision, gang = state.once(decide), state.once(gang_scheduling.plan_gang)
    accepted = decision.accepted.good
    results = [*conditions.all_results(state), *(state.once(evaluate) for evaluate in ASIDE)]
    ready = state.once(conditions.ready)
    recheck_at = earliest(*(result.recheck_at for result in results))
    return Plan(
        releases=decision.releases,
        objects=decision.objects,
        accepted=field_changes.accepted(state),
        corrected=field_changes.corrected(state),
        deletions=(
            *decision.deletions,
            *gang.deletions,
            *gang_scheduling.excess_workers(state),
            *node_failure.deletions(state),
        ),
        admissions=gang.admissions,
        tells_of_itself=bool(gang.deletions),
        status=make_status(state),
        resizes=tuple(_resizes(state)),
        replicas=state.wanted_replicas if accepted and _replicas_absent(state) else None,
        scale=scaling_active.replicas_to_write(state) if accepted else None,
        annotations=tuple(
            volume_refresh.refresh_annotations(state, decision.children.access if decision.children else None)
        ),
        events=tuple(events(state)),
        requeue_after=None if recheck_at is None else max(1.0, (recheck_at - observed.now).total_seconds()),
        requires=required(results),
        question=decision.fitting.question,
        foreign_changes=decision.foreign_changes,
        device=devices.resource_name(state.spec.accelerator) if state.spec is not None else None,
        claims=node_failure.claims_of_stranded(state),
        shared_claims=_shared_claims(decision),
        why=f"Ready={ready.status} {ready.reason}",
    )


def _shared_claims(decision: Decision) -> tuple[str, ...]:
    """The claims that all replicas mount, and those of the inspection."""
    jobs = [each for each in decision.objects if each["kind"] == JOB.kind]
    pods_of = [decision.children.leader, *jobs] if decision.children is not None else jobs
    return tuple(dict.fromkeys(claim for each in pods_of for claim in pods.claims(each["spec"]["template"])))


def _resizes(state: ServiceState) -> Iterator[Resize]:
    """The StatefulSets of all ranks with the desired count, including a surge; the leader first."""
    count, leader = state.count_of_invalid, state.statefulset
    if count is None or leader is None:
        return
    record = Record.of(leader)
    wanted = count + (record.surge if record is not None else 0)
    for live in (leader, *state.worker_statefulsets.values()):
        meta = live["metadata"]
        if live["spec"].get("replicas", 1) != wanted and not meta.get("deletionTimestamp"):
            yield Resize(meta["namespace"], meta["name"], meta["uid"], wanted)


def _replicas_absent(state: ServiceState) -> bool:
    return state.spec is not None and state.spec.replicas is None
