"""Devices that drivers publish, as capacity of nodes."""

from typing import Any

from builders.devices import DRIVER, a_claim_of, a_device, a_device_class, a_slice
from builders.nodes import a_plain_node
from llmservice_operator.planner.model.device_inventory import allocated, class_for, devices_of, published, with_devices
from llmservice_operator.planner.model.observed import Device

RESOURCE = f"deviceclass.resource.kubernetes.io/{DRIVER}"
NODES = [a_plain_node("node-a"), a_plain_node("node-b")]


def names(devices: list[Device]) -> set[str]:
    return {f"{device.node}/{device.name}" for device in devices}


def test_devices_are_counted_on_their_nodes_and_allocated_ones_are_taken() -> None:
    slices = [a_slice("node-a", a_device("gpu-0"), a_device("gpu-1")), a_slice("node-b", a_device("gpu-0"))]
    nodes = with_devices(NODES, RESOURCE, published(slices, allocated([a_claim_of("gpu-1", pool="node-a")])))
    assert nodes is not None
    assert [(each.allocatable, each.requested) for each in nodes] == [
        ({RESOURCE: 2}, {RESOURCE: 1}),
        ({RESOURCE: 1}, {RESOURCE: 0}),
    ]


def test_only_the_newest_generation_of_a_pool_counts() -> None:
    old, new = a_slice("node-a", a_device("old")), a_slice("node-a", a_device("new"), generation=2)
    assert names(published([old, new], set())) == names(published([new, old], set())) == {"node-a/new"}


def test_devices_with_a_taint_are_not_for_pods_without_a_toleration() -> None:
    tainted = a_device("bad", taints=[{"key": "unhealthy", "effect": "NoExecute"}])
    noted = a_device("noted", taints=[{"key": "unhealthy", "effect": "None"}])
    assert names(published([a_slice("node-a", tainted, noted)], set())) == {"node-a/noted"}


def test_administrators_and_devices_for_several_claims_take_nothing_away() -> None:
    shared = a_device("shared", allowMultipleAllocations=True)
    claims = [a_claim_of("gpu-0", adminAccess=True), a_claim_of("shared")]
    found = published([a_slice("node-a", a_device("gpu-0"), shared)], allocated(claims))
    assert [device.taken for device in found] == [False, False]


def test_a_device_that_several_nodes_can_use_is_not_counted() -> None:
    assert with_devices(NODES, RESOURCE, published([a_slice(None, a_device("nic"))], set())) is None


def test_a_class_selects_among_the_devices_and_is_found_by_either_name() -> None:
    small, large = a_device("small", memory="24Gi"), a_device("large")
    devices = published([a_slice("node-a", small, large), a_slice("node-b", a_device("x"), driver="other")], set())
    enough = f"device.capacity['{DRIVER}'].memory.compareTo(quantity('40Gi')) >= 0"
    big = a_device_class("big", f"device.driver == '{DRIVER}'", enough, extendedResourceName="nvidia.com/gpu")
    classes = [a_device_class(), big]
    assert class_for("deviceclass.resource.kubernetes.io/big", classes) is big
    assert class_for("nvidia.com/gpu", classes) is big
    assert class_for(RESOURCE, classes) is classes[0]
    assert class_for("big", classes) is None and class_for("amd.com/gpu", classes) is None
    assert names(devices_of(big, devices)) == {"node-a/large"}
    assert names(devices_of(a_device_class("odd", "isNice(device)"), devices)) == {
        "node-a/small",
        "node-a/large",
        "node-b/x",
    }


def test_values_that_are_no_properties_are_left_out() -> None:
    odd: dict[str, Any] = {
        "name": "odd",
        "attributes": {
            "long": {"string": "x" * 300},
            "list": {"strings": ["a"]},
            "none": {},
            "o.org/v": {"version": "1.0.0"},
        },
        "capacity": {"memory": {"value": "lots"}, "cores": {"value": "8"}, "huge": {"value": "9000000E"}},
    }
    (device,) = published([a_slice("node-a", odd), {"metadata": {"name": "empty"}}], set())
    assert device.attributes == {"o.org/v": "1.0.0"} and device.capacity == {f"{DRIVER}/cores": 8}
