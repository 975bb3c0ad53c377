"""What is reserved for a prompt follows what vLLM counted in the key's last ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmservice_contract.policy import Policy, RateLimit
from llmservice_runtime.gateway.estimates import MOST_KEYS, Estimates
from support.counted_engine import answering, counted

CHAT = "/v1/chat/completions"


def test_a_key_that_was_underestimated_reserves_more_and_others_do_not() -> None:
    estimates = Estimates()
    estimates.learn("a", 100, 350)
    assert (estimates.tokens("a", 1000), estimates.tokens("b", 1000)) == (3500, 1000)
    estimates.learn("a", 100, 1000)
    assert estimates.tokens("a", 1000) == 4000, "a token for each byte is the most"


def test_honest_prompts_bring_the_estimate_back_slowly() -> None:
    estimates = Estimates()
    estimates.learn("a", 100, 400)
    estimates.learn("a", 100, 100)
    assert estimates.tokens("a", 1000) == 3600
    for _ in range(20):
        estimates.learn("a", 100, 100)
    assert estimates.tokens("a", 1000) == 1000


def test_short_prompts_tell_nothing_and_few_tokens_take_nothing_off() -> None:
    estimates = Estimates()
    estimates.learn("a", 5, 25)
    estimates.learn("a", 100, 1)
    assert estimates.tokens("a", 1000) == 1000


def test_the_number_of_keys_is_bounded() -> None:
    estimates = Estimates()
    for number in range(MOST_KEYS + 1):
        estimates.learn(str(number), 100, 400)
    assert estimates.tokens("0", 100) == 100 and estimates.tokens("1", 100) == 400


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_the_second_prompt_of_a_key_reserves_what_the_first_one_took(house: Any) -> None:
    limit = 3000
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, limit)})
    processor = counted(per_second=10)
    house.app.answer = answering(processor, prompt=900, seconds=0.5)
    body = {"messages": [{"role": "user", "content": "x" * 1200}], "max_tokens": 100}
    for _ in range(2):
        await house.ask("POST", CHAT, body)
    assert [ask.tokens for ask in house.limiter.asks] == [300 + 100, 900 + 100]
    body["messages"] = [{"role": "user", "content": "x" * 6000}]
    await house.ask("POST", CHAT, body)
    assert house.limiter.asks[-1].tokens == limit, "it may still pass"
    assert asyncio.get_running_loop().time() == pytest.approx(1.5)


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_a_beam_search_tells_nothing_about_prompts(house: Any) -> None:
    processor = counted(per_second=10)
    house.app.answer = answering(processor, prompt=900, seconds=0.5)
    body = {"messages": [{"role": "user", "content": "x" * 1200}], "max_tokens": 100, "use_beam_search": True, "n": 4}
    for _ in range(2):
        await house.ask("POST", CHAT, body)
    assert house.limiter.asks[0].tokens == house.limiter.asks[1].tokens
