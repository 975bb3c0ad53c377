"""In which way replicas are replaced: in place, or with one more meanwhile."""

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.core import capacity, pods, times
from llmservice_operator.core.observed import Object
from llmservice_operator.core.rollout.fleet import Fleet
from llmservice_operator.core.rollout.record import Record

SURGE_PATIENCE_SECONDS = 30
"""How long the replica more may look for a place before the rollout goes on without it."""


def choose(fleet: Fleet, spec: LLMServiceSpec, template: Object) -> tuple[RolloutStrategy, str]:
    """The way, and why, as part of a sentence. Where the nodes can't be seen, a surge is tried only where nothing else
    is allowed.

    A replica that asks for no devices is tried as a surge: the scheduler alone can tell.
    """
    if spec.rollout.strategy is not RolloutStrategy.AUTO:
        return spec.rollout.strategy, "as spec.rollout.strategy says"
    if fleet.ready == 0:
        return RolloutStrategy.IN_PLACE, "as no replica answers"
    need, nodes = capacity.Need.of(template), fleet.situation.observed.nodes
    if need.resource is None:
        return RolloutStrategy.SURGE, "as a replica needs no devices of its own"
    several, rooms = pods.nodes(template), [capacity.room(need, node) for node in nodes or ()]
    if 1 < several <= sum(rooms):
        return (
            RolloutStrategy.SURGE,
            f"as the nodes have room for {several} pods with {need.count} {need.resource} each",
        )
    room = next((node for node in nodes or () if several == 1 and capacity.takes(need, node)), None)
    if room is not None:
        return RolloutStrategy.SURGE, f"as {room.name} has {capacity.free(room, need.resource)} {need.resource} free"
    who = "no node has" if several == 1 else f"no {several} pods find"
    lacking = f"{who} {need.count} {need.resource} to spare"
    if spec.rollout.max_unavailable == 0:
        return RolloutStrategy.SURGE, f"as maxUnavailable is 0, though {lacking}"
    return RolloutStrategy.IN_PLACE, f"as {lacking}" if nodes is not None else "as the nodes can't be seen"


def needs_nodes(fleet: Fleet, spec: LLMServiceSpec, template: Object) -> bool:
    """Whether the choice depends on nodes that were not looked at."""
    if fleet.situation.observed.nodes is not None or fleet.ready == 0:
        return False
    return spec.rollout.strategy is RolloutStrategy.AUTO and capacity.Need.of(template).resource is not None


def without_place(fleet: Fleet) -> bool:
    """Whether a new replica has looked for a place in vain, for longer than is waited."""
    return any(fleet.updated(pod) and fleet.homeless(pod) and _late(fleet, pod) for pod in fleet.pods.values())


def _late(fleet: Fleet, pod: Object) -> bool:
    refused = pods.condition(pod, "PodScheduled").get("lastTransitionTime")
    since = times.parse(refused or pod["metadata"].get("creationTimestamp"))
    return since is None or (fleet.situation.observed.now - since).total_seconds() >= SURGE_PATIENCE_SECONDS


def in_place_after_all(spec: LLMServiceSpec, record: Record, fleet: Fleet) -> bool:
    """Whether a surge that nobody insists on is to be given up."""
    return (
        bool(record.surge)
        and spec.rollout.strategy is RolloutStrategy.AUTO
        and spec.rollout.max_unavailable > 0
        and without_place(fleet)
    )
