"""The inspection of a model in a claim that only one node, or one pod, can mount while replicas run."""

from __future__ import annotations

from typing import Any

import pytest

from builders.observed import Scene, a_scene, condition, findings
from builders.pods import a_pod, an_inspection_pod
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.resources import names

Json = dict[str, Any]


def running(*modes: str, node: str = "gpu-0") -> Scene:
    """A service whose replica mounts the claim, before the first reading of a model on two GPUs in the same claim."""
    scene = a_scene().settled().with_pods(a_pod().claiming("models").ready().on_node(node)).settled()
    scene = scene.with_spec(parallelism={"tensor": 2})
    return scene.with_access_modes(models=list(modes)) if modes else scene


def the_job(scene: Scene) -> Json:
    (job,) = [dict(each) for each in scene.plan().objects if each["kind"] == "Job"]
    return job


def near(job: Json) -> Any:
    """The terms of pods beside which the Job's pod must run."""
    affinity = job["spec"]["template"]["spec"].get("affinity") or {}
    return (affinity.get("podAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")


def test_it_runs_on_the_node_that_has_mounted_the_volume() -> None:
    job = the_job(running("ReadWriteOnce"))
    (term,) = near(job)
    labels = term["labelSelector"]["matchLabels"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert labels == names.of_service("chat")
    # Kubernetes accepts the first pod anywhere only if it matches its own term.
    assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in job["spec"]["template"]["spec"]["tolerations"]


@pytest.mark.parametrize("modes", [["ReadWriteMany"], ["ReadOnlyMany", "ReadWriteOnce"], ["ReadWriteOncePod"], []])
def test_otherwise_it_runs_anywhere(modes: list[str]) -> None:
    assert near(the_job(running().with_access_modes(models=modes))) is None


def test_without_replicas_it_runs_anywhere_and_asks_for_nothing() -> None:
    scene = a_scene().with_spec(parallelism={"tensor": 2})
    assert near(the_job(scene.with_access_modes(models=["ReadWriteOnce"]))) is None
    assert Input.ACCESS_MODES not in scene.plan().requires


def test_the_access_modes_are_required_of_the_claim_that_it_mounts() -> None:
    made = running().plan()
    assert Input.ACCESS_MODES in made.requires
    assert made.shared_claims == ("models",)
    assert Input.ACCESS_MODES not in running("ReadWriteOnce").plan().requires


@pytest.mark.parametrize("first", ["ReadWriteOnce", "ReadWriteMany"])
def test_a_job_that_exists_stays_although_another_would_be_made_now(first: str) -> None:
    scene = running(first).applied()
    job = scene.child("Job")
    other = "ReadWriteMany" if first == "ReadWriteOnce" else "ReadWriteOnce"
    made = scene.with_access_modes(models=[other]).plan()
    assert [each["metadata"]["name"] for each in made.objects if each["kind"] == "Job"] == [job["metadata"]["name"]]
    assert not made.deletions


def test_a_job_whose_pod_waits_for_the_volume_on_another_node_is_replaced() -> None:
    scene = running("ReadWriteMany").applied()
    job = scene.child("Job")
    pod = an_inspection_pod(job).on_node("cpu-0")
    engine = a_pod().claiming("models").ready().on_node("gpu-0")
    made = scene.with_access_modes(models=["ReadWriteOnce"]).with_pods(engine, pod).plan()
    assert [each.name for each in made.deletions] == [job["metadata"]["name"]]
    (new,) = [each for each in made.objects if each["kind"] == "Job"]
    assert near(dict(new)) is not None


def test_a_volume_that_another_service_has_mounted_is_reported() -> None:
    scene = a_scene().with_spec(parallelism={"tensor": 2}).applied()
    pod = an_inspection_pod(scene.child("Job")).on_node("cpu-0")
    scene = scene.with_pods(pod)
    assert Input.EVENTS in scene.plan().requires
    name = pod.build()["metadata"]["name"]
    note = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other-0'
    made = scene.reporting("Pod", name, "FailedAttachVolume", note).plan()
    assert condition(made, "Accepted")["reason"] == "VolumeMountFailed"
    assert "Multi-Attach" in condition(made, "Accepted")["message"]


def test_a_volume_for_one_pod_that_a_replica_uses_is_reported() -> None:
    scene = running("ReadWriteOncePod").applied()
    said = "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    pod = an_inspection_pod(scene.child("Job")).claiming("models").unschedulable(said)
    engine = a_pod().claiming("models").ready()
    made = scene.with_pods(engine, pod).plan()
    assert "VolumeInUse" in [each["reason"] for each in findings(made)]
