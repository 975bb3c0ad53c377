"""Pods that claim devices and get none: which finding says so."""

import dataclasses
from typing import Any

import pytest

from builders.devices import DRIVER, a_claim_of, a_device, a_slice
from builders.nodes import a_plain_node
from builders.observed import Scene, a_scene, condition
from builders.pods import a_pod
from builders.services import ServiceBuilder, a_service
from llmservice_operator.planner.model.device_inventory import allocated, published, with_devices
from llmservice_operator.planner.model.observed import Input, NodeCapacity
from llmservice_operator.planner.model.pods import unclaimed
from llmservice_operator.planner.report import reasons
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import FitPolicy, Platform

RESOURCE = names.DEVICE_CLASS_RESOURCE + DRIVER
CANNOT = "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, preemption: none."
TWO = a_service().with_replicas(1).spread_over(tensor=2).with_spec(accelerator={"deviceClassName": DRIVER}).read()


def node_with(devices: int, taken: int = 0) -> NodeCapacity:
    slices = [a_slice("node-a", *(a_device(f"gpu-{at}") for at in range(devices)))]
    claims = [a_claim_of(*(f"gpu-{at}" for at in range(taken)))] if taken else []
    nodes = with_devices([a_plain_node("node-a")], RESOURCE, published(slices, allocated(claims)))
    assert nodes is not None
    return nodes[0]


def waiting(said: str | None = CANNOT, service: ServiceBuilder = TWO) -> Scene:
    """The service's pod, unschedulable for what the scheduler said, or not processed by it."""
    scene = a_scene(service).on(Platform(device_claims=True)).settled()
    pod = a_pod("chat-0").of_revision("r1")
    made: dict[str, Any] = (pod.unschedulable(said) if said else pod).build()
    template = scene.child("StatefulSet")["spec"]["template"]
    made["metadata"].setdefault("annotations", {}).update(
        {key: value for key, value in template["metadata"]["annotations"].items() if "device" in key}
    )
    made["spec"]["resourceClaims"] = template["spec"]["resourceClaims"]
    if said:
        made["status"]["resourceClaimStatuses"] = [{"name": "devices", "resourceClaimName": "chat-0-devices-x"}]
    return dataclasses.replace(scene, pods=(made,))


def scheduled(scene: Scene) -> dict[str, Any]:
    found = condition(scene.plan(), "Scheduled")
    assert reasons.of(found["reason"]).category == reasons.UNSCHEDULABLE, found
    return found


@pytest.mark.parametrize(
    ("node", "reason", "numbers"),
    [
        (node_with(2, taken=1), "NoFreeDevices", "node-a has 1 of 2 free"),
        (node_with(1), "NodesTooSmall", "node-a has 1 of 1 free"),
        (a_plain_node("node-a"), "NoSuchDevice", "is its driver running?"),
        (node_with(2), "NoFreeDevices", "cannot allocate all claims"),  # because of selectors that are not evaluated
    ],
)
def test_a_claim_that_can_not_be_allocated(node: NodeCapacity, reason: str, numbers: str) -> None:
    found = scheduled(waiting().with_nodes(node))
    assert found["reason"] == reason
    assert numbers in found["message"] and f"2 devices of DeviceClass {DRIVER}" in found["message"]


def test_a_node_that_is_too_small_for_several_engines_names_their_number() -> None:
    service = a_service().with_replicas(1).with_spec(accelerator={"deviceClassName": DRIVER}, parallelism={"data": 2})
    found = scheduled(waiting(service=service.read()).with_nodes(node_with(1)))
    assert found["reason"] == "NodesTooSmall"
    assert "spec.parallelism.data" in found["message"] and "nodesPerReplica" not in found["message"]


def test_without_the_nodes_the_schedulers_message_is_enough() -> None:
    scene = waiting()
    assert scheduled(scene)["reason"] == "NoFreeDevices"
    made = scene.plan()
    assert Input.NODES in made.requires and made.device == RESOURCE


def test_a_class_that_does_not_exist() -> None:
    said = f"0/1 nodes are available: request devices: device class {DRIVER} does not exist."
    found = scheduled(waiting(said).with_nodes(a_plain_node()))
    assert found["reason"] == "DeviceClassMissing" and f"DeviceClass {DRIVER} does not exist" in found["message"]


def test_a_claim_that_a_quota_rejects() -> None:
    key = f"{DRIVER}.deviceclass.resource.k8s.io/devices"
    note = (
        'PodResourceClaim devices: resourceclaims.resource.k8s.io "chat-0-devices-x" is forbidden: '
        f"exceeded quota: gpus, requested: {key}=2, used: {key}=1, limited: {key}=2"
    )
    scene = waiting(None)
    assert Input.EVENTS in scene.plan().requires
    found = scheduled(scene.reporting("Pod", "chat-0", "FailedResourceClaimCreation", note))
    assert found["reason"] == "DeviceClaimMissing"
    assert "ResourceQuota gpus" in found["message"] and f"{key}=2" in found["message"]


def test_a_claim_that_is_being_created_is_no_finding() -> None:
    found = condition(waiting(None).plan(), "Scheduled")
    assert found["reason"] == "AwaitingScheduler"


def test_a_claim_that_exists_is_not_missing() -> None:
    (made,), (missing,) = waiting().pods, waiting(None).pods
    assert unclaimed(missing) and not unclaimed(made)


def test_a_quota_for_the_class_limits_the_placeable_replicas() -> None:
    scene = (
        a_scene(TWO.scaled())
        .on(Platform(device_claims=True, fit_policy=FitPolicy.WARN))
        .settled()
        .with_nodes(node_with(8))
    )
    free = scene.plan().status
    assert free is not None
    key = f"{DRIVER}.deviceclass.resource.k8s.io/devices"
    quota = {"metadata": {"name": "gpus"}, "status": {"hard": {key: "5"}, "used": {key: "1"}}}
    limited = dataclasses.replace(scene, quotas=(quota,)).plan().status
    assert limited is not None
    assert (free["placeableReplicas"]["replicas"], limited["placeableReplicas"]["replicas"]) == (4, 2)
    assert limited["placeableReplicas"]["limitedBy"] == "Quota"


GANG = a_service().with_replicas(1).spread_over(tensor=4, nodes=2).with_spec(accelerator={"deviceClassName": DRIVER})


@pytest.mark.parametrize(
    ("nodes", "admitted"),
    [
        ((node_with(4),), 2),
        ((node_with(4, taken=1),), 0),
        ((), 0),
    ],
)
def test_the_pods_of_a_replica_on_several_nodes_wait_for_devices_of_the_class(
    nodes: tuple[NodeCapacity, ...], admitted: int
) -> None:
    scene = a_scene(GANG.read()).on(Platform(device_claims=True)).settled()
    made = []
    for name in ("chat-0", "chat-r1-0"):
        pod = a_pod(name).of_revision("r1").gated().build()
        found = next(
            each for each in scene.children if each["kind"] == "StatefulSet" and each["metadata"]["name"] == name[:-2]
        )
        template = found["spec"]["template"]
        pod["metadata"]["labels"] = {**pod["metadata"]["labels"], **template["metadata"]["labels"]}
        pod["metadata"]["annotations"] = template["metadata"]["annotations"]
        pod["metadata"]["ownerReferences"] = [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": name[:-2],
                "uid": found["metadata"]["uid"],
                "controller": True,
            }
        ]
        pod["spec"] = {**pod["spec"], **template["spec"]}
        made.append(pod)
    plan = dataclasses.replace(scene, pods=tuple(made)).with_nodes(*nodes).plan()
    assert len(plan.admissions) == admitted
