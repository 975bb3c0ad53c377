"""The tokens of a running request are those that vLLM's engine has counted, where it is built as expected."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_contract.policy import Policy, RateLimit
from llmservice_runtime.gateway.engine_counts import EngineCounts, counting, current, install
from llmservice_runtime.rate_limits.memory import MemoryLimiter
from support.counted_engine import answering, counted, request

CHAT = "/v1/chat/completions"
LIMIT = RateLimit(None, 100_000)

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_requests_that_run_at_the_same_time_are_counted_apart() -> None:
    processor = counted(per_second=10)
    mine, other = EngineCounts(), EngineCounts()

    async def ask(counts: EngineCounts, name: str, prompt: int) -> None:
        with counting(counts):
            await asyncio.create_task(asyncio.sleep(1))
            await asyncio.create_task(add(name, prompt))

    async def add(name: str, prompt: int) -> None:
        processor.add_request(request(name, prompt), "text")

    await asyncio.gather(ask(mine, "a", 7), ask(other, "b", 11))
    processor.add_request(request("c", 500), "text")
    await asyncio.sleep(2)
    assert (mine.prompt_tokens, mine.completion_tokens) == (7, 20)
    assert (other.prompt_tokens, other.completion_tokens) == (11, 20)


async def test_several_answers_to_a_prompt_read_it_once_and_a_request_that_goes_on_is_one() -> None:
    processor, counts = counted(per_second=10), EngineCounts()
    with counting(counts):
        for index in range(3):
            processor.add_request(request(f"{index}_a", 7), "text", object(), index, None)
        processor.add_request(request("0_a", 7), "text", object(), 0, None)
    await asyncio.sleep(1)
    assert (counts.prompt_tokens, counts.completion_tokens) == (7, 30)


@pytest.mark.parametrize(
    "engine_client",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(output_processor=object()),
        SimpleNamespace(output_processor=SimpleNamespace(add_request=lambda *_: None, request_states=[])),
    ],
)
async def test_an_engine_that_is_built_in_another_way_is_left_as_it_is(engine_client: Any) -> None:
    before = getattr(getattr(engine_client, "output_processor", None), "add_request", None)
    install(engine_client)
    assert getattr(getattr(engine_client, "output_processor", None), "add_request", None) is before


async def test_the_first_token_is_that_of_the_first_answer(house: Any) -> None:
    states = {
        name: SimpleNamespace(prompt_len=1, detokenizer=None, stats=SimpleNamespace(first_token_latency=seconds))
        for name, seconds in (("a", 0.5), ("b", 0.25))
    }

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        counts = current()
        assert counts is not None
        for name in states:
            counts.add(name, states, is_first=True)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    house.app.answer = answer
    await house.ask("POST", CHAT, {"messages": [], "max_tokens": 5})
    assert house.meter.first_tokens == [("default", 0.5)]
    for stats in (None, SimpleNamespace(), SimpleNamespace(first_token_latency=0.0)):
        counts = EngineCounts()
        counts.add("a", {"a": SimpleNamespace(prompt_len=1, detokenizer=None, stats=stats)}, is_first=True)
        assert counts.first_token_seconds is None
    assert EngineCounts().first_token_seconds is None


async def test_states_of_another_form_are_not_counted() -> None:
    counts = EngineCounts()
    states: dict[str, Any] = {
        "a": object(),
        "b": SimpleNamespace(prompt_len="x"),
        "c": SimpleNamespace(prompt_len=1, detokenizer=object()),
        "d": SimpleNamespace(prompt_len=5, detokenizer=None),
    }
    for name in ("a", "b", "c", "gone"):
        counts.add(name, states, is_first=True)
    assert not counts.is_known
    counts.add("d", states, is_first=True)
    assert (counts.is_known, counts.prompt_tokens, counts.completion_tokens) == (True, 5, 0)


async def test_a_beam_search_keeps_no_state_that_vllm_has_dropped_and_reads_its_prompt_once() -> None:
    processor, counts = counted(per_second=1, most=1), EngineCounts(prompts=1)
    with counting(counts):
        for step in range(100):
            for beam in range(4):
                processor.add_request(request(f"{step}-{beam}", 10 + step), None)
            await asyncio.sleep(1)
            processor.request_states.clear()
            assert len(counts) <= 64 + 4
    assert (counts.prompt_tokens, counts.completion_tokens) == (10, 400)
    assert len(counts) == 0


async def test_an_answer_that_is_no_stream_is_charged_while_the_engine_makes_it(house: Any) -> None:
    processor = counted(per_second=20)
    house.app.answer = answering(processor, prompt=9, seconds=5.5)
    await house.ask("POST", CHAT, {"messages": [], "max_tokens": 1000})
    used = [used for used, _ in house.limiter.charges]
    assert used == [9 + 20, 20, 20, 20, 20, 10]


async def test_a_client_that_leaves_pays_for_what_the_engine_made(house: Any) -> None:
    processor = counted(per_second=20)
    house.app.answer = answering(processor, prompt=9, seconds=100)
    house.caps(deadline_seconds=10)
    reply = await house.ask("POST", CHAT, {"messages": [], "max_tokens": 50_000})
    assert reply.status == 504
    assert house.limiter.settled[-1][1] == pytest.approx(9 + 200, abs=20)


async def test_an_open_answer_that_is_no_stream_ends_by_what_the_engine_made(house: Any) -> None:
    house.policy = Policy(require_keys=True, tiers={"default": LIMIT})
    house.limiter.has_room = False
    processor = counted(per_second=50)
    house.app.answer = answering(processor, prompt=9, seconds=1000)
    reply = await house.ask("POST", CHAT, {"messages": []})
    assert (reply.status, reply.error["code"]) == (429, "tokens_per_minute")
    assert asyncio.get_running_loop().time() == pytest.approx(1024 / 50, rel=0.03)
    assert 1000 <= house.limiter.settled[-1][1] <= 1024


async def test_an_open_answer_ends_at_once_if_its_prompt_was_far_longer_than_estimated(house: Any) -> None:
    house.policy = Policy(require_keys=True, tiers={"default": LIMIT})
    house.limiter.has_room = False
    processor = counted(per_second=50)
    house.app.answer = answering(processor, prompt=90_000, seconds=1000)
    assert (await house.ask("POST", CHAT, {"messages": []})).status == 429
    assert asyncio.get_running_loop().time() < 2


async def test_eight_fast_answers_at_once_stay_within_a_small_limit(house: Any) -> None:
    limit = 1500
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, limit)})
    house.with_parts(limiter=MemoryLimiter(lambda: asyncio.get_running_loop().time()))
    processor = counted(per_second=500)
    house.app.answer = answering(processor, prompt=22, seconds=1000, stops_after=0.05)
    replies = await asyncio.gather(*(house.ask("POST", CHAT, {"messages": []}) for _ in range(8)))
    assert {each.status for each in replies} == {429}
    line = house.lines()
    used = sum(each["prompt_tokens"] + each["completion_tokens"] for each in line)
    assert limit * 0.7 < used <= limit * 1.02
