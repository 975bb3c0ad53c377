"""Devices as drivers publish them: `a_slice("node-a", a_device("gpu-0"))`, `a_claim_of("gpu-0")`."""

from typing import Any

Json = dict[str, Any]
DRIVER = "gpu.example.com"
PRODUCT = "NVIDIA H100 80GB HBM3"


def a_device(name: str, memory: str = "81559Mi", product: str = PRODUCT, **more: Any) -> Json:
    """One device of a slice."""
    attributes = {"type": {"string": "gpu"}, "productName": {"string": product}, "index": {"int": 0}}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def a_slice(node: str | None, *devices: Json, driver: str = DRIVER, generation: int = 1, **spec: Any) -> Json:
    """A ResourceSlice of one node; of all nodes without one."""
    pool = {"name": node or "shared", "generation": generation, "resourceSliceCount": 1}
    place = {"nodeName": node} if node else {"allNodes": True}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-{generation}"},
        "spec": {"driver": driver, "pool": pool, **place, "devices": list(devices), **spec},
    }


def a_claim_of(*devices: str, pool: str = "node-a", driver: str = DRIVER, **more: Any) -> Json:
    """A ResourceClaim that holds these devices."""
    results = [{"request": "devices", "driver": driver, "pool": pool, "device": each, **more} for each in devices]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "-".join(devices), "namespace": "team-b"},
        "status": {"allocation": {"devices": {"results": results}}},
    }


def a_device_class(name: str = DRIVER, *expressions: str, **spec: Any) -> Json:
    """A DeviceClass; without expressions that of the driver's devices."""
    selectors = [{"cel": {"expression": each}} for each in expressions or (f"device.driver == '{DRIVER}'",)]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": selectors, **spec},
    }
