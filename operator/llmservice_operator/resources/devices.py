"""The devices of a replica: which extended resource, how many, and the label and taint of their nodes."""

from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.placement import Accelerator
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform


def per_replica(spec: LLMServiceSpec) -> int:
    """Devices (on a CPU: processes) of one replica."""
    return spec.parallelism.tensor * spec.parallelism.pipeline * spec.parallelism.engines


def per_node(spec: LLMServiceSpec) -> int:
    """Devices of each pod of a replica."""
    return per_replica(spec) // spec.parallelism.nodes_per_replica


def resource_name(accelerator: Accelerator) -> str | None:
    """The extended resource of one device; None on a CPU. Devices of a DeviceClass are counted under the name that
    Kubernetes has for them."""
    if accelerator.device_class_name is not None:
        return names.DEVICE_CLASS_RESOURCE + accelerator.device_class_name
    match accelerator.type:
        case AcceleratorType.CPU:
            return None
        case AcceleratorType.NVIDIA:
            return accelerator.resource_name or names.NVIDIA_GPU
        case AcceleratorType.AMD:
            return accelerator.resource_name or names.AMD_GPU


def product_label(accelerator: Accelerator) -> str:
    """The node label that names the product."""
    return names.AMD_PRODUCT_LABEL if accelerator.type is AcceleratorType.AMD else names.NVIDIA_PRODUCT_LABEL


def taint_key(accelerator: Accelerator) -> str | None:
    """The usual taint of nodes with this accelerator; None on a CPU."""
    match accelerator.type:
        case AcceleratorType.CPU:
            return None
        case AcceleratorType.NVIDIA:
            return names.NVIDIA_GPU
        case AcceleratorType.AMD:
            return names.AMD_GPU


def image(accelerator: Accelerator, platform: Platform) -> str:
    """The runtime image for this accelerator."""
    match accelerator.type:
        case AcceleratorType.CPU:
            return platform.runtime_image_cpu
        case AcceleratorType.NVIDIA:
            return platform.runtime_image
        case AcceleratorType.AMD:
            return platform.runtime_image_amd
