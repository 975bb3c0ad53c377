"""``status.placeableReplicas``: how many replicas the cluster could run now, whatever maxReplicas is.

Free devices are counted per node, with taints, labels and cordons, and limited by the quota of the namespace.
"""

import zlib
from collections.abc import Sequence

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import PlaceableReplicas
from llmservice_operator.planner.actions.decision import decide
from llmservice_operator.planner.model import capacity, pods
from llmservice_operator.planner.model.observed import NOTHING, Input, NodeCapacity
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases
from llmservice_operator.resources import devices, quantity
from llmservice_operator.resources.platform import FitPolicy

PERIOD_SECONDS = 1800
"""How often the nodes are read for this if nothing else reads them."""
SPREAD_SECONDS = 300
"""The reads of all services are spread over this time, in which they share what was read."""
_WINDOW_SECONDS = 20
"""How late a read may be."""


def evaluate(state: ServiceState) -> Result:
    """Requires the nodes and quotas if a read is due: for a new spec, and periodically. If the nodes are known anyway,
    it requires the quotas, because both determine the result."""
    if state.spec is None or not _applies(state, state.spec):
        return Result()
    again = state.after(PERIOD_SECONDS - _since_due(state))
    if not state.once(decide).accepted.good:
        return Result(recheck_at=again)
    missing = state.observed.missing(Input.NODES, Input.QUOTAS)
    if not _is_due(state) and Input.NODES in missing:
        missing = NOTHING
    return Result(requires=missing, recheck_at=again)


def _is_due(state: ServiceState) -> bool:
    fresh = (state.observed.service.get("status") or {}).get("observedGeneration") == state.generation
    return state.placeable_replicas is None or not fresh or _since_due(state) < _WINDOW_SECONDS


def _applies(state: ServiceState, spec: LLMServiceSpec) -> bool:
    on_gpus = devices.resource_name(spec.accelerator) is not None
    return spec.scaling is not None and on_gpus and state.observed.platform.fit_policy is not FitPolicy.OFF


def _since_due(state: ServiceState) -> float:
    offset = zlib.crc32(state.owner.uid.encode()) % SPREAD_SECONDS
    return (state.observed.now.timestamp() - offset) % PERIOD_SECONDS


def check(state: ServiceState) -> PlaceableReplicas | None:
    """The number of placeable replicas. None on CPUs, if the nodes are not known, and for a spec that is not accepted.
    Worker pods need the same devices as the leader."""
    spec, nodes, children = state.spec, state.observed.nodes, state.once(decide).children
    if spec is None or nodes is None or children is None or not _applies(state, spec):
        return None
    need = capacity.Need.of(children.leader["spec"]["template"])
    if need.resource is None or not need.count:
        return None
    per_replica = spec.parallelism.nodes_per_replica
    placed = [pod for pod in state.members if pods.bound(pod)]
    running = len({pods.ordinal(pod) for pod in placed})
    free = _groups(spec, need, nodes, per_replica) if per_replica > 1 else _room(need, nodes)
    quota = _quota(state, need.resource, need.count * per_replica)
    if quota is not None and quota[0] < free:
        return PlaceableReplicas(replicas=running + quota[0], limited_by="Quota", message=quota[1])
    return PlaceableReplicas(replicas=running + free, limited_by="Nodes", message=_free_devices(need, nodes))


def _room(need: capacity.Need, nodes: Sequence[NodeCapacity]) -> int:
    return sum(capacity.room(need, node) for node in nodes)


def _groups(spec: LLMServiceSpec, need: capacity.Need, nodes: Sequence[NodeCapacity], size: int) -> int:
    """Number of replicas of ``size`` pods, all pods of a replica within one topology domain."""
    label = spec.scheduling.group_within
    if label is None:
        return _room(need, nodes) // size
    blocks: dict[str, int] = {}
    for node in nodes:
        if label in node.labels:
            blocks[node.labels[label]] = blocks.get(node.labels[label], 0) + capacity.room(need, node)
    return sum(room // size for room in blocks.values())


def _quota(state: ServiceState, resource: str, per_replica: int) -> tuple[int, str] | None:
    """The number of replicas that the tightest quota allows, and a sentence about it; None if no quota limits them."""
    found = []
    for each in state.observed.quotas or ():
        status, key = each.get("status") or {}, _quota_key(resource)
        hard, used = (status.get("hard") or {}).get(key), (status.get("used") or {}).get(key, "0")
        if hard is not None:
            left = max(0, int(quantity.parse(hard)) - int(quantity.parse(used)))
            name = each["metadata"]["name"]
            found.append(
                (left // per_replica, f"ResourceQuota {name} leaves {left} of {hard} {capacity.named(resource)}")
            )
    return min(found, default=None)


def _quota_key(resource: str) -> str:
    device_class = capacity.of_class(resource)
    return f"{device_class}.deviceclass.resource.k8s.io/devices" if device_class else f"requests.{resource}"


def _free_devices(need: capacity.Need, nodes: Sequence[NodeCapacity]) -> str:
    """The free devices of suitable nodes by product, or why no node is suitable."""
    resource = need.resource or ""
    free: dict[str, list[int]] = {}
    for node in nodes:
        if node.allocatable.get(resource) and capacity.room(need, node) > 0:
            counts = free.setdefault(capacity.product(node) or "no product label", [0, 0])
            counts[0] += capacity.free(node, resource)
            counts[1] += node.allocatable[resource]
    if not free:
        why = capacity.explain(need, nodes)
        return f"no node has room for {need.devices}: {why}" if why else f"no node has {capacity.named(resource)}"
    products = [f"{name}: {left} of {total} free" for name, (left, total) in sorted(free.items())]
    return f"of nodes with room for {need.devices}: {phrases.join_truncated(products)}"
