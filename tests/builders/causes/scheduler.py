"""What the scheduler finds in the way."""

from builders.causes.scenes import Row, on, turned_down
from builders.nodes import H100, a_gpu_node, a_plain_node

TAINT = {"key": "team", "value": "b", "effect": "NoSchedule"}

SCHEDULER: dict[str, Row] = {
    "GPUs are taken": (
        turned_down("2 Insufficient nvidia.com/gpu.", a_gpu_node(used=7), a_plain_node()),
        "NoFreeDevices",
        "Certain",
        "spec.replicas",
        "has 1 of 8 free",
    ),
    "GPUs are taken, and nodes can not be read": (
        turned_down("2 Insufficient nvidia.com/gpu."),
        "NoFreeDevices",
        "Certain",
        "spec.replicas",
        "needs 2 nvidia.com/gpu",
    ),
    "no node has GPUs": (
        turned_down("2 Insufficient nvidia.com/gpu.", a_plain_node()),
        "NoSuchDevice",
        "Certain",
        "spec.accelerator.resourceName",
        "device plugin",
    ),
    "nodes are too small": (
        turned_down("2 Insufficient nvidia.com/gpu.", a_gpu_node("gpu-0", 1), a_gpu_node("gpu-1", 1)),
        "NodesTooSmall",
        "Certain",
        "spec.parallelism.tensor",
        "nodesPerReplica",
    ),
    "host memory": (
        turned_down("2 Insufficient memory.", a_gpu_node()),
        "NoFreeHostResources",
        "Certain",
        "spec.resources.memory",
        "16Gi of memory",
    ),
    "a taint": (
        turned_down(
            "2 node(s) had untolerated taint {team: b}.", a_gpu_node(taints=(TAINT,)), a_gpu_node(taints=(TAINT,))
        ),
        "NodesTainted",
        "Certain",
        "spec.scheduling.tolerations",
        "{key: team, value: b, effect: NoSchedule}",
    ),
    "a taint, seen by the scheduler alone": (
        turned_down("2 node(s) had untolerated taint(s)."),
        "NodesTainted",
        "Certain",
        "spec.scheduling.tolerations",
        "olerate it with",
    ),
    "another product": (
        turned_down("2 node(s) didn't match Pod's node affinity/selector.", a_gpu_node(), **on("Tesla-T4")),
        "NoMatchingNodes",
        "Certain",
        "spec.accelerator.products",
        f"there are {H100}",
    ),
    "another label": (
        turned_down("2 node(s) didn't match Pod's node affinity/selector.", a_gpu_node(), nodeSelector={"pool": "a"}),
        "NoMatchingNodes",
        "Certain",
        "spec.scheduling.nodeSelector",
        "lacks the label pool=a",
    ),
    "a tainted node of another product": (
        turned_down("2 node(s) had untolerated taint {team: b}.", a_gpu_node(taints=(TAINT,)), **on("Tesla-T4")),
        "NoMatchingNodes",
        "Certain",
        "spec.accelerator.products",
        "Tesla-T4",
    ),
    "a full node counts before one that is tainted": (
        turned_down(
            "1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {team: b}.",
            a_gpu_node("gpu-0", used=8),
            a_gpu_node("gpu-1", taints=(TAINT,)),
        ),
        "NoFreeDevices",
        "Certain",
        "spec.replicas",
        "gpu-1 has the taint team=b:NoSchedule",
    ),
    "a cordon": (
        turned_down("2 node(s) were unschedulable.", a_gpu_node(cordoned=True)),
        "NodesUnavailable",
        "Certain",
        None,
        "is cordoned",
    ),
    "a node that is down beside one for others": (
        turned_down(
            "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, "
            "1 node(s) had untolerated taint {team: b}.",
            a_gpu_node(
                "gpu-0", ready=False, taints=({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},)
            ),
            a_gpu_node("gpu-1", taints=(TAINT,)),
        ),
        "NodesUnavailable",
        "Certain",
        None,
        "gpu-0 is not ready",
    ),
    "something else": (
        turned_down("2 node(s) didn't satisfy plugin(s) [Coscheduling].", a_gpu_node()),
        "Unschedulable",
        "Likely",
        None,
        "Coscheduling",
    ),
}
