"""Devices by dynamic resource allocation, with the real scheduler and kubelet: pods get devices of their own, and a
service says why one gets none. The driver is a process of the test; nothing but its devices exists."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.services import COMMIT, ServiceBuilder, a_service
from llmservice_operator import __version__
from support import versions
from support.cluster import Cluster, kubectl, wait_until
from support.device_driver import NODE, Driver, device_driver
from support.forty import Case
from support.operator import operator
from support.serving import Serving

pytestmark = [pytest.mark.timeout(600)]

STAND_IN = f"localhost/llmservice/stand-in:{__version__}"
SMALL = {"cpu": "50m", "memory": "256Mi"}


@pytest.fixture
def driver(cluster: Cluster, tmp_path: Path) -> Iterator[Driver]:
    versions.need(cluster, "resource.k8s.io/v1", "resourceclaimtemplates")
    with device_driver(cluster, tmp_path / "driver.log") as found:
        yield found


@pytest.fixture
def site(cluster: Cluster, driver: Driver) -> Iterator[Case]:
    """A service that isn't made yet. Its pods are gone before the driver is: the kubelet needs it for that."""
    with (
        cluster.namespace("devices") as namespace,
        operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_RUNTIME_IMAGE": STAND_IN}),
    ):
        case = Case(Serving(cluster, namespace), "chat")
        yield case
        case.serving.delete("LLMService", case.name)
        wait_until(lambda: not case.pods(), "its pods are gone", timeout=120)


def claiming(driver: Driver, replicas: int, device_class: str = "") -> ServiceBuilder:
    return (
        a_service("chat")
        .from_source("hf://org/name", COMMIT)
        .with_replicas(replicas)
        .with_spec(
            accelerator={"deviceClassName": device_class or driver.name},
            resources=SMALL,
            scheduling={"nodeSelector": {"kubernetes.io/hostname": NODE}},
        )
    )


def seen_in(case: Case, pod: str) -> list[str]:
    """The devices that the container of the pod sees."""
    command = [kubectl(), f"--kubeconfig={case.serving.cluster.kubeconfig}", f"--namespace={case.serving.namespace}"]
    script = "print(open('/tmp/devices').read())"
    done = subprocess.run(
        [*command, "exec", pod, "--", "python", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def claimed_classes(case: Case) -> set[str]:
    templates = case.serving.list("ResourceClaimTemplate")
    requests = (request for each in templates for request in each["spec"]["spec"]["devices"]["requests"])
    return {request["exactly"]["deviceClassName"] for request in requests}


def running(case: Case, count: int) -> bool:
    return sum(pod["status"].get("phase") == "Running" for pod in case.pods()) == count


def test_each_pod_sees_a_device_of_its_own_and_one_too_many_is_explained(site: Case, driver: Driver) -> None:
    site.apply(claiming(driver, 2))
    wait_until(lambda: running(site, 2), "both pods run", timeout=180)
    seen = {pod["metadata"]["name"]: seen_in(site, pod["metadata"]["name"]) for pod in site.pods()}
    assert sorted(device for devices in seen.values() for device in devices) == ["gpu-0", "gpu-1"]
    (template,) = site.serving.list("ResourceClaimTemplate")
    assert {claim["metadata"]["ownerReferences"][0]["name"] for claim in site.serving.list("ResourceClaim")} == set(
        seen
    )

    site.change("spec.replicas", 3)
    said = site.serving.wait_for("chat", "Scheduled", "False", "NoFreeDevices")
    assert f"1 devices of DeviceClass {driver.name}" in said["message"] and "has 0 of 2 free" in said["message"]
    site.change("spec.replicas", 1)
    site.serving.wait_for("chat", "Scheduled", "True", "Scheduled")
    wait_until(
        lambda: len(site.serving.list("ResourceClaim")) == 1, "the claims of the other pods are gone", timeout=120
    )
    assert [each["metadata"]["uid"] for each in site.serving.list("ResourceClaimTemplate")] == [
        template["metadata"]["uid"]
    ]


def test_a_quota_on_devices_and_a_class_that_does_not_exist_are_named(site: Case, driver: Driver) -> None:
    site.apply(claiming(driver, 1, "nowhere.llmservice.dev"))
    said = site.serving.wait_for("chat", "Scheduled", "False", "DeviceClassMissing")
    assert "DeviceClass nowhere.llmservice.dev does not exist" in said["message"]

    hard = {f"{driver.name}.deviceclass.resource.k8s.io/devices": "1"}
    quota = {"metadata": {"name": "devices"}, "spec": {"hard": hard}}
    where = f"/api/v1/namespaces/{site.serving.namespace}/resourcequotas"
    assert site.serving.cluster.request("POST", where, quota).ok
    site.apply(claiming(driver, 2))

    def exceeded() -> bool:
        """The quota's Event may come after the first report that a claim is missing."""
        said = site.serving.condition("chat", "Scheduled") or {}
        return said.get("reason") == "DeviceClaimMissing" and "ResourceQuota devices is exceeded" in said["message"]

    wait_until(exceeded, "the exceeded quota is named", timeout=120)
    wait_until(lambda: driver.name in claimed_classes(site), "the template of the other class is there", timeout=60)
