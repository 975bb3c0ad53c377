"""The GPUs that a service's pods may get: the products in its spec, otherwise those of the suitable nodes."""

from collections.abc import Sequence

from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.planner.model.observed import NodeCapacity
from llmservice_operator.resources import devices


def candidates(spec: LLMServiceSpec, nodes: Sequence[NodeCapacity] | None) -> list[GPU] | None:
    """Each GPU once, the one with the least memory first. Empty if no node has a label with its product. None if the
    spec does not name the GPUs and the nodes are not known."""
    if spec.accelerator.type is AcceleratorType.CPU:
        return [GPU("CPU", 0)]
    resource = devices.resource_name(spec.accelerator) or ""
    part = gpus.mig_slice(resource)
    if part is not None:
        return [part]
    found = [gpus.find(product) for product in spec.accelerator.products or ()]
    if found and all(found):
        return _sorted({gpu.name: gpu for gpu in found if gpu is not None})
    if nodes is None:
        return None
    fitting = (node for node in nodes if node.allocatable.get(resource) and _wanted(spec, node))
    return _sorted({gpu.name: gpu for node in fitting if (gpu := of_node(spec, node)) is not None})


def of_node(spec: LLMServiceSpec, node: NodeCapacity) -> GPU | None:
    """The GPU of a node, by its labels; None if they do not name it."""
    product, memory = node.labels.get(devices.product_label(spec.accelerator), ""), node.labels.get(gpus.MEMORY_LABEL)
    if memory is not None and len(memory) < 10 and memory.isdecimal() and 0 < int(memory) < 1 << 24:
        return gpus.of_label(product, int(memory))
    return gpus.find(product)


def _wanted(spec: LLMServiceSpec, node: NodeCapacity) -> bool:
    products = spec.accelerator.products
    if products and node.labels.get(devices.product_label(spec.accelerator)) not in products:
        return False
    selector = spec.scheduling.node_selector or {}
    return all(node.labels.get(key) == value for key, value in selector.items())


def _sorted(found: dict[str, GPU]) -> list[GPU]:
    return sorted(found.values(), key=lambda gpu: (gpu.total, gpu.name))
