"""Devices that drivers publish are read with the nodes, if a service needs them."""

import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from builders.devices import DRIVER, a_claim_of, a_device, a_device_class, a_slice
from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.resources.kinds import RESOURCE_CLAIM, RESOURCE_SLICE, Kind
from support.fake_api import refusal
from unit.controller.conftest import Shell

CLASS = f"deviceclass.resource.kubernetes.io/{DRIVER}"
DEVICES = ["list DeviceClass", "list ResourceClaim", "list ResourceSlice"]


@pytest.fixture
def cluster(shell: Shell) -> Shell:
    for name, allocatable in (("node-a", {}), ("node-b", {"nvidia.com/gpu": "8"})):
        shell.api.put(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}
        )
    shell.api.put(a_slice("node-a", a_device("gpu-0"), a_device("gpu-1")))
    shell.api.put(a_claim_of("gpu-1"))
    shell.api.put(a_device_class(extendedResourceName="example.com/gpu"))
    return shell


def read_devices(shell: Shell) -> list[str]:
    return [call for call in shell.api.calls if call in DEVICES]


@pytest.mark.parametrize("device", [CLASS, "example.com/gpu"])
async def test_devices_of_a_class_are_capacity_of_their_node(cluster: Shell, device: str) -> None:
    """Also those that pods request as an extended resource which no device plugin has."""
    nodes = await Capacity(cluster.cluster, device_claims=lambda: True).nodes_with(device)
    assert nodes is not None
    found = {node.name: node for node in nodes}
    assert (found["node-a"].allocatable, found["node-a"].requested) == ({device: 2}, {device: 1})
    assert device not in found["node-b"].allocatable
    assert read_devices(cluster) == DEVICES


@pytest.mark.parametrize(("device", "claims"), [("nvidia.com/gpu", True), (None, True), (CLASS, False)])
async def test_nothing_more_is_read_if_it_is_not_needed(cluster: Shell, device: str | None, claims: bool) -> None:
    assert await Capacity(cluster.cluster, device_claims=lambda: claims).nodes_with(device) is not None
    assert read_devices(cluster) == []


async def test_one_read_is_shared(cluster: Shell) -> None:
    capacity = Capacity(cluster.cluster, device_claims=lambda: True)
    await capacity.nodes_with(CLASS)
    await capacity.nodes_with("example.com/gpu")
    assert read_devices(cluster) == DEVICES


async def test_without_permission_the_nodes_of_a_class_are_unknown(cluster: Shell) -> None:
    cluster.api.faults.append(lambda call: refusal(403, "no") if call == "list ResourceSlice" else None)
    capacity = Capacity(cluster.cluster, device_claims=lambda: True)
    assert await capacity.nodes_with(CLASS) is None
    assert await capacity.nodes_with("example.com/gpu") is not None


async def test_a_class_that_does_not_exist_has_no_devices(cluster: Shell) -> None:
    nodes = await Capacity(cluster.cluster, device_claims=lambda: True).nodes_with(CLASS + ".other")
    assert nodes is not None and not any(node.devices for node in nodes)


class Item(dict[str, Any]):
    """A dict that can have weak references."""


@pytest.mark.parametrize("kind", [RESOURCE_CLAIM, RESOURCE_SLICE], ids=["claims", "slices"])
async def test_no_more_than_a_page_is_in_memory(cluster: Shell, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Anyone may create claims in a namespace of theirs, each with up to a MiB of whatever; and drivers of devices that
    no service uses publish some thousand slices."""
    read = cluster.cluster.pages
    before: list[weakref.ref[Any]] = []

    async def pages(asked: Kind, *arguments: Any, **named: Any) -> AsyncIterator[tuple[Any, str]]:
        async for page, version in read(asked, *arguments, **named):
            yield page, version
        for number in range(4) if asked is kind else ():
            assert not [each for each in before[:-1] if each() is not None]
            more = a_claim_of(f"gpu-{number}") if kind is RESOURCE_CLAIM else a_slice(f"node-{number}", a_device("x"))
            items = [Item(more)]
            before.append(weakref.ref(items[0]))
            yield items, "1"
            del items, more

    monkeypatch.setattr(cluster.cluster, "pages", pages)
    nodes = await Capacity(cluster.cluster, device_claims=lambda: True).nodes_with(CLASS)
    assert nodes is not None and len(before) == 4
    held = 2 if kind is RESOURCE_CLAIM else 1
    assert {node.name: node.requested for node in nodes}["node-a"] == {CLASS: held}
