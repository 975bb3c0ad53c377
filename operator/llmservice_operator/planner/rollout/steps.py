"""How far a rollout may go now: the number from which on pods run the new revision.

It goes from the highest number down. A replica that answers requests is given up only where as many as are promised
stay, and where every new one is ready; one that answers none costs nothing. Whatever was begun is let finish.
"""

import dataclasses

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.rollout.state import RolloutState


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a step has to keep to."""

    size: int
    """Pods that the StatefulSet is to have, a surge among them."""
    least: int
    """Replicas that have to answer at any time."""
    placed: int
    """Pods that are known to find a node."""
    moving: bool
    """Whether anything more may begin."""


@dataclasses.dataclass(frozen=True)
class Step:
    """Where a rollout stands."""

    partition: int
    """The number from which on pods are to be new."""
    short: bool = False
    """Whether it waits because fewer replicas than are promised would answer."""


def next_step(fleet: RolloutState, limits: Limits) -> Step:
    """The step that is allowed now."""
    begun = range(fleet.partition, fleet.size)
    # One that goes anyway, as a surge that is given up, is none of those that stay.
    stay = sum(fleet.answers(pod) for number, pod in fleet.pods.items() if number < limits.size)
    for number in reversed(range(limits.size)):
        pod = fleet.pods.get(number)
        if pod is not None and fleet.updated(pod):
            continue
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
    """The step, and the pod that goes now so that its successor, which is new anyway, gets a disk.

    From the lowest number up: a StatefulSet's controller does nothing for any pod beyond one that lacks a disk.
    """
    pod, hold = fleet.without_disk[0], Step(limits.size)
    if not limits.moving or (fleet.answers(pod) and busy(fleet, limits.placed)):
        return hold, []
    if fleet.answers(pod) and fleet.ready - 1 < limits.least:
        return Step(limits.size, short=True), []
    return hold, [pod]


def busy(fleet: RolloutState, placed: int) -> bool:
    """Whether a replica is on its way: going, or new and not ready yet."""
    new = (pod for pod in fleet.pods.values() if fleet.updated(pod))
    return bool(fleet.leaving) or not all(fleet.answers(pod) or excused(fleet, pod, placed) for pod in new)


def excused(fleet: RolloutState, pod: Object, placed: int) -> bool:
    """Whether the pod lacks a node through no fault of its revision: as many as ever had one have one now."""
    return fleet.homeless(pod) and fleet.placed >= min(placed, fleet.wanted)


def _free(fleet: RolloutState, pod: Object | None) -> bool:
    """Whether nothing is lost with a pod that doesn't answer, or is missing: no replica answers at all, or it is
    worthless."""
    return fleet.ready == 0 or (pod is not None and fleet.worthless(pod))


def promised(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> int:
    """Replicas that have to answer, of those that ever found a place."""
    wanted = min(fleet.wanted, max(record.placed, fleet.placed))
    return wanted if record.surge else max(0, wanted - spec.rollout.max_unavailable)


def finished(fleet: RolloutState, record: Record) -> bool:
    """Whether each replica is new, and ready or, beside one that is, without a node through no fault of its own."""
    placed = max(record.placed, fleet.placed)
    return (fleet.ready > 0 or fleet.wanted == 0) and all(
        pod is not None and fleet.updated(pod) and (fleet.answers(pod) or excused(fleet, pod, placed))
        for pod in fleet.asked()
    )
