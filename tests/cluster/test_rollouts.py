"""Rollouts by the real operator and Kubernetes' own controllers: capacity is kept, GPUs are not exceeded, and the end
is the same whatever happens on the way. Pods are kwok's, on a node of each test's own.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator
from typing import Protocol

import pytest

from support.aggregation import ensure_fake_nodes
from support.campaign import FULL
from support.cluster import Cluster, wait_until
from support.operator import OperatorProcess, operator
from support.rollouts import AT_ONCE, BROKEN, SLOW, PodWatch, Rolled, make_node

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(5400 if FULL else 600)]

PARTS = 10 if FULL else 1
ROLLOUTS = 10 if FULL else 1
"""Of each part, which has a service of its own: parts may run side by side."""
KILLS = 20 if FULL else 3


class MakeService(Protocol):
    """Makes a service of so many replicas on a node with so many GPUs."""

    def __call__(self, replicas: int, gpus: int, **rollout: object) -> Rolled: ...


@pytest.fixture(scope="module")
def acting(cluster: Cluster) -> Iterator[tuple[str, OperatorProcess]]:
    """A namespace with an operator over it."""
    ensure_fake_nodes(cluster, 1)
    with cluster.namespace() as namespace, operator(cluster.kubeconfig, [namespace]) as process:
        yield namespace, process


@pytest.fixture
def make(cluster: Cluster, acting: tuple[str, OperatorProcess]) -> Iterator[MakeService]:
    """Makes a service of so many replicas on a node with so many GPUs; both are gone afterwards."""
    made: list[Rolled] = []

    def one(replicas: int, gpus: int, **rollout: object) -> Rolled:
        node = f"gpus-{secrets.token_hex(3)}"
        make_node(cluster, node, gpus)
        rolled = Rolled(cluster, acting[0], f"chat-{secrets.token_hex(3)}", node)
        made.append(rolled)
        rolled.create(replicas, **rollout)
        return rolled

    yield one
    for rolled in made:
        cluster.request("DELETE", cluster.services(rolled.namespace, rolled.name))
        cluster.request("DELETE", f"/api/v1/nodes/{rolled.node}")


def test_in_place_where_every_gpu_is_taken(make: MakeService) -> None:
    rolled = make(3, 3)
    with PodWatch(rolled) as watch:
        rolled.change(2048, SLOW)
        in_place = "strategy InPlace: no node has 1 nvidia.com/gpu free"
        wait_until(lambda: in_place in rolled.condition("RolledOut").get("message", ""), in_place)
        rolled.settled(3)
        assert watch.least() == 2
        assert max(each.pods for each in watch.seen) <= 3
    assert rolled.cpus() == [SLOW] * 3
    assert rolled.statefulset()["status"]["currentRevision"] == rolled.statefulset()["status"]["updateRevision"]


def test_with_a_gpu_to_spare_one_more_runs_meanwhile(make: MakeService) -> None:
    rolled = make(2, 3)
    with PodWatch(rolled) as watch:
        rolled.change(2048, SLOW)
        updating = rolled.wait_for("RolledOut", "Updating")
        rolled.settled(2)
        assert watch.least() == 2, f"fewer than are asked for: {updating['message']}"
    assert rolled.cpus() == [SLOW] * 2


def test_a_revision_that_never_starts_goes_back_and_a_corrected_one_is_rolled_out(make: MakeService) -> None:
    rolled = make(3, 3)
    with PodWatch(rolled) as watch:
        rolled.change(2048, BROKEN)
        reported = rolled.wait_for("RolledOut", "RolledBack")
        assert "this engine never starts" in reported["message"]
        assert "-2: the engine ended with exit code 1" in reported["message"]
        rolled.wait_for("Serving", "Serving")
        assert rolled.cpus() == [AT_ONCE] * 3
        assert watch.least() == 2
        rolled.change(4096, SLOW)
        rolled.settled(3)
        assert watch.least() == 2
    assert rolled.cpus() == [SLOW] * 3


def test_a_spec_corrected_while_stuck_needs_no_hand(make: MakeService) -> None:
    rolled = make(3, 3, onFailure="Pause")
    with PodWatch(rolled) as watch:
        rolled.change(2048, BROKEN)
        rolled.wait_for("RolledOut", "RolloutFailed")
        rolled.change(4096, AT_ONCE)
        rolled.settled(3)
        assert watch.least() == 2
    assert rolled.cpus() == [AT_ONCE] * 3


@pytest.mark.parametrize("part", range(PARTS))
def test_random_changes_and_scalings_keep_capacity_and_come_to_the_end(part: int, make: MakeService) -> None:
    """Each rollout has its own seed, which a failure names."""
    gpus = 4
    rolled = make(2, gpus)
    replicas = 2
    for number in range(ROLLOUTS):
        seed = secrets.randbits(32)
        chance = random.Random(seed)
        with PodWatch(rolled) as watch:
            at_least = replicas - 1
            for _ in range(chance.randint(1, 3)):
                rolled.change(1024 + chance.randrange(10_000), chance.choice([AT_ONCE, SLOW, SLOW, BROKEN]))
                time.sleep(chance.uniform(0, 4))
                if chance.random() < 0.5:
                    replicas = chance.randint(1, gpus)
                    rolled.edit(replicas=replicas)
                    at_least = min(at_least, replicas - 1)
                    time.sleep(chance.uniform(0, 2))
            cpu = chance.choice([AT_ONCE, SLOW])
            rolled.change(20_000 + part * ROLLOUTS + number, cpu)
            rolled.settled(replicas)
            least = watch.least()
        assert least >= at_least, f"seed {seed}: {least} ready, {at_least} promised"
        assert all(each.requests <= gpus for each in watch.seen), f"seed {seed}"
        assert rolled.cpus() == [cpu] * replicas, f"seed {seed}"


def test_killed_at_random_points_the_operator_comes_to_the_same_end(
    make: MakeService, acting: tuple[str, OperatorProcess]
) -> None:
    rolled, process = make(3, 3), acting[1]
    kills = 0
    round_ = 0
    while kills < KILLS:
        round_ += 1
        good = round_ % 2 == 1
        before = rolled.cpus()
        with PodWatch(rolled) as watch:
            rolled.change(1024 + round_, SLOW if good else BROKEN)
            for _ in range(3):
                time.sleep(random.uniform(0.2, 4))
                process.kill()
                kills += 1
                process.start()
            if good:
                rolled.settled(3)
            else:
                rolled.wait_for("RolledOut", "RolledBack")
                rolled.wait_for("Serving", "Serving")
            assert watch.least() >= 2
        assert rolled.cpus() == ([SLOW] * 3 if good else before)
