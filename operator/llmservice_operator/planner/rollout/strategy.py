"""The strategy of a rollout: replicas are replaced in place, or with a surge pod."""

import datetime

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import capacity, pods, timestamps, volume_claims
from llmservice_operator.planner.model.observed import NOTHING, Input, Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.rollout import surge
from llmservice_operator.planner.rollout.state import RolloutState

GONE_WITHIN_SECONDS = 30
"""How long to wait for a terminating pod after its grace period. A pod on a lost node may never terminate."""


def choose(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> tuple[RolloutStrategy, str]:
    """The strategy, and why, as part of a sentence. If the nodes can't be read, a surge is tried only if the spec
    allows nothing else.

    A surge is always tried for a replica without devices, because only the scheduler knows whether it has room.
    """
    if spec.rollout.strategy is not RolloutStrategy.AUTO:
        return spec.rollout.strategy, "set by spec.rollout.strategy"
    if fleet.ready == 0:
        return RolloutStrategy.IN_PLACE, "no replica answers"
    need, nodes = capacity.Need.of(template), fleet.state.observed.nodes
    if exclusive := _exclusive_claim(fleet, template):
        if spec.rollout.max_unavailable == 0:
            return RolloutStrategy.SURGE, f"maxUnavailable is 0, although {exclusive}"
        return RolloutStrategy.IN_PLACE, exclusive
    if need.resource is None:
        return RolloutStrategy.SURGE, "a replica needs no devices"
    several, rooms = pods.nodes(template), [capacity.room(need, node) for node in nodes or ()]
    if 1 < several <= sum(rooms):
        return (
            RolloutStrategy.SURGE,
            f"the nodes have room for {several} pods with {need.devices} each",
        )
    room = next((node for node in nodes or () if several == 1 and capacity.takes(need, node)), None)
    if room is not None:
        return (
            RolloutStrategy.SURGE,
            f"{room.name} has {capacity.free(room, need.resource)} {capacity.named(need.resource)} free",
        )
    devices = need.devices
    lacking = f"no node has {devices} free" if several == 1 else f"no room for {several} pods with {devices} each"
    if spec.rollout.max_unavailable == 0:
        return RolloutStrategy.SURGE, f"maxUnavailable is 0{f', although {lacking}' if nodes is not None else ''}"
    return RolloutStrategy.IN_PLACE, lacking if nodes is not None else "the operator can't read the nodes"


def still_holds(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> bool:
    """Whether the chosen strategy can be kept. With maxUnavailable 0, in place is possible only while no replica is
    ready."""
    forbidden = record.strategy is RolloutStrategy.IN_PLACE and spec.rollout.max_unavailable == 0 and fleet.ready > 0
    return record.strategy is not None and not forbidden


def required(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> frozenset[Input]:
    """The nodes, if the choice depends on them and they were not read."""
    observed, found = fleet.state.observed, NOTHING
    if _depends_on_claims(fleet, spec, template):
        found |= observed.missing(Input.ACCESS_MODES)
    if _depends_on_room(fleet, spec, template):
        found |= observed.missing(Input.CURRENT_NODES)
    return found


def waits_until(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> datetime.datetime | None:
    """How long the choice waits for terminating pods, because it depends on the devices that they free; None if it need
    not wait (any longer)."""
    if not _depends_on_room(fleet, spec, template):
        return None
    now, patience = fleet.state.observed.now, datetime.timedelta(seconds=GONE_WITHIN_SECONDS)
    ends = [timestamps.parse(pod["metadata"]["deletionTimestamp"]) or now for pod in fleet.state.leaving]
    # A controller that fails to create pods does not delete the surplus ones.
    too_many = not fleet.missing and any(number >= fleet.wanted for number in fleet.pods)
    until = max([*ends, *([now] if too_many else [])], default=now - patience) + patience
    return until if until > now else None


def _exclusive_claim(fleet: RolloutState, template: Object) -> str:
    """A claim of the template that a surge pod could not mount beside the running pods, as part of a sentence; empty if
    there is none. Pods on one node may share a ReadWriteOnce volume, but the scheduler ignores where it is mounted."""
    modes, nodes = fleet.state.observed.access_modes or {}, fleet.state.observed.nodes
    need = capacity.Need.of(template)
    for claim in volume_claims.of_one_node(pods.claims(template), modes):
        if volume_claims.is_of_one_pod(modes, claim):
            return f"PersistentVolumeClaim {claim} is ReadWriteOncePod, so one pod at a time can mount it"
        there = (*fleet.state.engines, *fleet.state.workers, *fleet.state.leaving)
        holders = {pod["spec"]["nodeName"] for pod in there if pods.bound(pod) and claim in pods.claims(pod)}
        others = [node.name for node in nodes or () if node.name not in holders and capacity.takes(need, node)]
        if holders and (nodes is None or others):
            return f"PersistentVolumeClaim {claim} is ReadWriteOnce, so pods on one node only can mount it"
    return ""


def _depends_on_claims(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> bool:
    automatic = spec.rollout.strategy is RolloutStrategy.AUTO
    return automatic and fleet.ready > 0 and bool(pods.claims(template))


def _depends_on_room(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> bool:
    automatic = spec.rollout.strategy is RolloutStrategy.AUTO
    on_room = capacity.Need.of(template).resource is not None or bool(pods.claims(template))
    return automatic and fleet.ready > 0 and on_room


def given_up(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> str:
    """Why an optional surge continues in place, as part of a sentence; empty if it does not."""
    insisted = spec.rollout.strategy is not RolloutStrategy.AUTO or spec.rollout.max_unavailable == 0
    if insisted or not record.surge:
        return ""
    if surge.without_node(fleet, record):
        return "the scheduler found no node for a surge pod"
    if surge.surge_timed_out(fleet, record):
        cause = surge.cause(fleet)
        return "a surge pod can't be created" + (f": {cause.message}" if cause is not None else "")
    return ""
