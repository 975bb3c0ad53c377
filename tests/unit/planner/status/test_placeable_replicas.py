"""``status.placeableReplicas``: by nodes, labels, taints and quota; and when nodes and quotas are read for it."""

import dataclasses
from typing import Any

import pytest

from builders.nodes import H100, a_gpu_node, a_plain_node
from builders.observed import Scene, a_scene
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.planner.model.observed import Input, NodeCapacity
from llmservice_operator.planner.status.placeable_replicas import PERIOD_SECONDS
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import FitPolicy, Platform

WARN = Platform(fit_policy=FitPolicy.WARN)
S3 = a_service().from_source("s3://models/chat").read().on(H100).scaled(1, 8)
TAINT = {"key": "team", "value": "b", "effect": "NoSchedule"}


def placeable(scene: Scene) -> dict[str, Any]:
    made = scene.plan()
    assert made.status is not None
    return made.status["placeableReplicas"]


def on(*nodes: NodeCapacity, service=S3) -> Scene:
    return a_scene(service).on(WARN).with_nodes(*nodes)


@pytest.mark.parametrize(
    ("nodes", "replicas", "said"),
    [
        ((a_gpu_node("a", 8), a_gpu_node("b", 8, used=5)), 11, f"{H100}: 11 of 16 free"),
        ((a_gpu_node("a", 8, used=8),), 0, "no node has room for 1 nvidia.com/gpu: a has 0 of 8 free"),
        ((a_gpu_node("a", 8, product="NVIDIA-A10"),), 0, f"a is NVIDIA-A10, not {H100}"),
        ((a_gpu_node("a", 8, taints=(TAINT,)),), 0, "a has the taint team=b:NoSchedule"),
        ((a_gpu_node("a", 8, cordoned=True), a_gpu_node("b", 2)), 2, f"{H100}: 2 of 2 free"),
        ((a_plain_node(),), 0, "none of the 1 nodes has nvidia.com/gpu"),
    ],
)
def test_devices_are_counted_where_they_would_do(nodes, replicas: int, said: str):
    found = placeable(on(*nodes))
    assert (found["replicas"], found["limitedBy"]) == (replicas, "Nodes")
    assert said in found["message"]


def test_a_replica_takes_whole_devices_of_one_node():
    service = S3.spread_over(tensor=4)
    assert placeable(on(a_gpu_node("a", 8, used=1), a_gpu_node("b", 8, used=5), service=service))["replicas"] == 1


def test_what_runs_counts_beside_what_is_free():
    scene = on(a_gpu_node("a", 8, used=2)).settled().with_pods(a_pod("chat-0").ready(), a_pod("chat-1").ready())
    assert placeable(scene)["replicas"] == 2 + 6


def test_a_replica_on_several_nodes_needs_room_on_each_within_its_block():
    service = S3.spread_over(tensor=16, nodes=2)
    blocks = {"a": "1", "b": "2", "c": "1"}
    nodes = [a_gpu_node(name, 8, labels={"net/block": block}) for name, block in blocks.items()]
    assert placeable(on(*nodes, service=service))["replicas"] == 1
    together = service.with_spec(scheduling={"groupWithin": "net/block"})
    assert placeable(on(*nodes, service=together))["replicas"] == 1
    assert placeable(on(*nodes[:2], service=together))["replicas"] == 0


def test_a_quota_that_is_tighter_than_the_nodes_limits():
    scene = on(a_gpu_node("a", 8)).with_quota("gpus", names.NVIDIA_GPU, hard=4, used=1)
    assert placeable(scene) == {
        "replicas": 3,
        "limitedBy": "Quota",
        "message": "ResourceQuota gpus leaves 3 of 4 nvidia.com/gpu",
    }
    assert (
        placeable(on(a_gpu_node("a", 2)).with_quota("gpus", names.NVIDIA_GPU, hard=40, used=1))["limitedBy"] == "Nodes"
    )


def test_nodes_and_quotas_are_asked_for_a_new_spec_and_then_twice_an_hour():
    scene = a_scene(S3).on(WARN)
    made = scene.plan()
    assert {Input.NODES, Input.QUOTAS} <= made.requires and Input.CURRENT_NODES not in made.requires
    reported = scene.with_nodes(a_gpu_node()).settled()
    rest = dataclasses.replace(reported, nodes=None)
    due = next(second for second in range(0, PERIOD_SECONDS, 15) if Input.NODES in rest.at(second).plan().requires)
    assert Input.NODES in rest.at(due).plan().requires
    assert Input.NODES not in rest.at(due + 60).plan().requires
    assert Input.NODES in rest.at(due + PERIOD_SECONDS).plan().requires
    assert rest.at(due + 60).plan().requeue_after <= PERIOD_SECONDS
    assert placeable(rest.at(due + 60)) == placeable(reported), "what was said stays until it is looked at again"
    assert Input.NODES in rest.at(due + 60).with_spec(replicas=2).plan().requires


def test_where_the_nodes_are_known_anyway_the_quotas_are_read_too():
    """Else it would differ with what else had the nodes read."""
    reported = a_scene(S3).on(WARN).with_nodes(a_gpu_node()).settled()
    later = next(
        second for second in range(0, PERIOD_SECONDS, 15) if Input.NODES not in _blind(reported, second).requires
    )
    assert Input.QUOTAS not in _blind(reported, later).requires
    assert Input.QUOTAS in reported.at(later).plan().requires


def _blind(scene, second: int):
    return dataclasses.replace(scene, nodes=None).at(second).plan()


@pytest.mark.parametrize(
    ("service", "platform"),
    [(S3, Platform()), (S3.with_spec(scaling=None), WARN), (a_service().on_cpu().scaled(1, 8), WARN)],
)
def test_it_is_said_only_of_what_is_scaled_on_gpus(service, platform: Platform):
    scene = a_scene(service).on(platform).with_nodes(a_gpu_node())
    made = scene.plan()
    assert "placeableReplicas" not in made.status
    assert Input.QUOTAS not in made.requires


@pytest.mark.parametrize("before", [{"replicas": 3, "limitedBy": "Nodes", "message": "room"}, {"replicas": "many"}, 7])
def test_the_field_of_an_earlier_version_is_left_out_and_the_new_one_is_written_at_once(before: object):
    settled = a_scene(S3).on(WARN).with_nodes(a_gpu_node("a", 8)).settled()
    status = {key: value for key, value in settled.service["status"].items() if key != "placeableReplicas"}
    scene = dataclasses.replace(settled, service={**settled.service, "status": {**status, "ceiling": before}})
    made = scene.plan()
    assert made.status["placeableReplicas"]["replicas"] == 8
    assert "ceiling" not in made.status
    assert Input.NODES in dataclasses.replace(scene, nodes=None).plan().requires
