"""How far a rollout may go now: the partition.

Replicas are updated from the highest number down. A ready replica is updated only if enough others stay ready and every
updated one is ready. A replica that is not ready can be updated at any time. A started update is always finished.
"""

import dataclasses

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.rollout import surge
from llmservice_operator.planner.rollout.state import RolloutState


@dataclasses.dataclass(frozen=True)
class Limits:
    """The bounds of a step."""

    size: int
    """Desired number of pods, including a surge."""
    least: int
    """Minimum number of ready replicas."""
    placed: int
    """Number of pods that are known to have found a node."""
    moving: bool
    """Whether another replica may be updated."""


@dataclasses.dataclass(frozen=True)
class Step:
    """The state of a rollout."""

    partition: int
    """The number of the first replica to update."""
    short: bool = False
    """Whether the step waits because too few replicas would stay ready."""


def next_step(fleet: RolloutState, limits: Limits) -> Step:
    """The step that is allowed now."""
    begun = range(fleet.partition, fleet.size)
    # A pod beyond the size, such as a surge pod that is no longer needed, will be deleted anyway.
    stay = sum(number < limits.size for number in fleet.answering_replicas)
    for number in reversed(range(limits.size)):
        if number in fleet.updated_replicas:
            continue
        pod = fleet.pods.get(number)
        if number >= fleet.wanted and (pod is None or not fleet.answers(pod)):
            continue
        if pod is None or not fleet.answers(pod):
            if number in begun or (limits.moving and _free(fleet, pod)):
                continue
            return Step(number + 1)
        if not limits.moving or busy(fleet, limits.placed):
            return Step(number + 1)
        if stay - 1 < limits.least:
            return Step(number + 1, short=True)
        return Step(number)
    return Step(0)


def next_disk(fleet: RolloutState, limits: Limits) -> tuple[Step, list[Object]]:
    """The step, and the pod to delete now so that its replacement gets a volume; the replacement is of the new
    revision.

    The order is from the lowest number up: the StatefulSet controller ignores all pods after one that lacks a volume.
    """
    pod, hold = fleet.without_disk[0], Step(limits.size)
    if not limits.moving or (fleet.answers(pod) and busy(fleet, limits.placed)):
        return hold, []
    if fleet.answers(pod) and fleet.ready - 1 < limits.least:
        return Step(limits.size, short=True), []
    return hold, [pod]


def busy(fleet: RolloutState, placed: int) -> bool:
    """Whether a replica is being replaced: terminating, or updated and not ready yet."""
    starting = fleet.updated_replicas - fleet.answering_replicas
    return bool(fleet.leaving) or not all(excused(fleet, fleet.pods[number], placed) for number in starting)


def excused(fleet: RolloutState, pod: Object, placed: int) -> bool:
    """Whether the pod's missing node is not the fault of its revision: as many pods have nodes as ever had."""
    return fleet.unplaceable(pod) and fleet.placed >= min(placed, fleet.wanted)


def _free(fleet: RolloutState, pod: Object | None) -> bool:
    """Whether nothing is lost by updating a pod that is missing or not ready: no replica is ready, or the pod can be
    replaced without loss."""
    return fleet.ready == 0 or (pod is not None and fleet.replaceable(pod))


def promised(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> int:
    """Minimum number of ready replicas, at most as many as ever had nodes."""
    wanted = min(fleet.wanted, max(record.placed, fleet.placed))
    return wanted if record.surge else max(0, wanted - spec.rollout.max_unavailable)


def finished(fleet: RolloutState, record: Record) -> bool:
    """Whether every replica is updated and ready. One may lack a node if that is not its revision's fault; beside a
    surge pod, if it has lacked one for long."""
    if (not fleet.ready and fleet.wanted) or not fleet.updated_replicas.issuperset(range(fleet.wanted)):
        return False
    starting = [number for number in fleet.updated_replicas - fleet.answering_replicas if number < fleet.wanted]
    if starting and record.surge and not surge.without_node(fleet, record):
        return False
    placed = max(record.placed, fleet.placed)
    return all(excused(fleet, fleet.pods[number], placed) for number in starting)
