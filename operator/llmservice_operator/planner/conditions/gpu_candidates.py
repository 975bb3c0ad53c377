"""The GPUs that a service's pods may get: the products in its spec, otherwise those of the suitable nodes."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence

from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.planner.model import device_selectors
from llmservice_operator.planner.model.observed import Device, NodeCapacity
from llmservice_operator.resources import devices

MOST_DEVICES = 4096
"""Maximum number of published devices that one check considers."""
_OF_GPU = ("productName", "profile", "type", "cudaComputeCapability")
"""Attributes that drivers of GPUs publish, by which a GPU is known."""
_LARGEST_MEMORY = 1 << 44
_CAPABILITY = re.compile(r"[0-9]{1,2}\.[0-9]")


def candidates(spec: LLMServiceSpec, nodes: Sequence[NodeCapacity] | None) -> list[GPU] | None:
    """Each GPU once, the one with the least memory first. Empty if no node has a label with its product. None if the
    spec does not name the GPUs and the nodes are not known."""
    if spec.accelerator.type is AcceleratorType.CPU:
        return [GPU("CPU", 0)]
    resource = devices.resource_name(spec.accelerator) or ""
    if spec.accelerator.device_class_name is not None and not spec.accelerator.products:
        return None if nodes is None else _published(spec, nodes)
    part = gpus.mig_slice(resource)
    if part is not None:
        fitting = [node for node in nodes or () if node.allocatable.get(resource) and _wanted(spec, node)]
        return _sorted(_shared(_slice(part, resource, node), resource, node) for node in fitting) or [part]
    found = [gpus.find(product) for product in spec.accelerator.products or ()]
    if found and all(found):
        return _sorted(gpu for gpu in found if gpu is not None)
    if nodes is None:
        return None
    fitting = [node for node in nodes if node.allocatable.get(resource) and _wanted(spec, node)]
    return _sorted(_shared(gpu, resource, node) for node in fitting if (gpu := of_node(spec, node)) is not None)


def _published(spec: LLMServiceSpec, nodes: Sequence[NodeCapacity]) -> list[GPU]:
    """The GPUs of the DeviceClass of which a driver publishes the memory, and whose selectors are not known to exclude
    them."""
    selectors = spec.accelerator.device_selectors or ()
    found: dict[tuple[object, ...], GPU | None] = {}
    devices_ = (device for node in nodes if _wanted(spec, node) for device in node.devices)
    for device in itertools.islice(devices_, MOST_DEVICES):
        kind = (
            device.driver,
            *(device.attributes.get(f"{device.driver}/{name}") for name in _OF_GPU),
            *device.capacity.items(),
        )
        if kind not in found and device_selectors.matches(device, selectors) is not False:
            found[kind] = of_device(device)
    return _sorted(gpu for gpu in found.values() if gpu is not None)


def of_device(device: Device) -> GPU | None:
    """The GPU of a published device, by the properties that drivers of GPUs publish; None if it has no memory."""

    def text(name: str) -> str:
        value = device.attributes.get(f"{device.driver}/{name}")
        return value if isinstance(value, str) else ""

    memory = device.capacity.get(f"{device.driver}/memory")
    if not memory or memory > _LARGEST_MEMORY:
        return None
    product, profile, capability = text("productName"), text("profile"), text("cudaComputeCapability")
    is_slice = text("type") == "mig" or bool(profile)
    name = "-".join(part for part in (product.replace(" ", "-"), "MIG" if is_slice else "", profile) if part)
    gpu = gpus.of_label(name or f"a device of {device.driver}", memory >> 20)
    found = _CAPABILITY.match(capability)
    return dataclasses.replace(
        gpu, is_slice=gpu.is_slice or is_slice, capability=gpu.capability or (float(found[0]) if found else None)
    )


def of_node(spec: LLMServiceSpec, node: NodeCapacity) -> GPU | None:
    """The GPU of a node, by its labels; None if they do not name it."""
    product = node.labels.get(devices.product_label(spec.accelerator), "")
    memory = _mebibytes(node.labels.get(gpus.MEMORY_LABEL))
    return gpus.of_label(product, memory) if memory is not None else gpus.find(product)


def _slice(part: GPU, resource: str, node: NodeCapacity) -> GPU:
    """The slice as the node's labels for its resource say; ``part``, which its name says, without them."""
    name = gpus.unshared_resource(resource)
    product, memory = node.labels.get(f"{name}.product", ""), _mebibytes(node.labels.get(f"{name}.memory"))
    found = gpus.of_label(product, memory) if product and memory else None
    return dataclasses.replace(found or part, is_slice=True)


def _mebibytes(label: str | None) -> int | None:
    sound = label is not None and len(label) < 10 and label.isdecimal() and 0 < int(label) < 1 << 24
    return int(label or 0) if sound else None


def _shared(gpu: GPU, resource: str, node: NodeCapacity) -> GPU:
    """The GPU as the labels of GPU feature discovery for the resource say that pods share it."""
    name = gpus.unshared_resource(resource)
    replicas, strategy = node.labels.get(f"{name}.replicas", ""), node.labels.get(f"{name}.sharing-strategy", "")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", replicas):
        return gpu
    return gpus.shared(gpu, int(replicas) if strategy != "none" else 1, strategy)


def _wanted(spec: LLMServiceSpec, node: NodeCapacity) -> bool:
    products = spec.accelerator.products
    if products and node.labels.get(devices.product_label(spec.accelerator)) not in products:
        return False
    selector = spec.scheduling.node_selector or {}
    return all(node.labels.get(key) == value for key, value in selector.items())


def _sorted(found: Iterable[GPU]) -> list[GPU]:
    """Each GPU once: those with the same name and the same number of pods that share them are equal."""
    different = {(gpu.name, gpu.replicas): gpu for gpu in found}
    return sorted(different.values(), key=lambda gpu: (gpu.total, -gpu.replicas, gpu.name))
