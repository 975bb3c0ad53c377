"""Reads a service and related objects from its cluster. Kinds that can't be read are noted, and the plan continues."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from llmservice_operator.cli import object_ref
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Forbidden, Missing
from llmservice_operator.cli.plan import claims
from llmservice_operator.planner.model.device_inventory import allocated, class_for, devices_of, published, with_devices
from llmservice_operator.planner.model.nodes import add, capacity_of, pod_requests
from llmservice_operator.resources import names, quantity
from llmservice_operator.resources.kinds import (
    CLAIM,
    CLUSTER_LLM_MODEL,
    DEVICE_CLASS,
    LLM_MODEL,
    NODE,
    POD,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    STATEFULSET,
    named,
)
from llmservice_operator.simulation.scheduler import ClusterCapacity, Quota, requests

Object = dict[str, Any]

_HOST = ("cpu", "memory", "ephemeral-storage", "pods")
_MAYBE_UNKNOWN = frozenset(
    {"Deployment", *(kind.kind for kind in object_ref.CHILDREN if kind.adapter is not None or kind.optional)}
)
"""Kinds that are no loss if they can't be read: a cluster without KEDA knows no ScaledObject."""
_UNFINISHED = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


@dataclass
class PlanSnapshot:
    """One service and what is around it."""

    service: Object | None
    """None if the service does not exist yet."""
    children: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    ground: ClusterCapacity = field(default_factory=ClusterCapacity)
    unseen: dict[str, str] = field(default_factory=dict)
    """Kinds that could not be read, and why."""
    absent: frozenset[str] = frozenset()
    """Kinds of children that can't be read, which is no loss: the cluster may not have them."""
    minor: int | None = None
    """Minor version of Kubernetes; None if it is not known."""

    @property
    def complete(self) -> bool:
        """Whether the StatefulSets, pods and ConfigMaps could be read."""
        return not {"StatefulSet", "Pod", "ConfigMap"} & self.unseen.keys()


class ClusterReader:
    """Reads for one person."""

    def __init__(self, cluster: KubernetesClient, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._ground: ClusterCapacity | None = None
        self._minor: int | None = None
        self._unseen: dict[str, str] = {}
        self._absent = set[str]()

    def look(self, name: str) -> PlanSnapshot:
        """Everything on the service of that name. Raises Failure if the service itself can't be read."""
        try:
            service = self._cluster.get(object_ref.service(self._namespace, name))
        except Missing:
            service = None
        seen = PlanSnapshot(service)
        selector = ",".join(f"{key}={value}" for key, value in names.of_service(name).items())
        self._absent = set()
        for kind in object_ref.CHILDREN:
            found = self._list(seen.unseen, kind.kind, kind.root, kind.plural, self._namespace, labels=selector)
            seen.children += [{**each, **kind.header} for each in found]
        seen.absent = frozenset(self._absent)
        seen.pods = self._list(seen.unseen, "Pod", POD.root, POD.plural, self._namespace, labels=selector)
        self._look_around()
        seen.ground, seen.minor = self._ground or ClusterCapacity(), self._minor
        seen.unseen |= self._unseen
        return seen

    def object_named(self, kind: str, name: str) -> Object | None:
        """The object of that name, owned or not; None if it does not exist or can't be read."""
        try:
            found = self._cluster.get(object_ref.child(kind, self._namespace, name))
        except Failure:
            return None
        return {**found, **named(kind).header}

    def access_modes(self, claim: str) -> frozenset[str]:
        """The access modes of a volume claim. Raises Missing if it does not exist, and Failure if it can't be read."""
        return claims.access_modes(self._cluster.get(object_ref.child(CLAIM.kind, self._namespace, claim)))

    def siblings(self) -> list[Object]:
        """StatefulSets of other services in the namespace: they tell how the operator there makes them."""
        wanted = {names.MANAGED_BY_LABEL: names.OPERATOR, names.COMPONENT_LABEL: names.ENGINE_COMPONENT}
        labels = ",".join(f"{key}={value}" for key, value in wanted.items())
        return self._list({}, "StatefulSet", STATEFULSET.root, STATEFULSET.plural, self._namespace, labels=labels)

    def around(self) -> tuple[ClusterCapacity, int | None, dict[str, str]]:
        """What pods can stand on, Kubernetes' minor version, and which kinds could not be read and why."""
        self._look_around()
        return self._ground or ClusterCapacity(), self._minor, dict(self._unseen)

    def models(self) -> list[Object]:
        """Models of the catalogue that services of the namespace may name, as far as they can be read."""
        found = [(LLM_MODEL, self._namespace), (CLUSTER_LLM_MODEL, None)]
        return [
            {**each, **kind.header}
            for kind, namespace in found
            for each in self._list({}, kind.kind, kind.root, kind.plural, namespace)
        ]

    def operators(self) -> list[Object]:
        """Deployments of the operator that can be seen."""
        label = f"{names.NAME_LABEL}={names.OPERATOR}"
        return self._list({}, "Deployment", STATEFULSET.root, "deployments", None, labels=label)

    def with_devices(self, seen: ClusterCapacity, resource: str | None) -> ClusterCapacity:
        """The same with the devices that drivers publish for ``resource``, if it is a DeviceClass. Without nodes if
        these devices can't be counted by node."""
        if seen.nodes is None or resource is None or not resource.startswith(names.DEVICE_CLASS_RESOURCE):
            return seen
        unseen: dict[str, str] = {}
        classes, slices, resource_claims = (
            self._list(unseen, kind.kind, kind.root, kind.plural, None)
            for kind in (DEVICE_CLASS, RESOURCE_SLICE, RESOURCE_CLAIM)
        )
        if unseen:
            return dataclasses.replace(seen, nodes=None)
        device_class = class_for(resource, classes)
        if device_class is None:
            return seen
        devices = devices_of(device_class, published(slices, allocated(resource_claims)))
        return dataclasses.replace(seen, nodes=with_devices(seen.nodes, resource, devices))

    def _look_around(self) -> None:
        """Nodes, quotas and the version: the same for all services of the namespace, so read once."""
        if self._ground is not None:
            return
        nodes = self._list(self._unseen, "Node", NODE.root, NODE.plural, None)
        pods = self._list(self._unseen, "pods of all namespaces", POD.root, POD.plural, None, fields=_UNFINISHED)
        quotas = self._list(self._unseen, "ResourceQuota", RESOURCE_QUOTA.root, RESOURCE_QUOTA.plural, self._namespace)
        blind = {"Node", "pods of all namespaces"} & self._unseen.keys()
        self._ground = ground(None if blind else nodes, pods, quotas)
        self._minor = self._version()

    def _version(self) -> int | None:
        try:
            minor = str(self._cluster.read("/version", "version").get("minor", ""))
        except Failure:
            return None
        digits = minor.rstrip("+")
        return int(digits) if digits.isdecimal() else None

    def _list(
        self, unseen: dict[str, str], what: str, root: str, plural: str, namespace: str | None, **chosen: str
    ) -> list[Object]:
        try:
            return self._cluster.list(root, what, plural, namespace, **chosen)
        except Failure as failure:
            if what in _MAYBE_UNKNOWN:
                self._absent.add(what)
            else:
                unseen[what] = (
                    "you lack the permission to read them" if isinstance(failure, Forbidden) else str(failure)
                )
        return []


def ground(nodes: list[Object] | None, pods: list[Object], quotas: list[Object]) -> ClusterCapacity:
    """What pods can stand on, of nodes, the unfinished pods of all namespaces, and the namespace's quotas."""
    known = tuple(quota for each in quotas if (quota := _quota(each)) is not None)
    if nodes is None:
        return ClusterCapacity(None, quotas=known)
    taken: dict[str, dict[str, int]] = {}
    host: dict[str, dict[str, Fraction]] = {node["metadata"]["name"]: _host(node) for node in nodes}
    for pod in pods:
        node = pod["spec"].get("nodeName", "")
        add(taken.setdefault(node, {}), pod_requests(pod))
        free = host.get(node, {})
        for name, amount in requests(pod).items():
            if name in free:
                free[name] -= amount
    return ClusterCapacity([capacity_of(node, taken.get(node["metadata"]["name"], {})) for node in nodes], host, known)


def _host(node: Mapping[str, Any]) -> dict[str, Fraction]:
    there = (node.get("status") or {}).get("allocatable") or {}
    return {name: quantity.parse(there[name]) for name in _HOST if name in there}


def _quota(found: Mapping[str, Any]) -> Quota | None:
    """A quota that counts engines; None for one that counts other pods, by what its scopes say."""
    spec, status = found.get("spec") or {}, found.get("status") or {}
    selected = {each.get("scopeName"): each for each in (spec.get("scopeSelector") or {}).get("matchExpressions") or ()}
    scopes = {*(spec.get("scopes") or ()), *selected}
    if scopes - {"NotTerminating", "NotBestEffort"}:
        return None
    hard = {name: quantity.parse(amount) for name, amount in (status.get("hard") or spec.get("hard") or {}).items()}
    used = {name: quantity.parse(amount) for name, amount in (status.get("used") or {}).items()}
    return Quota(found["metadata"]["name"], hard, used)
