"""How requests follow each other, in time that is not the machine's."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics

import pytest

from llmservice_operator.cli.bench.figures import arrivals
from serving import loops
from serving.prompts import prompts, words_for


class Served:
    """Requests that each take the same time."""

    def __init__(self, seconds: float, answered: bool = True) -> None:
        self.seconds, self.answered = seconds, answered
        self.begun: list[float] = []
        self.in_flight = self.most = self.ended = 0

    async def ask(self) -> bool:
        self.begun.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
            self.ended += 1
            return self.answered
        finally:
            self.in_flight -= 1


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    times = list(arrivals(50.0, 400.0, random.Random(3)))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) / 400 == pytest.approx(50, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.03), "exponential gaps"
    assert max(times) < 400.0
    assert times == list(arrivals(50.0, 400.0, random.Random(3)))


@pytest.mark.looptime
async def test_an_open_loop_waits_for_no_answer() -> None:
    served = Served(100.0)
    shed = await loops.open_loop(served.ask, [1.0, 2.0, 2.5], most=8, grace=200.0)
    assert served.begun == pytest.approx([1.0, 2.0, 2.5])
    assert (served.most, served.ended, shed) == (3, 3, 0)


@pytest.mark.looptime
async def test_an_open_loop_ends_whatever_the_server_does() -> None:
    served = Served(10000.0)
    shed = await loops.open_loop(served.ask, [1.0, 2.0, 3.0], most=2, grace=5.0)
    assert asyncio.get_running_loop().time() == pytest.approx(8.0)
    assert (served.most, served.ended, served.in_flight, shed) == (2, 0, 0, 1)


@pytest.mark.looptime
async def test_a_closed_loop_has_so_many_in_flight_and_so_many_in_all() -> None:
    served = Served(2.0)
    await loops.closed(served.ask, users=3, requests=7)
    assert (served.most, served.ended) == (3, 7)
    assert asyncio.get_running_loop().time() == pytest.approx(6.0)


@pytest.mark.looptime
async def test_users_are_added_over_the_ramp_up_and_cut_at_the_end() -> None:
    served = Served(1000.0)
    await loops.timed(served.ask, users=4, seconds=30.0, ramp_up=8.0)
    assert served.begun == pytest.approx([0.0, 2.0, 4.0, 6.0])
    assert asyncio.get_running_loop().time() == pytest.approx(38.0)
    assert served.in_flight == 0


@pytest.mark.looptime
async def test_a_server_that_refuses_is_not_flooded() -> None:
    served = Served(0.0, answered=False)
    await loops.timed(served.ask, users=1, seconds=10.0)
    assert len(served.begun) <= 10.0 / loops.PAUSE_SECONDS + 1


@pytest.mark.parametrize("each", [1.0, 1.4, 2.0, 0.8])
async def test_prompts_have_the_wanted_tokens_by_the_servers_count(each: float) -> None:
    async def count(prompt: str) -> int:
        return 1 + round(len(prompt.split()) * each)

    words = await words_for(100, count)
    made = prompts(words, random.Random(1))
    several = [next(made) for _ in range(20)]
    assert len(set(several)) == 20
    counted = [await count(prompt) for prompt in several]
    assert all(abs(found - 100) <= max(each, 1) for found in counted)
