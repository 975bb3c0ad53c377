"""How engines end and fall silent, how pods are given up, and what is wrong with the spec."""

from builders.causes.scenes import Row, killed, with_pods
from builders.observed import a_scene
from builders.pods import a_pod
from builders.services import a_service

KUBELET = "2026-01-01T12:00:00Z"

ENGINES: dict[str, Row] = {
    # ends
    "a kill for memory": (
        with_pods(a_pod().limited_to("16Gi").ended(137, reason="OOMKilled")),
        "OOMKilled",
        "Certain",
        "spec.resources.memory",
        "limit of 16Gi",
    ),
    "a kill by the startup probe": (
        killed(note="Container engine failed startup probe, will be restarted"),
        "LoadingTooLong",
        "Certain",
        "spec.model.size",
        "budget of 30 min",
    ),
    "an end after the whole budget": (
        killed(startedAt="2026-01-01T12:09:58Z"),
        "LoadingTooLong",
        "Likely",
        "spec.model.size",
        "at that time",
    ),
    "a kill by the liveness probe": (
        killed(note="Container engine failed liveness probe, will be restarted"),
        "Unresponsive",
        "Certain",
        None,
        "/health",
    ),
    "a kill from outside": (killed(startedAt="2026-01-01T12:39:00Z"), "Killed", "Likely", None, "lack of memory"),
    "a kill long after one by a probe": (
        killed(note="Container engine failed liveness probe, will be restarted", at=300),
        "Killed",
        "Likely",
        None,
        "a signal from outside the container stopped it",
    ),
    "an end that the node has forgotten": (
        with_pods(a_pod().waiting("CrashLoopBackOff", "back-off 5m0s")),
        "Crashed",
        "Likely",
        None,
        "CrashLoopBackOff",
    ),
    # pods that are given up
    "an eviction for disk": (
        with_pods(a_pod().evicted("Pod ephemeral local storage usage exceeds the total limit of containers 20Mi.")),
        "EvictedForStorage",
        "Certain",
        "spec.cache.size",
        "limit of containers 20Mi",
    ),
    "an eviction for memory": (
        with_pods(a_pod().evicted("The node was low on resource: memory.")),
        "EvictedForMemory",
        "Certain",
        "spec.resources.memory",
        "low on resource: memory",
    ),
    "an eviction of the pod before": (
        with_pods(a_pod().loading().made_at(KUBELET)).reporting(
            "Pod", "chat-0", "Evicted", "Usage of EmptyDir volume cache exceeds the limit 1Gi", at=-5, uid="before"
        ),
        "EvictedForStorage",
        "Certain",
        "spec.cache.size",
        "the previous pod was terminated",
    ),
    "another that took the place": (
        with_pods(a_pod().loading().made_at(KUBELET)).reporting(
            "Pod", "chat-0", "Preempted", "Preempted by pod 7 on node gpu-0", at=-1, uid="before"
        ),
        "Preempted",
        "Certain",
        "spec.scheduling.priorityClassName",
        "Preempted by pod 7",
    ),
    # engines that run
    "a lost node": (
        with_pods(a_pod().silent().with_spec(nodeName="gpu-0")).with_unready(3, gpu_0=500).at(530),
        "NodeLost",
        "Certain",
        None,
        "has not been Ready since 2026-01-01T12:08:20Z",
    ),
    "silence": (
        with_pods(a_pod().silent())
        .reporting("Pod", "chat-0", "Unhealthy", "Startup probe failed: connection refused", at=0)
        .reporting("Pod", "chat-0", "Unhealthy", "Readiness probe failed: timed out", at=640)
        .reporting("Pod", "chat-0", "Unhealthy", "Readiness probe failed: HTTP 503", at=620),
        "NotReady",
        "Likely",
        None,
        "HTTP 503",
    ),
    # the spec
    "heads": (
        a_scene(
            a_service()
            .spread_over(3)
            .with_status({"observedGeneration": 1, "model": {"source": "pvc://models/chat", "attentionHeads": 4}})
        ),
        "HeadsNotDivisible",
        "Certain",
        "spec.parallelism.tensor",
        "Use 1, 2 or 4.",
    ),
}
