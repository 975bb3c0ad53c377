"""The algorithm, the published number and the HPA together on a queue of requests, for hours of simulated time."""

from itertools import pairwise

import pytest

from builders.looks import FIRST_TOKEN
from llmservice_operator.autoscaling.algorithm import ReplicaBounds
from llmservice_operator.autoscaling.latency_algorithm import MISSED_SECONDS
from support.queue_model import World

CAPACITY = 4.0
"""Requests per second that one replica of the model bears."""


def dips(counts: list[int]) -> int:
    """How often a row of counts goes up after it went down."""
    rises = [after > before for before, after in pairwise(counts)]
    return sum(later and not earlier for earlier, later in pairwise(rises))


@pytest.mark.parametrize(("seed", "interval"), [(1, 15), (2, 15), (3, 15), (1, 3)])
def test_load_comes_and_goes(seed: int, interval: float) -> None:
    world = World(
        lambda at: 9.0 if 300 < at < 3000 else 0.2, FIRST_TOKEN, ReplicaBounds(1, 16), seed=seed, interval=interval
    ).run(4500)
    counts = world.specs()
    assert counts[0] == counts[-1] == 1
    assert max(counts) >= 3, "9 requests per second need three replicas"
    assert dips(counts) <= 1, f"up and down, and one attempt with fewer at most: {counts}"
    before_the_end = [count for at, _, count in world.history if at < 3000][-1]
    assert 3 <= before_the_end <= 6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_steady_load_settles_but_for_one_attempt_with_fewer_in_half_an_hour(seed: int) -> None:
    world = World(lambda at: 1.2 * CAPACITY, FIRST_TOKEN, ReplicaBounds(1, 16), seed=seed).run(7200)
    counts = world.specs()
    assert dips(counts) <= 7200 / MISSED_SECONDS, counts
    assert 2 <= world.spec <= 4


def test_the_target_is_kept_once_the_replicas_are_there() -> None:
    world = World(lambda at: 9.0, FIRST_TOKEN, ReplicaBounds(1, 16)).run(1200)
    late = World(lambda at: 9.0, FIRST_TOKEN, ReplicaBounds(1, 16), replicas=world.spec).run(3600)
    assert late.missed < 0.01 * late.served


def test_looking_more_often_leads_to_the_same_counts() -> None:
    def peak(interval: float) -> int:
        return max(World(lambda at: 7.0, FIRST_TOKEN, ReplicaBounds(1, 64), interval=interval).run(900).specs())

    assert peak(2) <= peak(15) * 1.5
    assert peak(2) >= peak(15) / 1.5


def test_nothing_comes_of_a_cold_start_of_ten_minutes_but_twice_the_replicas() -> None:
    world = World(lambda at: 9.0 if at > 60 else 0.2, FIRST_TOKEN, ReplicaBounds(1, 64), cold_start=600).run(600)
    assert world.specs() == [1, 2]


def test_asleep_after_the_last_request() -> None:
    world = World(lambda at: 1.0 if at < 300 else 0.0, FIRST_TOKEN, ReplicaBounds(0, 4)).run(1500)
    assert world.specs() == [1, 0]
