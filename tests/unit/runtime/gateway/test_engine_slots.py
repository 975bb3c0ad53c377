"""Some of the engine's sequences stay free for keys that have few."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from llmservice_runtime.gateway import engine_slots, fair_sharing
from llmservice_runtime.gateway.engine_counts import EngineCounts, counting
from llmservice_runtime.gateway.engine_slots import EngineSlots
from llmservice_runtime.gateway.fair_sharing import FairShares, ShareOfRequest, sharing

STEP = 0.02
"""Seconds."""

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class Sequence:
    """One request to the engine."""

    name: str
    tokens: int
    request: Any
    state: Any = field(default_factory=lambda: SimpleNamespace(is_prefilling=True, prompt_len=10, detokenizer=None))
    done: asyncio.Event = field(default_factory=asyncio.Event)
    begun: float = math.nan
    made: int = 0


class StepwiseClient:
    """vLLM's engine client, as far as the runtime uses it: a token of each running sequence in each step."""

    def __init__(self, most: int) -> None:
        config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=most, max_num_active_seqs=None),
            parallel_config=SimpleNamespace(data_parallel_size=1),
        )
        self.vllm_config = config
        self.output_processor = SimpleNamespace(request_states={}, add_request=self._register)
        self.logger_manager = SimpleNamespace(record=self._record)
        self.shown: list[int] = []
        """What vLLM's metrics have shown as waiting."""
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._most = most
        self._made: dict[str, Sequence] = {}
        self._coming: Sequence | None = None

    def _register(self, request: Any, _prompt: Any = None) -> None:
        assert self._coming is not None
        self.output_processor.request_states[request.request_id] = self._coming.state

    def _record(self, scheduler_stats: Any = None, engine_idx: int = 0) -> None:
        self.shown.append(scheduler_stats.num_waiting_reqs)

    async def add_request(self, name: str, _prompt: str, params: Any) -> Sequence:
        await asyncio.sleep(0)
        request = SimpleNamespace(request_id=name, priority=0, sampling_params=params)
        self._coming = Sequence(name, params.max_tokens, request)
        self.output_processor.add_request(request, None)
        self.waiting.append(self._coming)
        return self._coming

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP)
            self.waiting.sort(key=lambda each: each.request.priority)
            while self.waiting and len(self.running) < self._most:
                self.running.append(self.waiting.pop(0))
                self.running[-1].begun = now()
            for each in list(self.running):
                each.made += 1
                each.state.is_prefilling = False
                if each.made >= each.tokens:
                    self.running.remove(each)
                    del self.output_processor.request_states[each.name]
                    each.done.set()
            self.logger_manager.record(scheduler_stats=SimpleNamespace(num_waiting_reqs=len(self.waiting)))


@dataclass
class Shared:
    """The engine with keys that share it."""

    client: StepwiseClient
    shares: FairShares
    tasks: list[asyncio.Task[float]] = field(default_factory=list)
    number: int = 0

    def ask(self, key: str, tokens: int, n: int = 1, weight: int = 1) -> asyncio.Task[float]:
        """A request; the result is how long it waited until it began."""
        self.number += 1
        share = self.shares.begin(key, weight)
        self.tasks.append(asyncio.create_task(self._answer(share, f"{key}-{self.number}", tokens, n)))
        return self.tasks[-1]

    async def _answer(self, share: ShareOfRequest, name: str, tokens: int, n: int) -> float:
        arrived = now()
        made = 0
        try:
            with sharing(share):
                sequence = await self.client.add_request(name, "text", SimpleNamespace(max_tokens=tokens, n=n))
                await sequence.done.wait()
            made = sequence.made
            return float(sequence.begun - arrived)
        finally:
            share.end(made)

    def running(self, key: str) -> int:
        return sum(each.name.startswith(f"{key}-") for each in self.client.running)


@pytest_asyncio.fixture
async def shared() -> AsyncIterator[Callable[[int], Shared]]:
    made: list[Shared] = []
    running: list[asyncio.Task[None]] = []

    def make(most: int) -> Shared:
        client = StepwiseClient(most)
        fair_sharing.install(client)
        engine_slots.install(client)
        running.append(asyncio.create_task(client.run()))
        made.append(Shared(client, FairShares(now)))
        return made[-1]

    yield make
    for task in (*running, *(task for each in made for task in each.tasks)):
        task.cancel()


async def test_a_burst_leaves_room_for_a_key_that_was_there_before(shared: Callable[[int], Shared]) -> None:
    service = shared(16)
    await service.ask("polite", 5)
    for _ in range(200):
        service.ask("burst", 100)
    waits, running = [], []
    for _ in range(40):
        waits.append(await service.ask("polite", 5))
        await asyncio.sleep(0.3)
        running.append(service.running("burst"))
    assert max(waits) <= 2 * STEP
    assert max(running) == 14, "all but the reserve"
    assert max(service.client.shown) >= 150, "vLLM's metrics show what is held"


async def test_a_single_key_has_the_whole_engine_and_nothing_is_held(shared: Callable[[int], Shared]) -> None:
    service = shared(16)
    for _ in range(50):
        service.ask("one", 100)
    await asyncio.sleep(1)
    assert service.running("one") == 16 and len(service.client.waiting) == 34
    assert service.client.shown[-1] == 34


async def test_what_is_held_is_released_when_the_other_keys_have_gone(
    shared: Callable[[int], Shared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_sharing, "SEVERAL_SECONDS", 3.0)
    service = shared(8)
    await service.ask("polite", 1)
    for _ in range(20):
        service.ask("burst", int(10 / STEP))
    await asyncio.sleep(1)
    assert service.running("burst") == 7 and not service.client.waiting
    await asyncio.sleep(3)
    assert service.running("burst") == 8 and len(service.client.waiting) == 12


async def test_held_requests_of_several_keys_are_released_by_their_weights(shared: Callable[[int], Shared]) -> None:
    service = shared(8)
    for _ in range(150):
        for key, weight in (("a", 1), ("b", 3)):
            service.ask(key, 20, weight=weight)

    def done() -> list[int]:
        return [sum(task.done() for task in service.tasks[index::2]) for index in (0, 1)]

    # Until it is known how long answers are.
    await asyncio.sleep(20 * STEP * 8)
    a, b = done()
    await asyncio.sleep(20 * STEP * 16)
    assert (done()[1] - b) / (done()[0] - a) == pytest.approx(3, rel=0.15)


async def test_clients_that_leave_while_held_leave_nothing(shared: Callable[[int], Shared]) -> None:
    service = shared(4)
    await service.ask("polite", 1)
    burst = [service.ask("burst", 50) for _ in range(30)]
    await asyncio.sleep(0.5)
    for task in burst[:-1]:
        task.cancel()
    await asyncio.sleep(2)
    for each in list(service.client.running):
        each.done.set()
    assert not math.isnan(await burst[-1])
    assert service.client.shown[-1] == 0


async def test_a_request_is_released_and_cancelled_in_the_same_moment() -> None:
    states: dict[str, Any] = {"other": object()}
    slots, shares = EngineSlots(2, states), FairShares(now)
    slots.note("other", "a")
    shares.begin("b", 1)
    share = shares.begin("a", 1)

    async def hold() -> None:
        async with slots.place(share, 1):
            await asyncio.sleep(100)

    for order in ("release first", "cancel first"):
        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        assert slots.held == 1
        if order == "cancel first":
            task.cancel()
        states.clear()
        slots._check()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert slots.held == 0 and not slots._held and not slots._coming
        states["other"] = object()


async def test_a_request_that_is_held_costs_nothing_and_counts_as_queued(shared: Callable[[int], Shared]) -> None:
    service = shared(2)
    await service.ask("polite", 1)
    service.ask("burst", 1000)
    await asyncio.sleep(0.1)
    share, counts = service.shares.begin("burst", 1), EngineCounts()
    with sharing(share), counting(counts):
        held = asyncio.create_task(service.client.add_request("held", "text", SimpleNamespace(max_tokens=5, n=1)))
        await asyncio.sleep(0.1)
    assert share.is_queued and not share.has_begun
    assert (counts.is_known, counts.prompt_tokens, counts.completion_tokens) == (True, 0, 0)
    held.cancel()


@pytest.mark.parametrize("most", [1, 2, 8])
async def test_a_request_with_more_answers_than_the_engine_has_passes(
    shared: Callable[[int], Shared], most: int
) -> None:
    service = shared(most)
    await service.ask("polite", 1)
    assert await service.ask("burst", 5, n=64) <= 2 * STEP


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_arrives_and_leaves_all_are_answered(shared: Callable[[int], Shared], seed: int) -> None:
    chance = random.Random(seed)
    service = shared(chance.choice((1, 2, 5, 16)))
    left = set()
    for _ in range(80):
        task = service.ask(chance.choice("aaab"), chance.randint(1, 30), chance.choice((1, 1, 1, 4)))
        if not chance.randrange(5):
            asyncio.get_running_loop().call_later(chance.random(), task.cancel)
            left.add(task)
        if not chance.randrange(3):
            await asyncio.sleep(chance.random() / 4)
    await asyncio.wait(service.tasks, timeout=10_000 * STEP)
    assert all(task.done() for task in service.tasks)
    assert all(task in left or task.exception() is None for task in service.tasks)
    await asyncio.sleep(2 * STEP)
    assert service.client.shown[-1] == 0
    assert not service.shares._held


@pytest.mark.parametrize(
    "client",
    [
        None,
        SimpleNamespace(add_request=None),
        SimpleNamespace(vllm_config=SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=4))),
    ],
)
async def test_an_engine_that_is_built_in_another_way_is_left_as_it_is(client: Any) -> None:
    before = dict(vars(client)) if client is not None else None
    engine_slots.install(client)
    assert client is None or vars(client) == before


async def test_names_of_ended_sequences_are_forgotten() -> None:
    states: dict[str, Any] = {}
    slots = EngineSlots(8, states)
    for number in range(10_000):
        slots.note(str(number), f"key {number}")
        assert len(slots._owners) <= engine_slots._SWEEP_AT >= len(slots._counted)
