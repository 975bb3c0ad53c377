"""What keeps pods from running: reason and message for each cause, as a user reads them."""

from typing import Any

import pytest

from builders.nodes import a_gpu_node, a_plain_node
from builders.observed import Scene, a_scene, condition
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_operator.planner.model.observed import Input

NO_IMAGE = "correct the image name and tag in the chart value runtime.images (and imageRegistry), or push the image"
LAST_LINE = "(likely; else an earlier error in the log)"
SCHEDULER = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."


def scene_with(*pods: PodBuilder, replicas: int | None = None) -> Scene:
    return a_scene(a_service().with_replicas(replicas or len(pods))).settled().with_pods(*pods)


def reported(scene: Scene, kind: str = "Serving") -> tuple[str, str, str]:
    found = condition(scene.plan(), kind)
    return found["status"], found["reason"], found["message"]


CAUSES: dict[str, tuple[PodBuilder, str, str, str]] = {
    "an image that is not there": (
        a_pod().waiting("ErrImagePull", "manifest unknown"),
        "ImageNotFound",
        f"chat-0: image llmservice/runtime:0.3.0 can't be pulled: manifest unknown; {NO_IMAGE}",
        "Stalled",
    ),
    "the same image, a little later": (
        a_pod().waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: manifest unknown'),
        "ImageNotFound",
        f"chat-0: image llmservice/runtime:0.3.0 can't be pulled: manifest unknown; {NO_IMAGE}",
        "Stalled",
    ),
    "a Secret that is missing": (
        a_pod().waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
        "SecretMissing",
        'chat-0: the container can\'t be created: secret "hf-token" not found; create Secret hf-token in this '
        "namespace, or set another one in spec.model.credentialsRef",
        "Stalled",
    ),
    "a crash": (
        a_pod().ended(1, "ValueError: no weights in /models/chat"),
        "Crashed",
        f"chat-0: the engine ended with exit code 1: ValueError: no weights in /models/chat {LAST_LINE}",
        "Stalled",
    ),
    "a crash, while it is started again": (
        a_pod().loading().ended_before(1, "ValueError: no weights in /models/chat"),
        "Crashed",
        f"chat-0: the engine ended with exit code 1: ValueError: no weights in /models/chat {LAST_LINE}",
        "Stalled",
    ),
    "a crash, while the kubelet waits": (
        a_pod().waiting("CrashLoopBackOff", "back-off 5m0s").ended_before(1, "ValueError: no weights in /models/chat"),
        "Crashed",
        f"chat-0: the engine ended with exit code 1: ValueError: no weights in /models/chat {LAST_LINE}",
        "Stalled",
    ),
    "a crash without a word": (
        a_pod().ended(3),
        "Crashed",
        "chat-0: the engine ended with exit code 3 and no termination message (likely; else the cause at the end of "
        "the log); "
        "see `kubectl logs chat-0 --previous`",
        "Stalled",
    ),
    "a stop from outside": (
        a_pod().ended(137),
        "Killed",
        "chat-0: the engine ended with exit code 137: a signal from outside the container stopped it "
        "(likely; else its liveness probe (GET /health) or a lack of memory stopped it); "
        "see `kubectl describe pod chat-0`",
        "Stalled",
    ),
    "too little memory": (
        a_pod().limited_to("16Gi").ended(137, reason="OOMKilled"),
        "OOMKilled",
        "chat-0: the engine used more than its limit of 16Gi host memory; raise spec.resources.memory",
        "Stalled",
    ),
    "too little memory on the node": (
        a_pod().ended(137, reason="OOMKilled"),
        "OOMKilled",
        "chat-0: the engine was killed because its node ran out of memory; request more in spec.resources.memory",
        "Stalled",
    ),
    "loading that never ended": (
        a_pod().ended(137, startedAt="2026-01-01T12:00:00Z", finishedAt="2026-01-01T12:30:03Z"),
        "LoadingTooLong",
        "chat-0: loading took longer than its budget of 30 min and was stopped "
        "(likely; else a signal from outside the container stopped it at that time); "
        "set spec.model.size to the size of the weights for a longer budget",
        "Stalled",
    ),
    "an eviction": (
        a_pod().evicted("The node was low on resource: memory."),
        "EvictedForMemory",
        "chat-0: it failed: Evicted: The node was low on resource: memory. "
        "Set spec.resources.memory to what the engine uses: the kubelet first evicts pods that use "
        "more than they request.",
        "Stalled",
    ),
    "a start": (
        a_pod().waiting("ContainerCreating"),
        "Starting",
        "chat-0: its node is pulling the image and mounting the volumes; if this persists, `kubectl describe pod "
        "chat-0` shows what is missing",
        "Reconciling",
    ),
    "loading": (
        a_pod().loading(since="2026-01-01T12:00:00Z"),
        "Loading",
        "chat-0: it has been loading the model since 2026-01-01T12:00:00Z; it may take at most 30 min",
        "Reconciling",
    ),
    "silence": (
        a_pod().silent(),
        "NotReady",
        "chat-0: it is running and does not answer: containers with unready status: [engine] (likely; else the "
        "network path from its node's kubelet is blocked); see `kubectl logs chat-0`; its liveness probe restarts a "
        "dead engine",
        "Reconciling",
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_each_cause_is_told_in_its_own_words(name: str) -> None:
    pod, reason, message, standing = CAUSES[name]
    scene = scene_with(pod)
    assert reported(scene) == ("False", reason, message)
    made = scene.plan()
    if name != "an eviction":
        assert condition(made, "Ready")["message"] == message
        assert condition(made, standing)["message"] == message
        assert condition(made, "Reconciling" if standing == "Stalled" else "Stalled") == {}


def test_a_crash_loop_writes_its_verdict_once() -> None:
    words = "ValueError: no weights in /models/chat"
    first = scene_with(a_pod().ended(1, words)).settled()
    for state in (a_pod().waiting("CrashLoopBackOff").ended_before(1, words), a_pod().loading().ended_before(1, words)):
        assert first.at(300).with_pods(state).plan().status == first.plan().status


def test_loading_is_told_in_steps_and_looked_at_when_a_step_is_over() -> None:
    scene = scene_with(a_pod().loading(since="2026-01-01T12:00:00Z")).settled()
    first = scene.at(100).plan()
    assert first.status == scene.plan().status
    assert first.requeue_after == 80
    later = scene.at(181).plan()
    assert condition(later, "Serving")["message"].endswith("12:00:00Z, 3 min of at most 30 min")
    assert later.requeue_after == 179
    assert scene.at(359).plan().status == later.status


def test_a_short_budget_is_still_told_in_steps_of_a_minute() -> None:
    scene = a_scene(a_service().with_spec(model={"size": "1Gi"})).settled()
    loading = scene.with_pods(a_pod().loading(since="2026-01-01T12:00:00Z"))
    assert loading.plan().requeue_after == 60


def test_the_gravest_of_several_problems_is_told() -> None:
    scene = scene_with(a_pod("chat-0").loading(), a_pod("chat-1").ended(1, "boom"), a_pod("chat-2").unschedulable())
    assert reported(scene)[1] == "Crashed"
    assert reported(scene, "Scheduled")[1] == "Unschedulable"


def test_a_service_that_answers_with_some_replicas_is_not_stalled() -> None:
    made = scene_with(a_pod("chat-0").ready(), a_pod("chat-1").ended(1, "boom")).plan()
    assert condition(made, "Reconciling")["reason"] == "PartlyReady"
    assert "boom" in condition(made, "Ready")["message"]


def test_the_cause_that_the_runtime_of_0_1_0_found_is_told_without_the_log_after_it() -> None:
    message = (
        "ValueError: the cache does not fit\n\nvLLM ended by itself with exit code 1.\nIts last lines:\n"
        "INFO 11-23 16:02:43 [loader.py:82] loading\nValueError: the cache does not fit\nRuntimeError: see above"
    )
    assert reported(scene_with(a_pod().ended(1, message)))[2] == (
        f"chat-0: the engine ended with exit code 1: ValueError: the cache does not fit {LAST_LINE}"
    )


def test_where_the_runtime_of_0_1_0_found_no_cause_the_end_of_the_log_is_told() -> None:
    message = "vLLM ended by itself with exit code 1.\nIts last lines:\none\ntwo"
    assert reported(scene_with(a_pod().ended(1, message)))[2].endswith(f"exit code 1: one\ntwo {LAST_LINE}")


def test_an_event_is_short_enough_for_the_api_server() -> None:
    scene = scene_with(a_pod().loading()).settled().with_pods(a_pod().ended(1, "ä" * 5000))
    (event,) = scene.plan().events
    assert 700 < len(event.message.encode()) <= 1024


def test_an_engine_between_its_start_and_its_first_readiness_still_loads() -> None:
    started = a_pod().silent(since="2026-01-01T11:59:00Z")
    assert reported(scene_with(started))[1] == "Loading"
    assert reported(scene_with(a_pod().silent(since="2026-01-01T12:10:00Z")))[1] == "NotReady"


def test_long_last_words_keep_their_end() -> None:
    message = reported(scene_with(a_pod().ended(1, "x" * 5000 + "the cause")))[2]
    assert message.endswith(f"the cause {LAST_LINE}")
    assert len(message) < 1000


def test_pods_that_go_count_no_more() -> None:
    scene = a_scene(a_service().with_replicas(1)).settled().with_pods(a_pod().ready().going())
    assert reported(scene)[:2] == ("False", "NotStarted")
    assert scene.plan().status is not None and scene.plan().status["readyReplicas"] == 0  # type: ignore[index]


def test_no_pod_yet_names_where_to_look() -> None:
    status, reason, message = reported(scene_with(a_pod("chat-0").ready(), replicas=3), "Scheduled")
    assert (status, reason) == ("Unknown", "PodsMissing")
    assert message.startswith("1 of 3 pods made; if this persists, `kubectl describe statefulset chat`")


def unschedulable(*pods: PodBuilder) -> Scene:
    asking = [pod.asking_for(2).unschedulable(SCHEDULER) for pod in pods or (a_pod(),)]
    return scene_with(*asking)


def test_the_nodes_are_asked_for_only_where_they_say_more() -> None:
    assert Input.NODES in unschedulable().plan().requires
    assert Input.NODES not in unschedulable().with_nodes().plan().requires
    assert Input.NODES not in scene_with(a_pod()).plan().requires
    assert Input.NODES not in scene_with(a_pod().ready()).plan().requires


def test_without_nodes_the_schedulers_words_stand_alone() -> None:
    assert reported(unschedulable(), "Scheduled") == (
        "False",
        "NoFreeDevices",
        "1 of 1 replica can't be scheduled: a replica needs 2 nvidia.com/gpu on one node; "
        f"the scheduler says: {SCHEDULER} Free devices, or request fewer replicas (spec.replicas) "
        "or fewer devices for each (spec.parallelism).",
    )


def test_no_free_gpu_is_told_with_the_arithmetic() -> None:
    scene = unschedulable().with_nodes(a_gpu_node("gpu-0", 8, used=8), a_gpu_node("gpu-1", 8, used=7), a_plain_node())
    assert (
        "needs 2 nvidia.com/gpu on one node; gpu-1 has 1 of 8 free, gpu-0 has 0 of 8 free; 1 other has none; "
        in (reported(scene, "Scheduled")[2])
    )


OBSTACLES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "the product": (
        {"product": "Tesla-T4"},
        {"affinity": "NVIDIA-H100-80GB-HBM3"},
        "gpu-0 is Tesla-T4, not NVIDIA-H100-80GB-HBM3",
    ),
    "a node that is down": ({"ready": False}, {}, "gpu-0 is not ready"),
    "a cordon": ({"cordoned": True}, {}, "gpu-0 is cordoned"),
    "a label": ({}, {"nodeSelector": {"pool": "inference"}}, "gpu-0 lacks the label pool=inference"),
    "a taint": (
        {"taints": ({"key": "team", "value": "b", "effect": "NoSchedule"},)},
        {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
        "gpu-0 has the taint team=b:NoSchedule",
    ),
    "a tolerated taint": (
        {"taints": ({"key": "nvidia.com/gpu", "effect": "NoSchedule"},), "used": 7},
        {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
        "gpu-0 has 1 of 8 free",
    ),
    "a soft taint": (
        {"taints": ({"key": "team", "value": "b", "effect": "PreferNoSchedule"},), "used": 7},
        {},
        "gpu-0 has 1 of 8 free",
    ),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_each_obstacle_on_a_node_is_named(name: str) -> None:
    node, spec, text = OBSTACLES[name]
    product = spec.get("affinity")
    if product:
        term = {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": [product]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        spec = {"affinity": {"nodeAffinity": required}}
    scene = unschedulable(a_pod().with_spec(**spec)).with_nodes(a_gpu_node("gpu-0", **node))
    assert f"; {text}; the scheduler says" in reported(scene, "Scheduled")[2]


def test_many_nodes_are_counted() -> None:
    scene = unschedulable().with_nodes(*(a_gpu_node(f"gpu-{n:02}", 8, used=8) for n in range(17)))
    message = reported(scene, "Scheduled")[2]
    assert "gpu-04 has 0 of 8 free and 12 more;" in message
    assert "gpu-05" not in message


def test_a_cluster_without_the_resource_is_told() -> None:
    message = reported(unschedulable().with_nodes(a_plain_node(), a_plain_node("cpu-1")), "Scheduled")[2]
    assert "none of the 2 nodes has nvidia.com/gpu; is its device plugin running?" in message


def test_host_resources_that_are_short_are_told_instead_of_devices() -> None:
    said = "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/2 nodes are available."
    pod = a_pod().asking_for(2, cpu="16", memory="64Gi").unschedulable(said)
    message = reported(scene_with(pod).with_nodes(a_gpu_node("gpu-0", 8)), "Scheduled")[2]
    assert "requests 16 of cpu (spec.resources.cpu) and 64Gi of memory (spec.resources.memory)" in message
    assert "free" not in message, "devices are not what is short"


def test_devices_that_are_short_too_are_told_first() -> None:
    pod = (
        a_pod()
        .asking_for(2)
        .unschedulable("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu.")
    )
    message = reported(scene_with(pod).with_nodes(a_gpu_node("gpu-0", 8, used=7)), "Scheduled")[2]
    assert "gpu-0 has 1 of 8 free" in message


def test_while_no_node_is_found_the_nodes_are_looked_at_again() -> None:
    requeue_after = unschedulable().with_nodes().plan().requeue_after
    assert requeue_after is not None and requeue_after <= 30
    assert scene_with(a_pod().ready()).plan().requeue_after is None


def test_a_claim_that_is_missing_is_told() -> None:
    pod = a_pod().unschedulable('0/1 nodes are available: persistentvolumeclaim "models" not found.')
    assert reported(scene_with(pod), "Scheduled") == (
        "False",
        "ClaimMissing",
        "PersistentVolumeClaim models does not exist in namespace team-a; create it, or correct spec.model.source",
    )
    assert condition(scene_with(pod).plan(), "Stalled")["reason"] == "ClaimMissing"


def test_a_claim_without_a_volume_is_told() -> None:
    pod = a_pod().with_spec(volumes=[{"name": "model", "persistentVolumeClaim": {"claimName": "models"}}])
    scene = scene_with(pod.unschedulable("pod has unbound immediate PersistentVolumeClaims"))
    assert reported(scene, "Scheduled")[1] == "ClaimUnbound"
    assert "models" in reported(scene, "Scheduled")[2]


def test_an_unscheduled_pod_is_reconciling_because_nodes_may_come() -> None:
    made = unschedulable().plan()
    assert condition(made, "Reconciling")["reason"] == "NoFreeDevices"
    assert condition(made, "Stalled") == {}


def test_a_pod_that_the_scheduler_has_not_seen_is_unknown() -> None:
    assert reported(scene_with(a_pod()), "Scheduled")[:2] == ("Unknown", "AwaitingScheduler")
    assert reported(scene_with(a_pod().gated()), "Scheduled")[:2] == ("False", "SchedulingGated")
