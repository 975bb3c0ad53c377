"""A request with many prompts leaves the event loop to others in between; one with few prompts never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llmservice_runtime.gateway import pacing
from llmservice_runtime.gateway.pacing import HTTP_REQUEST, Pace

MOST = 4


class Engine:
    """vLLM's engine client, which counts the prompts of each pass of the event loop."""

    def __init__(self) -> None:
        self.in_passes: list[int] = [0]
        self.order: list[str] = []
        self.renderer = Renderer(self)

    async def add_request(self, request_id: str, *, priority: int = 0) -> tuple[str, int]:
        self.count(request_id)
        return request_id, priority

    def count(self, name: str) -> None:
        self.in_passes[-1] += 1
        self.order.append(name)


class Renderer:
    """vLLM's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def tokenize_prompt_async(self, prompt: str, params: Any) -> str:
        self.engine.count(prompt)
        return prompt


class Completions:
    """vLLM's completion server, which makes a request's parameters for one prompt after the other."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def _get_trace_headers(self, headers: str) -> None:
        self.engine.count(headers)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(Pace.__init__, "__defaults__", (MOST,))
    engine = Engine()
    pacing.install(engine)
    return engine


async def all_of(engine: Engine, *requests: Awaitable[Any]) -> list[Any]:
    """Their results, with the passes of the event loop counted."""

    async def passes() -> None:
        while True:
            await asyncio.sleep(0)
            engine.in_passes.append(0)

    counting = asyncio.create_task(passes())
    try:
        return await asyncio.wait_for(asyncio.gather(*requests), 60)
    finally:
        counting.cancel()


async def http_request(name: str, prompts: int, call: Callable[[str], Awaitable[Any]]) -> list[Any]:
    HTTP_REQUEST.set(object())
    return await asyncio.gather(*(call(f"{name}{number}") for number in range(prompts)))


def tokenizing(engine: Engine) -> Callable[[str], Awaitable[Any]]:
    return lambda prompt: engine.renderer.tokenize_prompt_async(prompt, None)


async def test_parameters_are_made_in_several_passes(engine: Engine) -> None:
    completions = Completions(engine)
    pacing.install(None, completions)

    async def prepare(prompts: int) -> None:
        for number in range(prompts):
            await completions._get_trace_headers(str(number))

    await all_of(engine, asyncio.create_task(prepare(100)))
    assert engine.order == [str(number) for number in range(100)]
    assert max(engine.in_passes) <= 2 * MOST


@pytest.mark.parametrize("tokenizes", [False, True], ids=["starts", "tokenizes"])
async def test_no_pass_of_the_loop_has_more_than_its_share(engine: Engine, tokenizes: bool) -> None:
    call = tokenizing(engine) if tokenizes else engine.add_request
    await all_of(engine, *(asyncio.create_task(http_request(name, 50, call)) for name in "abc"))
    assert len(engine.order) == 150
    # What went on by itself in a pass may be followed by what waited.
    assert max(engine.in_passes) <= 2 * MOST


async def test_each_prompt_gets_what_is_its_own(engine: Engine) -> None:
    async def start(name: str) -> Any:
        return await engine.add_request(name, priority=7)

    (found,) = await all_of(engine, asyncio.create_task(http_request("a", 9, start)))
    assert found == [(f"a{number}", 7) for number in range(9)]
    assert engine.order == [f"a{number}" for number in range(9)]


async def test_a_request_with_one_prompt_does_not_wait_for_one_with_many(engine: Engine) -> None:
    many = asyncio.create_task(http_request("many", 100, engine.add_request))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await all_of(engine, many, asyncio.create_task(http_request("one", 1, engine.add_request)))
    assert engine.order.index("one0") < 4 * MOST


async def test_of_two_with_many_one_is_done_before_the_other_begins(engine: Engine) -> None:
    """Else vLLM would go on with all of them in the same pass."""
    await all_of(engine, *(asyncio.create_task(http_request(name, 60, tokenizing(engine))) for name in "ab"))
    at = {name: [place for place, each in enumerate(engine.order) if each[0] == name] for name in "ab"}
    first, second = sorted(at.values(), key=lambda places: places[-1])
    assert first[-1] < 60 + 2 * MOST and second[-1] == 119


async def test_who_gives_up_takes_nobodys_place(engine: Engine) -> None:
    gone = asyncio.create_task(http_request("gone", 100, engine.add_request))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    await all_of(engine, asyncio.create_task(http_request("b", 10, engine.add_request)))
    assert gone.cancelled()
    assert len([each for each in engine.order if each.startswith("gone")]) <= 2 * MOST
    assert engine.order[-10:] == [f"b{number}" for number in range(10)]


async def test_nothing_is_left_scheduled_when_nothing_waits(engine: Engine) -> None:
    pace = Pace(1)
    for _ in range(3):
        await asyncio.wait_for(pace.wait(), 60)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not pace._is_scheduled and not pace._waiting


async def test_what_a_version_of_vllm_does_not_have_is_left_as_it_is() -> None:
    class Other:
        async def add_request(self, name: str) -> str:
            return name

    other = Other()
    pacing.install(other, object())
    assert await other.add_request("a") == "a"
