"""What is the matter with a service, in one sentence each."""

from typing import Any

from builders.observed import Scene, a_scene
from builders.pods import PodBuilder, a_pod
from builders.services import a_service

Row = tuple[Scene, str, str, str | None, str]
"""What is there; reason, certainty, field; words of message and advice."""
NO_NODE = "0/2 nodes are available: "


def with_pods(*pods: PodBuilder) -> Scene:
    """A service that runs, with these pods."""
    return a_scene(a_service().with_replicas(max(1, len(pods)))).settled().with_pods(*pods)


def refused(said: str) -> Scene:
    """No pod could be made: the API server said this."""
    note = f"create Pod chat-0 in StatefulSet chat failed error: {said}"
    return with_pods().reporting("StatefulSet", "chat", "FailedCreate", note)


def turned_down(said: str, *nodes: Any, **spec: Any) -> Scene:
    """A pod that found no node: the scheduler said this, and these nodes are there."""
    pod = a_pod().asking_for(2, cpu="4", memory="16Gi").with_spec(**spec).unschedulable(NO_NODE + said)
    scene = with_pods(pod)
    return scene.with_nodes(*nodes) if nodes else scene


def not_pulled(said: str, reason: str = "ErrImagePull") -> Scene:
    """An image that could not be pulled: the kubelet said this."""
    return with_pods(a_pod().waiting(reason, said))


def not_mounted(note: str) -> Scene:
    """A volume that could not be mounted: the kubelet reported this."""
    return with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "chat-0", "FailedMount", note)


def killed(code: int = 137, note: str = "", at: float = 2390, **fields: Any) -> Scene:
    """An engine that ended by a signal, and what the kubelet reported shortly before."""
    scene = with_pods(a_pod().ended(code, finishedAt="2026-01-01T12:40:00Z", **fields))
    return scene.reporting("Pod", "chat-0", "Killing", note, at=at) if note else scene


def on(*products: str) -> dict[str, Any]:
    """The part of a pod's spec that asks for one of these products."""
    term = {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": list(products)}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    }
