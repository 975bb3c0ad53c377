"""Capacity and use of the nodes. They are read only if a pod can't be scheduled; nodes and other pods are not
watched."""

import dataclasses
import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import Gone, NotFound, RequestRefused
from llmservice_operator.controller.client.shared_reads import SharedReads
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.device_inventory import (
    DeviceKey,
    Inventory,
    allocated,
    class_for,
    devices_of,
    with_devices,
)
from llmservice_operator.planner.model.nodes import add, capacity_of, pod_requests
from llmservice_operator.planner.model.observed import Device, NodeCapacity, NodeHealth, Object
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import (
    CLAIM,
    DEVICE_CLASS,
    NODE,
    POD,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    VOLUME,
)

FRESH_SECONDS = 15.0
"""How long one read is shared, in seconds."""
NOW_SECONDS = 0.0
"""The same for decisions that are made once: a node may be there for less than a second."""
HOST_KEYS = frozenset({"kubernetes.io/hostname", "metadata.name"})
"""Keys by which a volume's affinity names nodes."""

_PRODUCTS = "Products of the nodes' GPUs"
_DEVICES = "Devices that drivers publish"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PublishedDevices:
    """The devices that drivers publish, and the DeviceClasses."""

    classes: Sequence[Object]
    devices: Sequence[Device]
    _by_class: dict[str, list[Device]] = dataclasses.field(default_factory=dict)

    def of_class(self, device_class: Object) -> list[Device]:
        """The devices of a class, which all services with the class share."""
        name = device_class["metadata"]["name"]
        if name not in self._by_class:
            self._by_class[name] = devices_of(device_class, self.devices)
        return self._by_class[name]


class Capacity:
    """The nodes and their extended resources, shared by all services. ``device_claims``: whether the API server has
    resource.k8s.io/v1 now."""

    def __init__(self, cluster: Cluster, *, device_claims: Callable[[], bool] = lambda: False) -> None:
        self._cluster = cluster
        self._device_claims = device_claims
        self._devices = SharedReads[PublishedDevices]()
        self._nodes = SharedReads[Sequence[NodeCapacity]]()
        self._health = SharedReads[NodeHealth]()
        self._products = SharedReads[Mapping[str, str]]()

    async def nodes(self, oldest: float = FRESH_SECONDS) -> Sequence[NodeCapacity] | None:
        """At most ``oldest`` seconds old. None if the operator may not read nodes or the pods of all namespaces."""
        return await self._nodes.get("Capacity of the nodes", self._read, oldest)

    async def nodes_with(self, device: str | None, oldest: float = FRESH_SECONDS) -> Sequence[NodeCapacity] | None:
        """The nodes with the devices that drivers publish for ``device``: an extended resource or a DeviceClass. None
        if the operator may not read them, or if several nodes can use the same device."""
        nodes = await self.nodes(oldest)
        if nodes is None or device is None or not self._device_claims():
            return nodes
        by_class = device.startswith(names.DEVICE_CLASS_RESOURCE)
        if not by_class and any(node.allocatable.get(device) for node in nodes):
            return nodes  # of a device plugin
        found = await self._devices.get(_DEVICES, self._read_devices, oldest)
        if found is None:
            return None if by_class else nodes
        device_class = class_for(device, found.classes)
        if device_class is None:
            return nodes
        return with_devices(nodes, device, found.of_class(device_class))

    async def health(self) -> NodeHealth | None:
        """At most FRESH_SECONDS old. None if the operator may not read nodes."""
        return await self._health.get("Readiness of the nodes", self._read_health, FRESH_SECONDS)

    async def products(self) -> Mapping[str, str] | None:
        """The GPU product of each node, at most FRESH_SECONDS old. None if the operator may not read nodes."""
        return await self._products.get(_PRODUCTS, self._read_products, FRESH_SECONDS)

    def known_products(self) -> Mapping[str, str] | None:
        """The result of the last ``products``, at any age, because a node's product does not change. None before it."""
        return self._products.last(_PRODUCTS)

    async def quotas(self, namespace: str) -> Sequence[Object] | None:
        """The ResourceQuotas of the namespace. None if the operator may not read them."""
        try:
            return [item async for page, _ in self._cluster.pages(RESOURCE_QUOTA, namespace) for item in page]
        except (RequestRefused, Gone):
            return None

    async def volumes(self, namespace: str, claims: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """By claim: the only nodes that can mount its volume; empty for any node. Claims without a volume are left out.
        None if the operator may not read volumes."""
        found = {}
        try:
            for name in claims:
                claim = await self._cluster.get(CLAIM, namespace, name)
                bound = claim["spec"].get("volumeName") if claim is not None else None
                volume = await self._cluster.get(VOLUME, "", bound) if bound else None
                if volume is not None:
                    found[name] = only_nodes(volume)
        except RequestRefused as error:
            logger.info("Could not read the node affinity of volumes: %s", error.message)
            return None
        return found

    async def access_modes(self, namespace: str, claims: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """The access modes of each of these claims that exists. None if the operator may not read claims."""
        found = {}
        try:
            for name in claims:
                claim = await self._cluster.get(CLAIM, namespace, name)
                if claim is not None:
                    found[name] = frozenset(map(str, claim["spec"].get("accessModes") or ()))
        except RequestRefused as error:
            logger.info("Could not read the access modes of volume claims: %s", error.message)
            return None
        return found

    async def _read_health(self) -> NodeHealth | None:
        try:
            nodes = [item async for page, _ in self._cluster.pages(NODE, None) for item in page]
        except Gone:
            return None
        unready = dict(each for node in nodes if (each := _unready(node)))
        names = {node["metadata"]["name"]: node["metadata"]["name"] for node in nodes}
        hosts = {host: meta["name"] for node in nodes if (host := _host(meta := node["metadata"])) is not None}
        return NodeHealth(len(nodes), unready, hosts | names)

    async def _read_products(self) -> Mapping[str, str] | None:
        try:
            nodes = [item async for page, _ in self._cluster.pages(NODE, None, metadata_only=True) for item in page]
        except Gone:
            return None
        return {node["metadata"]["name"]: product_of(node["metadata"].get("labels") or {}) for node in nodes}

    async def _read_devices(self) -> PublishedDevices | None:
        try:
            classes = [item async for page, _ in self._cluster.pages(DEVICE_CLASS, None) for item in page]
            # Of claims, which tenants make, and of slices only what is counted is kept.
            taken: set[DeviceKey] = set()
            async for page, _ in self._cluster.pages(RESOURCE_CLAIM, None):
                taken |= allocated(page)
            inventory = Inventory(taken)
            async for page, _ in self._cluster.pages(RESOURCE_SLICE, None):
                inventory.add(page)
        except (Gone, NotFound):
            return None
        return PublishedDevices(classes, inventory.devices())

    async def _read(self) -> Sequence[NodeCapacity]:
        for _ in range(3):
            try:
                nodes = [item async for page, _ in self._cluster.pages(NODE, None) for item in page]
                taken: dict[str, dict[str, int]] = {}
                unfinished = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
                async for page, _ in self._cluster.pages(POD, None, fields=unfinished):
                    for pod in page:
                        add(taken.setdefault(pod["spec"]["nodeName"], {}), pod_requests(pod))
                return [capacity_of(node, taken.get(node["metadata"]["name"], {})) for node in nodes]
            except Gone:
                continue
        return []


def _host(meta: Mapping[str, Any]) -> str | None:
    host = (meta.get("labels") or {}).get("kubernetes.io/hostname")
    return str(host) if host else None


def _unready(node: Mapping[str, Any]) -> tuple[str, datetime.datetime] | None:
    """The node's name and since when it is not Ready; None if it is Ready."""
    conditions = node.get("status", {}).get("conditions") or ()
    ready = next((each for each in conditions if each["type"] == "Ready"), None)
    if ready is None or ready["status"] == "True":
        return None
    since = timestamps.parse(ready.get("lastTransitionTime"))
    return None if since is None else (node["metadata"]["name"], since)


def product_of(labels: Mapping[str, str]) -> str:
    """The product of a node's GPUs; empty if no label names it."""
    return labels.get(names.NVIDIA_PRODUCT_LABEL) or labels.get(names.AMD_PRODUCT_LABEL) or ""


def only_nodes(volume: Mapping[str, Any]) -> frozenset[str]:
    """The only nodes that can mount the volume; empty if it names none."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    names: set[str] = set()
    for term in required.get("nodeSelectorTerms") or ():
        hosts = [
            expression
            for expression in (*(term.get("matchExpressions") or ()), *(term.get("matchFields") or ()))
            if expression["key"] in HOST_KEYS and expression["operator"] == "In"
        ]
        if not hosts:
            return frozenset()
        names.update(hosts[0]["values"])
    return frozenset(names)
