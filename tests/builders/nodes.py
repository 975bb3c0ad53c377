"""Nodes for tests, as a plan sees them: `a_gpu_node("gpu-0", 8, used=7)`."""

from typing import Any

from llmservice_operator.planner.model.observed import NodeCapacity
from llmservice_operator.resources import names

H100 = "NVIDIA-H100-80GB-HBM3"


def a_gpu_node(
    name: str = "gpu-0",
    gpus: int = 8,
    *,
    used: int = 0,
    product: str = H100,
    resource: str = names.NVIDIA_GPU,
    labels: dict[str, str] | None = None,
    taints: tuple[dict[str, Any], ...] = (),
    ready: bool = True,
    cordoned: bool = False,
) -> NodeCapacity:
    """A node with GPUs, of which some are asked for already."""
    return NodeCapacity(
        name=name,
        labels={names.NVIDIA_PRODUCT_LABEL: product, **(labels or {})},
        taints=taints,
        ready=ready,
        unschedulable=cordoned,
        allocatable={resource: gpus},
        requested={resource: used},
    )


def a_plain_node(name: str = "cpu-0") -> NodeCapacity:
    """A node without a GPU."""
    return NodeCapacity(name, labels={}, taints=(), ready=True, unschedulable=False, allocatable={}, requested={})
