"""A number of replicas that another client sets beside the autoscaler: replicas that run are kept, and the client is
named.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from builders.observed import Scene, a_scene, condition, findings, leader
from builders.services import a_service
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.resources.platform import Adapter, Platform

OWN = Platform(adapter=Adapter.OWN, tolerance_is_settable=True, scales_to_zero=True)
KEDA = Platform(adapter=Adapter.KEDA, prometheus_url="http://prometheus:9090")
REASON = "ReplicasSetElsewhere"
NOON = "2026-01-01T12:00:00Z"


def owner(manager: str = "argocd-controller", subresource: str = "", time: str = NOON) -> dict[str, Any]:
    """An entry of managedFields."""
    entry = {"manager": manager, "operation": "Apply", "time": time, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {**entry, "subresource": subresource} if subresource else entry


HPA = owner("kube-controller-manager", "scale")


def running(replicas: int = 4, platform: Platform = OWN, **scaling: int) -> Scene:
    """A scaled service whose autoscaler has set so many replicas."""
    service = a_service().with_replicas(replicas).scaled(**scaling).with_metadata(managedFields=[HPA])
    return a_scene(service).on(platform).settled().settled().foreseeing(ScalingOutcome(replicas, ""))


def written(scene: Scene, replicas: int, *entries: Mapping[str, Any]) -> Scene:
    """After a client set spec.replicas."""
    changed = scene.with_spec(replicas=replicas)
    changed.service["metadata"]["managedFields"] = list(entries)
    return changed


def reported(scene: Scene) -> list[dict[str, Any]]:
    return [each for each in findings(scene.plan()) if each["reason"] == REASON]


def count(scene: Scene) -> int:
    return int(leader(scene.plan())["spec"]["replicas"])


@pytest.mark.parametrize("replicas", [1, 2, 8])
def test_a_manifest_neither_stops_nor_starts_replicas_of_a_scaled_service(replicas: int) -> None:
    changed = written(running(4), replicas, owner())
    assert count(changed) == 4
    (finding,) = reported(changed)
    assert finding["subject"] == "argocd-controller"
    assert finding["field"] == "spec.replicas"
    assert "argocd-controller" in finding["fix"]
    assert "argocd-controller" in condition(changed.plan(), "ScalingActive")["message"]
    assert condition(changed.plan(), "ScalingActive")["status"] == "True"


def test_the_autoscaler_and_kubectl_scale_are_followed() -> None:
    for manager in ("kube-controller-manager", "kubectl"):
        changed = written(running(4), 2, owner(manager, "scale"))
        assert count(changed) == 2
        assert reported(changed) == []


def test_without_scaling_the_manifest_counts() -> None:
    scene = a_scene(a_service().with_replicas(4)).on(OWN).settled().settled()
    changed = written(scene, 2, owner())
    assert count(changed) == 2
    assert reported(changed) == []


def test_a_platform_without_an_adapter_leaves_the_count_to_the_manifest() -> None:
    assert count(written(running(4, Platform(adapter=Adapter.NONE)), 2, owner())) == 2


def test_what_the_autoscaler_wrote_too_is_followed_and_the_manifest_is_reported() -> None:
    changed = written(running(4), 2, HPA, owner("flux"))
    assert count(changed) == 2
    assert [each["subject"] for each in reported(changed)] == ["flux"]


def test_zero_in_a_manifest_switches_an_hpa_off_and_not_keda() -> None:
    assert count(written(running(4), 0, owner())) == 0
    assert count(written(running(4, KEDA), 0, owner())) == 4


def test_a_manifest_wakes_a_service_at_zero() -> None:
    assert count(written(running(0, least=0), 1, owner())) == 1


def test_bounds_of_the_autoscaler_hold() -> None:
    changed = written(running(4), 1, owner())
    assert count(changed.with_spec(scaling={"minReplicas": 5})) == 5
    assert count(changed.with_spec(scaling={"maxReplicas": 3})) == 3


def test_the_client_is_reported_for_an_hour_after_the_autoscaler_wrote_again() -> None:
    after = written(written(running(4), 1, owner()).applied(), 4, HPA)
    assert [each["subject"] for each in reported(after)] == ["argocd-controller"]
    assert after.plan().requeue_after is not None
    assert reported(after.at(3599)) != []
    assert reported(after.at(3601)) == []
    assert "replicasWriter" not in (after.at(3601).plan().status or {})


def test_a_time_in_the_future_is_no_longer_reported_than_another() -> None:
    changed = written(running(4), 1, owner(time="2036-01-01T12:00:00Z"))
    requeue = changed.plan().requeue_after
    assert requeue is not None and requeue <= 3600


def test_a_status_at_rest_is_not_written_again() -> None:
    changed = written(running(4), 1, owner()).applied()
    assert changed.plan().status == changed.service["status"]


def test_a_client_that_scales_the_statefulset_is_named_with_and_without_scaling() -> None:
    plain = a_scene(a_service().with_replicas(1)).on(OWN).settled().settled()
    for scene in (plain, running(1)):
        live = scene.child("StatefulSet")
        meta = {**live["metadata"], "managedFields": [HPA]}
        other = {**live, "metadata": meta, "spec": {**live["spec"], "replicas": 3}}
        changed = scene.without("StatefulSet", "chat").with_children(other)
        assert count(changed) == 1
        (finding,) = reported(changed)
        assert finding["subject"] == "kube-controller-manager"
        assert "StatefulSet chat" in finding["message"]
        assert "kubectl scale llms/chat" in finding["fix"]


@pytest.mark.parametrize("manager", ["llmservice-operator", "llmservice-operator-restore"])
def test_the_operator_is_no_other_client(manager: str) -> None:
    scene = running(2)
    live = scene.child("StatefulSet")
    written_by_us = {**live, "metadata": {**live["metadata"], "managedFields": [owner(manager)]}}
    assert reported(scene.without("StatefulSet", "chat").with_children(written_by_us)) == []
    assert reported(written(running(2), 2, owner("llmservice-operators"))) != []


def test_a_client_that_sets_bounds_of_the_autoscaler_is_named() -> None:
    scene = running(4)
    live = scene.child("HorizontalPodAutoscaler")
    entry = {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}}
    changed = scene.without("HorizontalPodAutoscaler", "chat").with_children(
        {**live, "metadata": {**live["metadata"], "managedFields": [entry]}}
    )
    (finding,) = reported(changed)
    assert (finding["subject"], finding["field"]) == ("helm", "spec.scaling")


def test_a_name_of_a_manager_that_is_made_up_harms_nothing() -> None:
    for manager in ("", "x" * 5000, "evil\x1b[2J\n"):
        changed = written(running(4), 1, owner(manager))
        (finding,) = reported(changed)
        assert "\x1b" not in finding["message"]
        assert len(finding["subject"]) <= 128
