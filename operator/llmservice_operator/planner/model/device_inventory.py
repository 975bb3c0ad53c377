"""The devices that drivers publish by ResourceSlices, as capacity of nodes.

Devices of a DeviceClass are counted like an extended resource of their node. Selectors that the operator can't evaluate
count as satisfied, so the numbers are upper bounds: only the scheduler knows what it can allocate.
"""

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from llmservice_operator.planner.model import device_selectors
from llmservice_operator.planner.model.observed import Device, NodeCapacity, Object
from llmservice_operator.resources import names, quantity

_FORBIDS = ("NoSchedule", "NoExecute")
_LARGEST = 1 << 60
_LONGEST = 253
DeviceKey = tuple[str, str, str]
"""Driver, pool and name of a device."""


def class_for(resource: str, classes: Iterable[Object]) -> Object | None:
    """The DeviceClass whose devices are ``resource``: by its name, or by its extended resource. None if there is
    none."""
    name = resource.removeprefix(names.DEVICE_CLASS_RESOURCE)
    for each in classes:
        named = name != resource and each["metadata"]["name"] == name
        if named or (each.get("spec") or {}).get("extendedResourceName") == resource:
            return each
    return None


def allocated(claims: Iterable[Object]) -> set[DeviceKey]:
    """The devices that these claims hold."""
    return {key for claim in claims for key in _allocated(claim)}


class Inventory:
    """The devices of ResourceSlices that can be allocated to pods without tolerations, taken or not. The slices can be
    added page by page, because what is kept of one takes a fifth of its memory."""

    def __init__(self, taken: Set[DeviceKey]) -> None:
        self._taken = taken
        self._newest: dict[tuple[str, str], int] = {}
        self._parts: list[tuple[tuple[str, str], int, list[Device]]] = []

    def add(self, slices: Iterable[Object]) -> None:
        """Adds the devices of these slices."""
        for each in slices:
            if isinstance(each.get("spec"), Mapping):
                pool, generation = _pool(each)
                newest = self._newest[pool] = max(generation, self._newest.get(pool, 0))
                if generation == newest:
                    self._parts.append((pool, generation, _published(each, self._taken)))

    def devices(self) -> list[Device]:
        """The devices of the newest generation of each pool."""
        return [
            device
            for pool, generation, devices in self._parts
            if generation == self._newest[pool]
            for device in devices
        ]


def published(slices: Iterable[Object], taken: Set[DeviceKey]) -> list[Device]:
    """The devices of these slices: see ``Inventory``."""
    found = Inventory(taken)
    found.add(slices)
    return found.devices()


def devices_of(device_class: Object, devices: Iterable[Device]) -> list[Device]:
    """Those of the class."""
    selectors = (device_class.get("spec") or {}).get("selectors") or ()
    expressions = [str((each.get("cel") or {}).get("expression") or "") for each in selectors]
    return [device for device in devices if device_selectors.matches(device, expressions) is not False]


def with_devices(
    nodes: Sequence[NodeCapacity], resource: str, devices: Iterable[Device]
) -> Sequence[NodeCapacity] | None:
    """The nodes with these devices as ``resource``. None if some devices can be used by several nodes: then they can't
    be counted by node."""
    by_node: dict[str, list[Device]] = {}
    for device in devices:
        by_node.setdefault(device.node, []).append(device)
    if "" in by_node:
        return None
    return [_with(node, resource, tuple(by_node.get(node.name, ()))) for node in nodes]


def _with(node: NodeCapacity, resource: str, devices: tuple[Device, ...]) -> NodeCapacity:
    if not devices:
        return node
    taken = sum(device.taken for device in devices)
    return dataclasses.replace(
        node,
        allocatable={**node.allocatable, resource: len(devices)},
        requested={**node.requested, resource: taken},
        devices=devices,
    )


def _pool(each: Object) -> tuple[tuple[str, str], int]:
    pool = each["spec"].get("pool") or {}
    return (str(each["spec"].get("driver", "")), str(pool.get("name", ""))), int(pool.get("generation") or 0)


def _published(each: Object, taken: Set[DeviceKey]) -> list[Device]:
    (driver, pool), _ = _pool(each)
    found = []
    for device in each["spec"].get("devices") or ():
        if any(taint.get("effect") in _FORBIDS for taint in device.get("taints") or ()):
            continue
        name = str(device["name"])
        found.append(
            Device(
                node=str(each["spec"].get("nodeName") or device.get("nodeName") or ""),
                driver=driver,
                name=name,
                attributes=_attributes(driver, device.get("attributes") or {}),
                capacity=_capacity(driver, device.get("capacity") or {}),
                taken=(driver, pool, name) in taken and not device.get("allowMultipleAllocations"),
            )
        )
    return found


def _allocated(claim: Object) -> list[DeviceKey]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    results = (allocation.get("devices") or {}).get("results") or ()
    return [
        (str(each.get("driver")), str(each.get("pool")), str(each.get("device")))
        for each in results
        if not each.get("adminAccess")
    ]


def _qualified(driver: str, name: str) -> str:
    """The key of an attribute; the same object for all devices, because there are many."""
    return sys.intern(name if "/" in name else f"{driver}/{name}")


def _attributes(driver: str, given: Mapping[str, Any]) -> dict[str, str | int | bool]:
    found = {}
    for name, typed in given.items():
        value = next((typed[kind] for kind in ("string", "int", "bool", "version") if kind in typed), None)
        if isinstance(value, (str, int, bool)) and len(str(value)) <= _LONGEST:
            found[_qualified(driver, name)] = sys.intern(value) if isinstance(value, str) else value
    return found


def _capacity(driver: str, given: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for name, amount in given.items():
        try:
            value = int(quantity.parse(str(amount.get("value"))))
        except ValueError:
            continue
        if 0 <= value <= _LARGEST:
            found[_qualified(driver, name)] = value
    return found
