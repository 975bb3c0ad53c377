"""The strategy of a rollout: replicas are replaced in place, or with a surge pod."""

import datetime

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import capacity, pods, timestamps
from llmservice_operator.planner.model.observed import NOTHING, Input, Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.rollout import surge
from llmservice_operator.planner.rollout.state import RolloutState

SURGE_PATIENCE_SECONDS = 30
"""How long a surge pod may be unschedulable before the rollout continues in place, in seconds."""
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
    if need.resource is None:
        return RolloutStrategy.SURGE, "a replica needs no devices"
    several, rooms = pods.nodes(template), [capacity.room(need, node) for node in nodes or ()]
    if 1 < several <= sum(rooms):
        return (
            RolloutStrategy.SURGE,
            f"the nodes have room for {several} pods with {need.count} {need.resource} each",
        )
    room = next((node for node in nodes or () if several == 1 and capacity.takes(need, node)), None)
    if room is not None:
        return RolloutStrategy.SURGE, f"{room.name} has {capacity.free(room, need.resource)} {need.resource} free"
    devices = f"{need.count} {need.resource}"
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
    missing = fleet.state.observed.missing(Input.CURRENT_NODES)
    return missing if _depends_on_room(fleet, spec, template) else NOTHING


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


def _depends_on_room(fleet: RolloutState, spec: LLMServiceSpec, template: Object) -> bool:
    automatic = spec.rollout.strategy is RolloutStrategy.AUTO
    return automatic and fleet.ready > 0 and capacity.Need.of(template).resource is not None


def given_up(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> str:
    """Why an optional surge continues in place, as part of a sentence; empty if it does not."""
    insisted = spec.rollout.strategy is not RolloutStrategy.AUTO or spec.rollout.max_unavailable == 0
    if insisted or not record.surge:
        return ""
    if _without_place(fleet):
        return "the scheduler found no node for a surge pod"
    if surge.surge_timed_out(fleet, record):
        cause = surge.cause(fleet)
        return "a surge pod can't be created" + (f": {cause.message}" if cause is not None else "")
    return ""


def _without_place(fleet: RolloutState) -> bool:
    """Whether an updated replica has been unschedulable for longer than the patience."""
    since = (fleet.unplaceable_since(pod) for pod in fleet.pods.values() if fleet.updated(pod))
    before = fleet.state.observed.now - datetime.timedelta(seconds=SURGE_PATIENCE_SECONDS)
    return any(each is not None and each <= before for each in since)
