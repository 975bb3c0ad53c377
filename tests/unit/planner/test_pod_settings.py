"""What a service may add to its pods: the platform's lists, and keys that no service may set."""

import itertools
from typing import Any

import pytest

from builders.observed import Scene, a_scene
from builders.services import a_service
from llmservice_operator.api.model import Model
from llmservice_operator.api.pod import Pod
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.pod_allowlist import AllowedPod, denied, image_allowed, is_reserved

Json = dict[str, Any]
DIGEST = "sha256:" + "a" * 64


def scene(pod: Json, allowed: AllowedPod = AllowedPod()) -> Scene:  # noqa: B008
    return a_scene(a_service().with_replicas(1).with_spec(pod=pod)).on(Platform(allowed_pod=allowed))


def accepted(made: Plan) -> Json:
    assert made.status is not None
    (found,) = (each for each in made.status["conditions"] if each["type"] == "Accepted")
    return dict(found)


DENIED: dict[str, tuple[Json, str, str]] = {
    "a cost centre": ({"labels": {"cost-center": "42"}}, "spec.pod.labels", "podLabels"),
    "an identity of Azure": ({"labels": {"azure.workload.identity/use": "true"}}, "spec.pod.labels", "podLabels"),
    "a role of kube2iam": (
        {"annotations": {"iam.amazonaws.com/role": "admin"}},
        "spec.pod.annotations",
        "podAnnotations",
    ),
    "an image": ({"image": "attacker.example/a/b:1"}, "spec.pod.image", "images"),
    "a pull secret": ({"imagePullSecrets": ["registry"]}, "spec.pod.imagePullSecrets", "imagePullSecrets"),
}


@pytest.mark.parametrize("name", DENIED)
def test_what_is_not_allowed_is_named_and_nothing_is_made(name: str) -> None:
    pod, field, value = DENIED[name]
    made = scene(pod).plan()
    found = accepted(made)
    assert (found["status"], found["reason"]) == ("False", "PodSettingNotAllowed")
    assert made.status is not None
    (finding,) = made.status["findings"]
    assert finding["field"] == field
    assert f"chart value allowed.{value}" in finding["fix"]
    assert (
        next(iter(pod[field.rpartition(".")[2]])) in finding["message"] or pod.get("image", "?") in finding["message"]
    )
    assert not made.objects
    assert not made.deletions


def test_meshes_and_queues_need_no_leave_of_the_platform() -> None:
    labels = {"sidecar.istio.io/inject": "false", "kueue.x-k8s.io/queue-name": "gpus"}
    made = scene({"labels": labels, "annotations": {"linkerd.io/inject": "disabled"}}).plan()
    assert accepted(made)["status"] == "True"
    (template,) = (each["spec"]["template"] for each in made.objects if each["kind"] == "StatefulSet")
    assert labels.items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"


RESERVED = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/managed-by",
    "llmservice.dev/rank",
    "x.llmservice.dev/y",
    "controller-revision-hash",
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
    "batch.kubernetes.io/job-name",
    "kubernetes.io/config.mirror",
    "kubectl.kubernetes.io/restartedAt",
    "container.apparmor.security.beta.kubernetes.io/engine",
    "seccomp.security.alpha.kubernetes.io/pod",
    "prometheus.io/port",
]


@pytest.mark.parametrize(("key", "field"), list(itertools.product(RESERVED, ["labels", "annotations"])))
def test_a_reserved_key_is_refused_even_if_the_platform_lists_it(key: str, field: str) -> None:
    made = scene({field: {key: "a"}}, AllowedPod(labels=("*", key), annotations=("*", key))).plan()
    assert accepted(made)["reason"] == "InvalidSetting"
    assert key in accepted(made)["message"]
    assert not made.objects


def test_every_key_of_the_operator_is_reserved() -> None:
    own = {value for name, value in vars(names).items() if name.endswith(("_LABEL", "_ANNOTATION"))}
    of_nodes = {names.ZONE_LABEL, names.NVIDIA_PRODUCT_LABEL, names.AMD_PRODUCT_LABEL}
    assert len(own - of_nodes) > 12
    assert [key for key in own - of_nodes if not is_reserved(key)] == []
    assert not is_reserved("app.kubernetes.io/version")


@pytest.mark.parametrize(
    ("key", "entries", "good"),
    [
        ("cost-center", ("cost-center",), True),
        ("cost-center2", ("cost-center",), False),
        ("example.com/team", ("example.com/*",), True),
        ("example.com.attacker.org/team", ("example.com/*",), False),
        ("anything", ("*",), True),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", ("*",), False),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", ("cluster-autoscaler.kubernetes.io/*",), False),
        (
            "cluster-autoscaler.kubernetes.io/safe-to-evict",
            ("cluster-autoscaler.kubernetes.io/safe-to-evict",),
            True,
        ),
        ("kueue.x-k8s.io/queue-name", ("*",), True),
        ("iam.amazonaws.com/role", ("*",), False),
        ("io.kubernetes.cri-o.Devices", ("*",), False),
        ("azure.workload.identity/use", ("azure.*",), False),
        ("azure.workload.identity/use", ("azure.workload.identity/use",), True),
        ("sidecar.istio.io/userVolume", ("sidecar.istio.io/*",), False),
        ("sidecar.istio.io/proxyImage", ("sidecar.istio.io/*",), False),
        ("sidecar.istio.io/proxyImage", ("sidecar.istio.io/proxyImage",), True),
        ("sidecar.istio.io/bootstrapOverride", ("*",), False),
        ("config.linkerd.io/proxy-image", ("*",), False),
        ("config.alpha.linkerd.io/proxy-log-level", ("config.*",), False),
        ("vault.security.banzaicloud.io/vault-env-image", ("*",), False),
        ("consul.hashicorp.com/connect-inject", ("*",), False),
    ],
)
def test_keys_that_an_entry_covers(key: str, entries: tuple[str, ...], good: bool) -> None:
    for pod, allowed in (
        (Pod(labels={key: "a"}), AllowedPod(labels=entries)),
        (Pod(annotations={key: "a"}), AllowedPod(annotations=entries)),
    ):
        spec = LLMServiceSpec(model=Model(source="pvc://models/chat"), pod=pod)
        assert (denied(spec, allowed) is None) is good


def test_further_devices_need_the_platforms_leave() -> None:
    service = a_service().with_replicas(1).with_spec(resources={"devices": {"rdma/hca": 1}})
    refused = a_scene(service).plan()
    assert accepted(refused)["reason"] == "PodSettingNotAllowed"
    assert refused.status is not None
    assert refused.status["findings"][0]["field"] == "spec.resources.devices"
    for entries in (("rdma/hca",), ("rdma/*",)):
        allowed = AllowedPod(devices=entries)
        assert accepted(a_scene(service).on(Platform(allowed_pod=allowed)).plan())["status"] == "True"


@pytest.mark.parametrize(
    ("image", "entry", "good"),
    [
        ("registry.example.com/llm/runtime:1", "registry.example.com/llm/", True),
        ("registry.example.com/llm/a/b@" + DIGEST, "registry.example.com/llm/", True),
        ("registry.example.com/llm2/runtime:1", "registry.example.com/llm/", False),
        ("registry.example.com:5000/llm/runtime:1", "registry.example.com/llm/", False),
        ("registry.example.com.attacker.org/llm/runtime:1", "registry.example.com/", False),
        ("registry.example.com/llm/runtime:1", "registry.example.com/llm/runtime", True),
        ("registry.example.com/llm/runtime@" + DIGEST, "registry.example.com/llm/runtime", True),
        ("registry.example.com/llm/runtime-evil:1", "registry.example.com/llm/runtime", False),
        ("registry.example.com/llm/runtime/evil:1", "registry.example.com/llm/runtime", False),
        ("registry.example.com/llm/runtime:1", "registry.example.com/llm/runtime:1", True),
        ("registry.example.com/llm/runtime:10", "registry.example.com/llm/runtime:1", False),
        ("registry.example.com/llm/runtime:1@" + DIGEST, "registry.example.com/llm/runtime:1", False),
        ("registry.example.com/llm/runtime:1@" + DIGEST, "registry.example.com/llm/runtime@" + DIGEST, True),
        (
            "registry.example.com/llm/runtime@" + DIGEST[:-1] + "b",
            "registry.example.com/llm/runtime@" + DIGEST,
            False,
        ),
        ("localhost:5000/runtime:1", "localhost:5000/", True),
    ],
)
def test_images_that_an_entry_covers(image: str, entry: str, good: bool) -> None:
    Pod(image=image)
    assert image_allowed(image, AllowedPod(images=(entry,))) is good
    assert not image_allowed(image, AllowedPod())


def test_a_platform_can_demand_digests() -> None:
    allowed = AllowedPod(images=("registry.example.com/",), images_by_digest_only=True)
    made = scene({"image": "registry.example.com/runtime:1"}, allowed).plan()
    assert "digest" in accepted(made)["message"]
    assert accepted(scene({"image": f"registry.example.com/runtime@{DIGEST}"}, allowed).plan())["status"] == "True"


def test_what_runs_goes_on_where_the_lists_become_shorter() -> None:
    before = scene({"labels": {"team": "a"}}, AllowedPod(labels=("team",))).settled()
    made = before.on(Platform()).plan()
    assert accepted(made)["reason"] == "PodSettingNotAllowed"
    assert (made.objects, made.deletions, made.releases) == ((), (), ())
