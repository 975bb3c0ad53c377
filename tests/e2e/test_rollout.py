"""A running service is changed on the real node, with real vLLM under a streamed load, and no GPU is free.

The operator is killed all the while.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from builders.services import ServiceBuilder, a_service
from support.cluster import wait_until
from support.gpu_holder import HOLDER, hold_gpus, real_node
from support.operator_pod import Killing
from support.rollouts import PodWatch, Rolled
from support.serving import Serving
from support.streaming import StreamedLoad

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(3600)]

NAME, REPLICAS = "steady", 3
ROLLOUT_SECONDS = 900.0
"""Engines one after the other, on a busy two-core machine."""
SAID_SECONDS = 120.0
"""What the operator takes to say what it does, killed or not."""
KILLS = 20


def steady(context: int) -> ServiceBuilder:
    """Each replica on one GPU."""
    service = a_service(NAME).from_source("pvc://models/tiny").with_replicas(REPLICAS)
    return service.with_spec(model={"maxContextLength": context}, resources={"cpu": "250m", "memory": "6Gi"})


@contextlib.contextmanager
def other_gpus_taken(serving: Serving) -> Iterator[None]:
    """Another pod has all GPUs except those that the service needs."""
    _, gpus = real_node(serving)
    hold_gpus(serving, gpus - REPLICAS)
    try:
        yield
    finally:
        serving.delete("Pod", HOLDER)


def test_a_change_and_one_that_cannot_start_cost_no_request(serving: Serving) -> None:
    with other_gpus_taken(serving):
        serving.apply(steady(512).build())
        serving.wait_for(NAME, "Ready", "True")
        serving.post(NAME, {"prompt": "The", "max_tokens": 1})
        rolled = Rolled(serving.cluster, serving.namespace, NAME, "")
        with (
            PodWatch(rolled) as watch,
            StreamedLoad(serving.address(NAME), NAME) as load,
            Killing(10, 40) as killing,
        ):
            serving.apply(steady(256).build())
            serving.wait_for(NAME, "RolledOut", "False", "Updating")
            in_place = "strategy InPlace: no node has 1 nvidia.com/gpu free"
            wait_until(
                lambda: in_place in rolled.condition("RolledOut").get("message", ""), in_place, timeout=SAID_SECONDS
            )
            serving.wait_for(NAME, "RolledOut", "True", timeout=ROLLOUT_SECONDS)
            changed = load.whole
            assert not load.failed, load.failed[:5]
            assert watch.least() >= REPLICAS - 1

            serving.apply(steady(1_000_000).build())
            reported = serving.wait_for(NAME, "RolledOut", "False", "RolledBack", timeout=ROLLOUT_SECONDS)
            assert "1000000" in reported["message"] and "spec.model.maxContextLength" in reported["message"], reported
            serving.wait_for(NAME, "Serving", "True")
            wait_until(lambda: watch.seen[-1].ready == REPLICAS, "all replicas answer again", timeout=300)
            assert not load.failed, load.failed[:5]
            assert watch.least() >= REPLICAS - 1
        assert killing.count >= KILLS, killing.count
        assert load.whole > changed > 0
        assert not load.failed, load.failed[:5]
        serving.delete("LLMService", NAME)
        wait_until(lambda: not serving.pods(NAME), "its pods are gone", timeout=120)
