"""What is the matter, as status.findings lists it: reason, how sure, field and advice, for each cause in a cluster."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.nodes import H100, a_gpu_node, a_plain_node
from builders.observed import Scene, a_scene, condition, findings
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis
from llmservice_operator.core import reasons
from llmservice_operator.core.finding import Finding, kept, of_message, read_back

QUOTA = 'pods "chat-0" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: '
TAINT = {"key": "team", "value": "b", "effect": "NoSchedule"}
NO_NODE = "0/2 nodes are available: "
KUBELET = "2026-01-01T12:00:00Z"


def with_pods(*pods: PodBuilder) -> Scene:
    return a_scene(a_service().with_replicas(max(1, len(pods)))).settled().with_pods(*pods)


def refused(said: str) -> Scene:
    note = f"create Pod chat-0 in StatefulSet chat failed error: {said}"
    return with_pods().reporting("StatefulSet", "chat", "FailedCreate", note)


def turned_down(said: str, *nodes: Any, **spec: Any) -> Scene:
    pod = a_pod().asking_for(2, cpu="4", memory="16Gi").with_spec(**spec).unschedulable(NO_NODE + said)
    scene = with_pods(pod)
    return scene.with_nodes(*nodes) if nodes else scene


def not_pulled(said: str, reason: str = "ErrImagePull") -> Scene:
    return with_pods(a_pod().waiting(reason, said))


def not_mounted(note: str) -> Scene:
    return with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "chat-0", "FailedMount", note)


def killed(code: int = 137, note: str = "", at: float = 2390, **fields: Any) -> Scene:
    scene = with_pods(a_pod().ended(code, finishedAt="2026-01-01T12:40:00Z", **fields))
    return scene.reporting("Pod", "chat-0", "Killing", note, at=at) if note else scene


def on(*products: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": list(products)}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    }


Row = tuple[Scene, str, str, str | None, str]
"""What is there; reason, certainty, field; words of message and advice."""

TABLE: dict[str, Row] = {
    # the scheduler
    "GPUs are taken": (
        turned_down("2 Insufficient nvidia.com/gpu.", a_gpu_node(used=7), a_plain_node()),
        "NoFreeDevices",
        "Certain",
        "spec.replicas",
        "has 1 of 8 free",
    ),
    "GPUs are taken, and nobody may look at nodes": (
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
        "olerate it by",
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
    # who admits pods
    "a quota": (
        refused(QUOTA + "requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"),
        "QuotaExceeded",
        "Certain",
        "spec.replicas",
        "asked for requests.nvidia.com/gpu=2, used requests.nvidia.com/gpu=4, limited to requests.nvidia.com/gpu=4",
    ),
    "a quota that wants more said": (
        refused('pods "chat-0" is forbidden: failed quota: q: must specify limits.cpu for: engine'),
        "QuotaExceeded",
        "Certain",
        "spec.resources",
        "limits.cpu for: engine",
    ),
    "a limit range": (
        refused('pods "chat-0" is forbidden: maximum memory usage per Container is 4Gi, but limit is 16Gi'),
        "LimitExceeded",
        "Certain",
        "spec.resources.memory",
        "4Gi, but limit is 16Gi",
    ),
    "several limits": (
        refused(
            'pods "chat-0" is forbidden: [maximum cpu usage per Pod is 2, but limit is 4, maximum memory usage per Pod '
            "is 1Gi, but limit is 2Gi]"
        ),
        "LimitExceeded",
        "Certain",
        "spec.resources.cpu",
        "usage per Pod is 2",
    ),
    "pod security": (
        refused('pods "chat-0" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'),
        "PodSecurityDenied",
        "Certain",
        None,
        "restricted:latest",
    ),
    "a webhook": (
        refused('admission webhook "policy.example.com" denied the request: no cost centre'),
        "AdmissionDenied",
        "Certain",
        None,
        "policy.example.com refuses it: no cost centre",
    ),
    "a webhook that is gone": (
        refused('Internal error occurred: failed calling webhook "policy.example.com": no endpoints available'),
        "AdmissionUnavailable",
        "Certain",
        None,
        "no endpoints available",
    ),
    "a policy": (
        refused("pods \"chat-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
        "AdmissionDenied",
        "Certain",
        None,
        "policy p refuses it: no",
    ),
    "a class of priority that is missing": (
        refused('pods "chat-0" is forbidden: no PriorityClass with name gold was found'),
        "PriorityClassMissing",
        "Certain",
        "spec.scheduling.priorityClassName",
        "gold",
    ),
    "what nobody knows": (refused("teapot"), "PodsRefused", "Certain", None, "teapot"),
    # volumes
    "a claim that is missing": (
        with_pods(a_pod().claiming("m").unschedulable('persistentvolumeclaim "m" not found')),
        "ClaimMissing",
        "Certain",
        "spec.model.source",
        "m is not in namespace team-a",
    ),
    "a claim of a class that is missing": (
        with_pods(a_pod().claiming("m").unschedulable("pod has unbound immediate PersistentVolumeClaims")).reporting(
            "PersistentVolumeClaim", "m", "ProvisioningFailed", 'storageclass "fast" not found'
        ),
        "ClaimUnbound",
        "Certain",
        None,
        'm: storageclass "fast" not found',
    ),
    "a volume elsewhere": (
        with_pods(a_pod().claiming("m").unschedulable("1 node(s) had volume node affinity conflict")),
        "VolumeElsewhere",
        "Certain",
        "spec.scheduling.nodeSelector",
        "can't be mounted on a node that has room",
    ),
    "a volume that can't be mounted": (
        not_mounted('MountVolume.SetUp failed for volume "m" : mount failed: exit status 32'),
        "VolumeMountFailed",
        "Certain",
        None,
        "exit status 32",
    ),
    "no network": (
        with_pods(a_pod().waiting("ContainerCreating")).reporting(
            "Pod", "chat-0", "FailedCreatePodSandBox", "plugin type bridge failed"
        ),
        "SandboxFailed",
        "Certain",
        None,
        "plugin type bridge failed",
    ),
    # images
    "an image that is not there": (
        not_pulled('failed to resolve reference "r/x:1": r/x:1: not found'),
        "ImageNotFound",
        "Certain",
        None,
        "runtime.images",
    ),
    "an image for a login": (
        not_pulled("failed to authorize: unexpected status: 401 Unauthorized"),
        "ImageDenied",
        "Certain",
        None,
        "runtime.pullSecrets",
    ),
    "an image that is not there, or for a login": (
        not_pulled("pull access denied, repository does not exist or may require authorization"),
        "ImageDenied",
        "Likely",
        None,
        "the registry has no image of that name",
    ),
    "an image for another processor": (
        not_pulled("failed to unpack image: no match for platform in manifest sha256:0: not found"),
        "ImageWrongPlatform",
        "Certain",
        None,
        "kubernetes.io/arch",
    ),
    "programs for another processor": (
        with_pods(a_pod().ended(255, "exec /opt/python: exec format error")),
        "ImageWrongPlatform",
        "Certain",
        None,
        "exec format error",
    ),
    "a registry that is down": (
        not_pulled("dial tcp 10.0.0.1:443: connect: connection refused", "ImagePullBackOff"),
        "RegistryUnreachable",
        "Certain",
        None,
        "connection refused",
    ),
    "a name that is none": (
        not_pulled("couldn't parse image name", "InvalidImageName"),
        "ImageNameInvalid",
        "Certain",
        None,
        "runtime.images",
    ),
    "an image that was never brought": (
        not_pulled('image "x" is not present with pull policy of Never', "ErrImageNeverPull"),
        "ImageNeverPulled",
        "Certain",
        None,
        "runtime.pullPolicy",
    ),
    "a node's full disk": (
        not_pulled("write /var/lib/containerd: no space left on device"),
        "NodeDiskFull",
        "Certain",
        None,
        "no space left",
    ),
    "an image that can't be pulled for another reason": (not_pulled("teapot"), "ImagePull", "Certain", None, "teapot"),
    # Secrets
    "a Secret that is missing": (
        with_pods(a_pod().waiting("CreateContainerConfigError", 'secret "hf-token" not found')),
        "SecretMissing",
        "Certain",
        "spec.model.credentialsRef",
        "Make the Secret hf-token",
    ),
    "a key that is missing": (
        with_pods(
            a_pod().waiting("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret team-a/hf-token")
        ),
        "SecretKeyMissing",
        "Certain",
        "spec.model.credentialsRef",
        "Put the key HF_TOKEN into the Secret hf-token",
    ),
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
        "just then",
    ),
    "a kill by the liveness probe": (
        killed(note="Container engine failed liveness probe, will be restarted"),
        "Unresponsive",
        "Certain",
        None,
        "/health",
    ),
    "a kill by somebody": (killed(startedAt="2026-01-01T12:39:00Z"), "Killed", "Likely", None, "lack of memory"),
    "a kill long after one by a probe": (
        killed(note="Container engine failed liveness probe, will be restarted", at=300),
        "Killed",
        "Likely",
        None,
        "stopped from outside",
    ),
    "an end that the node has forgotten": (
        with_pods(a_pod().waiting("CrashLoopBackOff", "back-off 5m0s")),
        "Crashed",
        "Likely",
        None,
        "again and again",
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
        "the pod before it was given up",
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
        "has not answered since 2026-01-01T12:08:20Z",
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


def first(scene: Scene) -> dict[str, Any]:
    return findings(scene.plan())[0]


@pytest.mark.parametrize("name", TABLE)
def test_each_cause_has_its_reason_certainty_field_and_advice(name: str) -> None:
    scene, reason, certainty, field, words = TABLE[name]
    found = first(scene)
    assert (found["reason"], found["certainty"], found.get("field")) == (reason, certainty, field), found
    assert words in f"{found['message']} {found.get('fix', '')}", found
    assert found.get("fix") or reason == "HeadsNotDivisible", found
    assert certainty == "Certain" or "ikely; else" in found["message"]


@pytest.mark.parametrize("name", TABLE)
def test_conditions_say_the_same(name: str) -> None:
    scene, reason, _, _, words = TABLE[name]
    made = scene.plan()
    ready = condition(made, "Ready")
    evicted = scene.pods and scene.pods[0]["status"].get("phase") == "Failed"
    kind = "Serving" if evicted else "Ready"  # one that was evicted has no node
    assert (ready["status"], condition(made, kind)["reason"]) == ("False", reason)
    told = condition(made, kind)["message"].lower()
    assert words.lower().removesuffix(".") in told, told


@pytest.mark.parametrize("name", TABLE)
def test_what_is_told_is_told_once(name: str) -> None:
    """A look at the same things again, a while later, changes no word."""
    scene = TABLE[name][0]
    told = dataclasses.replace(scene, service={**scene.service, "status": scene.plan().status})
    assert told.plan().status == scene.plan().status
    later = dataclasses.replace(told, seconds=told.seconds + 7).plan()
    assert later.status == scene.plan().status
    assert not later.events


ROUTINE: dict[str, Scene] = {
    "a new one": a_scene(),
    "pods on their way": with_pods(a_pod()),
    "an image on its way": with_pods(a_pod().waiting("ContainerCreating")),
    "loading": with_pods(a_pod().loading()),
    "ready": with_pods(a_pod().ready()).settled(),
    "none asked for": a_scene(a_service().with_replicas(0)).settled(),
}


@pytest.mark.parametrize("name", ROUTINE)
def test_what_passes_by_itself_is_no_finding(name: str) -> None:
    assert findings(ROUTINE[name].plan()) == []


def ended(number: int, cause: causes.Cause = causes.DISK_FULL, message: str = "A volume is full.") -> PodBuilder:
    words = Diagnosis(cause.name, message, "spec.x", "Do this.", exitCode=cause.exit_code).to_json()
    return a_pod(f"chat-{number}").ended(cause.exit_code, words)


def test_equal_findings_of_several_pods_are_one() -> None:
    made = with_pods(ended(0), a_pod("chat-1").ready(), ended(2), ended(3)).plan()
    (found,) = findings(made)
    assert found["message"] == "3 of 4 pods: the engine ended with exit code 106 (DiskFull): A volume is full."
    assert (found["field"], found["fix"]) == ("spec.x", "Do this.")


def test_the_gravest_comes_first_and_there_are_eight_at_most() -> None:
    pods = [a_pod("chat-0").silent(), *(ended(number, message=f"It says {number}.") for number in range(1, 12))]
    found = findings(with_pods(*pods).plan())
    assert len(found) == 8
    assert {each["reason"] for each in found} == {"DiskFull"}
    assert [each["reason"] for each in findings(with_pods(*pods[:2]).plan())] == ["DiskFull", "NotReady"]


def test_a_service_that_is_ready_tells_what_keeps_it_from_being_scaled() -> None:
    pods = a_pod().ready()
    scene = a_scene(a_service().with_replicas(1).scaled()).settled().with_pods(pods).settled()
    (found,) = findings(scene.plan())
    assert (found["reason"], found["certainty"]) == ("NoAdapter", "Certain")


def test_an_event_of_before_the_newest_pod_is_no_news() -> None:
    scene = refused("teapot").with_pods(a_pod().ready().made_at("2026-01-01T12:00:05Z"))
    more = dataclasses.replace(scene, service={**scene.service, "spec": {**scene.service["spec"], "replicas": 2}})
    assert [each["reason"] for each in findings(more.at(10).plan())] == []
    assert condition(more.at(10).plan(), "Scheduled")["reason"] == "PodsMissing"


@pytest.mark.parametrize(
    "scene",
    [
        not_mounted("MountVolume.SetUp failed: failed to sync configmap cache: timed out waiting for the condition"),
        not_mounted("it failed").at(700),
        not_mounted("it failed").with_pods(a_pod().waiting("ContainerCreating").mounted()),
        with_pods(a_pod().loading()).reporting("Pod", "chat-0", "FailedMount", "it failed"),
        with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "chat-0", "FailedMount", "no", uid="other"),
    ],
    ids=["a slow cache", "long ago", "mounted by now", "running", "of a pod before"],
)
def test_what_failed_once_and_went_well_then_is_not_told(scene: Scene) -> None:
    assert findings(scene.plan()) == []


def test_events_are_asked_for_where_they_say_more_and_looked_at_again() -> None:
    asking: list[Callable[[], Scene]] = [
        lambda: with_pods(),
        lambda: with_pods(a_pod().waiting("ContainerCreating")),
        lambda: with_pods(a_pod().claiming("m").unschedulable("pod has unbound immediate PersistentVolumeClaims")),
    ]
    for make in asking:
        made = make().plan()
        assert made.needs_events and made.requeue_after is not None and made.requeue_after <= 20
    for pod in (a_pod(), a_pod().ready(), a_pod().waiting("ErrImagePull", "x"), a_pod().ended(3, "boom")):
        assert not with_pods(pod).plan().needs_events
    assert with_pods(a_pod().ended(137)).plan().needs_events
    assert not with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "x", "y", "z").plan().needs_events


TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=60).map(str.strip)


@given(TEXT.filter(lambda text: ": " not in text), TEXT.filter(bool), st.booleans(), TEXT.filter(bool))
def test_a_finding_is_read_back_as_it_was_told(pod: str, what: str, sure: bool, fix: str) -> None:
    finding = Finding("X", what, pod or "chat-0", "" if sure else "it is (not) so", "spec.a", fix)
    again = read_back(finding.told())
    assert again.told() == finding.told()
    assert (again.what, again.otherwise) == (finding.what, finding.otherwise)
    of_none = dataclasses.replace(finding, subject="")
    assert kept(of_none.told()).told() == of_none.told()


def test_a_message_tells_its_field_and_its_doubt() -> None:
    found = of_message("X", "it failed: chat-0: no words (likely; else (a) or b); set spec.model.size; went back")
    assert (found.field, found.otherwise) == ("spec.model.size", "(a) or b")
    assert found.what == "it failed: chat-0: no words; set spec.model.size; went back"


def test_reasons_are_words() -> None:
    found = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    assert len(found) == len(set(found))
    assert all(reason.isalnum() and reason[0].isupper() for reason in found)
