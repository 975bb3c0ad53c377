"""A model of the scheduler and of quotas: nodes with their devices and host resources.

Unknown resources limit nothing: without nodes every pod can be scheduled, and without quotas every pod can be created.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from llmservice_operator.planner.model import capacity, pods
from llmservice_operator.planner.model.observed import NodeCapacity, Object
from llmservice_operator.planner.report import phrases
from llmservice_operator.resources import quantity
from llmservice_operator.simulation.mounts import MountModel

UNKNOWN_NODE = "a-node"
"""Name of the node of all pods if no nodes are known."""

Amounts = Mapping[str, Fraction]


@dataclasses.dataclass(frozen=True)
class Quota:
    """One ResourceQuota of the namespace."""

    name: str
    hard: Amounts
    used: Amounts
    """The usage in its status."""


@dataclasses.dataclass(frozen=True)
class ClusterCapacity:
    """Capacity of the cluster at the time of the plan."""

    nodes: Sequence[NodeCapacity] | None = None
    """None if they are not known."""
    host: Mapping[str, Amounts] = dataclasses.field(default_factory=dict)
    """Free cpu, memory, ephemeral-storage and pods by node. A node that is missing here has enough."""
    quotas: Sequence[Quota] = ()


class SchedulerModel:
    """Tracks free resources while pods are created and deleted."""

    def __init__(self, ground: ClusterCapacity, present: Iterable[Object], mounts: MountModel | None = None) -> None:
        self._mounts = mounts or MountModel(None)
        self._quotas = ground.quotas
        self.without_nodes = ground.nodes is None
        here = list(present)
        taken, requested = _devices(here), _requests(here)
        self._nodes = {node.name: _without(node, taken.get(node.name, {})) for node in ground.nodes or ()}
        self._host = {name: _plus(free, requested.get(name, {})) for name, free in ground.host.items()}
        self._others = {quota.name: _less(quota.used, here) for quota in ground.quotas}

    def nodes(self, present: Sequence[Object]) -> list[NodeCapacity] | None:
        """The nodes as the operator would read them now."""
        if self.without_nodes:
            return None
        taken = _devices(present)
        return [_with(node, taken[name]) if name in taken else node for name, node in self._nodes.items()]

    def choose(self, pod: Object, present: Sequence[Object]) -> tuple[str | None, str]:
        """The node for a pod, or None and the scheduler's message."""
        if in_use := self._mounts.refusal(pod, present, max(1, len(self._nodes))):
            return None, in_use
        if self.without_nodes:
            return UNKNOWN_NODE, ""
        need, requested = capacity.Need.of(pod), _requests(present) if self._host else {}
        seen = self.nodes(present) or []
        taken: dict[str, int] = {}
        for each in present:
            if pods.bound(each) and _siblings(pod, each):
                taken[each["spec"]["nodeName"]] = taken.get(each["spec"]["nodeName"], 0) + 1
        fitting = [node for node in seen if capacity.takes(need, node) and not self._lacks(pod, node.name, requested)]
        if near := _near(pod, present, seen):
            fitting = [node for node in fitting if node.name in near]
        if not fitting:
            return None, self._refusal(pod, need, seen, requested)
        best = min(
            fitting, key=lambda node: (taken.get(node.name, 0), -capacity.free(node, need.resource or ""), node.name)
        )
        return best.name, ""

    def forbids(self, pod: Object, present: Sequence[Object]) -> str:
        """The API server's message if a quota forbids the pod; empty if none does."""
        asked = usage(pod)
        for quota in self._quotas:
            used = _sum([self._others[quota.name], *map(usage, present)])
            over = [name for name in quota.hard if name in asked and used.get(name, 0) + asked[name] > quota.hard[name]]
            if over:
                parts = [("requested", asked), ("used", used), ("limited", quota.hard)]
                return ", ".join(
                    [f"exceeded quota: {quota.name}", *(f"{what}: {_listed(of, over)}" for what, of in parts)]
                )
        return ""

    def _lacks(self, pod: Object, node: str, requested: Mapping[str, Amounts]) -> str:
        """The host resource that is insufficient on the node; empty if none is. ``requested``: by node."""
        if node not in self._host:
            return ""
        there = requested.get(node, {})
        free = {name: amount - there.get(name, 0) for name, amount in self._host[node].items()}
        return next((name for name, amount in requests(pod).items() if amount > free.get(name, amount)), "")

    def _refusal(
        self, pod: Object, need: capacity.Need, seen: Sequence[NodeCapacity], requested: Mapping[str, Amounts]
    ) -> str:
        head = f"0/{len(seen)} nodes are available"
        host = {self._lacks(pod, node.name, requested) for node in seen if capacity.takes(need, node)} - {""}
        if host:
            return f"{head}: Insufficient {', '.join(sorted(host))}"
        if need.resource is not None:
            return f"{head}: Insufficient {capacity.named(need.resource)}: {capacity.explain(need, seen)}"
        return f"{head}: {phrases.join_truncated([f'{node.name} {capacity.obstacle(need, node)}' for node in seen])}"


@pods.read_once
def requests(pod: Object) -> dict[str, Fraction]:
    """Host resources that a pod requests, including one of ``pods``."""
    asked: dict[str, Fraction] = {"pods": Fraction(1)}
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        for name, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            if "/" not in name:
                asked[name] = asked.get(name, Fraction(0)) + quantity.parse(amount)
    return asked


@pods.read_once
def usage(pod: Object) -> dict[str, Fraction]:
    """Usage of a ResourceQuota by a pod, by the names in the quota."""
    total = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        for kind, amounts in (("requests", {**limits, **(resources.get("requests") or {})}), ("limits", limits)):
            for name, amount in amounts.items():
                counted = [f"{kind}.{name}", *([name] if kind == "requests" and "/" not in name else [])]
                for each in counted:
                    total[each] = total.get(each, Fraction(0)) + quantity.parse(amount)
    return total


def _siblings(pod: Object, other: Object) -> bool:
    same = pods.component(pod) == pods.component(other)
    return same and pods.rank(pod) == pods.rank(other)


def _near(pod: Object, present: Sequence[Object], seen: Sequence[NodeCapacity]) -> set[str]:
    """Nodes in the topology domain of the replica's other pods, if the pod requires it; empty for any node."""
    affinity = (pod["spec"].get("affinity") or {}).get("podAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    key = next((str(term["topologyKey"]) for term in terms), None)
    group = [each for each in present if pods.bound(each) and pods.ordinal(each) == pods.ordinal(pod)]
    if key is None or not group:
        return set()
    domain_of = {node.name: node.labels.get(key) for node in seen}
    domains = {domain_of.get(each["spec"]["nodeName"]) for each in group}
    return {name for name, domain in domain_of.items() if domain in domains}


def _devices(present: Iterable[Object]) -> dict[str, dict[str, int]]:
    """What pods request of extended resources, by node."""
    taken: dict[str, dict[str, int]] = {}
    for pod in present:
        node, need = pod["spec"].get("nodeName"), capacity.Need.of(pod)
        if node and need.resource is not None:
            there = taken.setdefault(node, {})
            for name, count in {need.resource: need.count, **need.others}.items():
                there[name] = there.get(name, 0) + count
    return taken


def _requests(present: Iterable[Object]) -> dict[str, dict[str, Fraction]]:
    """What pods request of host resources, by node."""
    on_nodes: dict[str, list[Amounts]] = {}
    for pod in present:
        if pods.bound(pod):
            on_nodes.setdefault(pod["spec"]["nodeName"], []).append(requests(pod))
    return {node: _sum(amounts) for node, amounts in on_nodes.items()}


def _without(node: NodeCapacity, own: Mapping[str, int]) -> NodeCapacity:
    rest = {name: max(0, count - own.get(name, 0)) for name, count in node.requested.items()}
    return dataclasses.replace(node, requested=rest)


def _with(node: NodeCapacity, own: Mapping[str, int]) -> NodeCapacity:
    both = {name: node.requested.get(name, 0) + own.get(name, 0) for name in {*node.requested, *own}}
    return dataclasses.replace(node, requested=both)


def _plus(free: Amounts, own: Amounts) -> dict[str, Fraction]:
    return {name: amount + own.get(name, 0) for name, amount in free.items()}


def _less(used: Amounts, here: Sequence[Object]) -> dict[str, Fraction]:
    own = _sum(list(map(usage, here)))
    return {name: max(Fraction(0), amount - own.get(name, 0)) for name, amount in used.items()}


def _sum(amounts: Sequence[Amounts]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for each in amounts:
        for name, amount in each.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def _listed(amounts: Amounts, which: Iterable[str]) -> str:
    return ",".join(f"{name}={_shown(amounts.get(name, Fraction(0)))}" for name in sorted(which))


def _shown(amount: Fraction) -> str:
    return str(int(amount)) if amount.denominator == 1 else f"{float(amount):g}"
