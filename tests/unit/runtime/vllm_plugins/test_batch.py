"""/v1/batch: order, one wrong prompt among right ones, tokens, the gathering window, and clients that go away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace as Object
from typing import Any

import pytest
from pydantic import ValidationError

from llmservice_runtime.vllm_plugins.batch import Batches, BatchRequest, Refused, Window

TOO_LONG = "too long"


class WrongRequest(ValueError):
    """What vLLM raises for a prompt that it can't take."""


class Server:
    """vLLM's completion server: says each prompt backwards; one token for each letter of prompt and answer."""

    def __init__(self, *, raises: bool = False, seconds: float = 0) -> None:
        self.raises = raises
        self.seconds = seconds
        self.calls: list[tuple[list[str], dict[str, Any], Any]] = []
        self.times: list[float] = []
        self.cancelled = 0
        self.failure: Exception | None = None

    async def create_completion(self, request: Any, raw_request: Any = None) -> Any:
        self.calls.append((request.prompt, request.parameters, raw_request))
        self.times.append(asyncio.get_running_loop().time())
        if self.failure:
            raise self.failure
        if request.parameters.get("model", "tiny") != "tiny":
            return refusal("The model does not exist.", 404)
        if TOO_LONG in request.prompt:
            if self.raises:
                raise WrongRequest("This prompt is too long.")
            return refusal("This prompt is too long.", 400)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            return refusal("Client disconnected", 400)
        tokens = sum(map(len, request.prompt))
        choices = [Object(text=prompt[::-1], finish_reason="stop") for prompt in request.prompt]
        usage = Object(prompt_tokens=tokens, completion_tokens=tokens, total_tokens=2 * tokens)
        raw_request.state.request_metadata = Object(final_usage_info=usage)
        return Object(model="tiny", choices=choices, usage=usage)

    def create_error_response(self, message: Any) -> Any:
        return refusal(str(message), 400 if isinstance(message, ValueError) else 500)


def refusal(message: str, code: int) -> Any:
    return Object(error=Object(message=message, type="BadRequestError", param=None, code=code))


def completion(prompt: list[str], **parameters: Any) -> Any:
    return Object(prompt=prompt, parameters=parameters)


def a_request(name: str = "r") -> Any:
    return Object(name=name, state=Object())


def batches(server: Server, window: float = 0, full: int = 100) -> Batches:
    return Batches(server, completion, lambda raw, at: a_request(f"{raw.name}-{at}"), Window(window, full))


async def ask(server: Server, *prompts: str, raw: Any = None, **parameters: Any) -> dict[str, Any]:
    answer = await batches(server).answer(BatchRequest(prompts=list(prompts), **parameters), raw or a_request())
    return answer.model_dump(exclude_none=True)


async def test_all_prompts_go_in_one_call_and_come_back_in_order() -> None:
    server = Server()
    answer = await ask(server, "abc", "de", max_tokens=7, temperature=0)
    assert answer == {
        "model": "tiny",
        "results": [{"text": "cba", "finish_reason": "stop"}, {"text": "ed", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
    }
    assert [call[:2] for call in server.calls] == [(["abc", "de"], {"max_tokens": 7, "temperature": 0})]


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
async def test_a_wrong_prompt_fails_alone(raises: bool) -> None:
    server, raw = Server(raises=raises), a_request()
    answer = await ask(server, "abc", TOO_LONG, "de", raw=raw)
    first, second, third = answer["results"]
    assert (first["text"], third["text"]) == ("cba", "ed")
    assert second == {"error": {"message": "This prompt is too long.", "type": "BadRequestError", "code": 400}}
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    assert raw.state.request_metadata.final_usage_info.total_tokens == 10 + -(-len(TOO_LONG) // 4), (
        "what the front settles: vLLM has read the prompt that it refuses"
    )
    assert [call[2].name for call in server.calls] == ["r", "r-0", "r-1", "r-2"], (
        "the engine knows requests by their ids"
    )


async def test_an_unknown_model_is_refused_as_a_whole() -> None:
    server = Server()
    with pytest.raises(Refused) as caught:
        await ask(server, "abc", "de", model="other")
    assert caught.value.error.code == 404
    assert len(server.calls) == 1


async def test_a_failing_engine_is_no_wrong_prompt() -> None:
    server = Server()
    server.failure = RuntimeError("the engine is dead")
    with pytest.raises(RuntimeError):
        await ask(server, "abc")
    assert len(server.calls) == 1


async def test_an_engine_that_fails_for_one_of_several_prompts_fails_the_request() -> None:
    class Dying(Server):
        async def create_completion(self, request: Any, raw_request: Any = None) -> Any:
            if request.prompt == ["de"]:
                raise RuntimeError("the engine is dead")
            return await super().create_completion(request, raw_request)

    with pytest.raises(RuntimeError, match="the engine is dead"):
        await ask(Dying(), "abc", TOO_LONG, "de")


@pytest.mark.parametrize("prompts", [["abc"], ["abc", TOO_LONG]], ids=["in one call", "one by one"])
async def test_a_client_that_goes_away_ends_the_work_and_starts_none(prompts: list[str]) -> None:
    server = Server(seconds=1000)
    work = asyncio.create_task(ask(server, *prompts))
    for _ in range(10):
        await asyncio.sleep(0)
    before = len(server.calls)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (server.cancelled, len(server.calls)) == (1, before)


@pytest.mark.looptime
async def test_what_comes_within_the_window_goes_to_the_engine_together() -> None:
    server = Server()
    made = batches(server, window=0.5)

    async def come(after: float) -> None:
        await asyncio.sleep(after)
        await made.answer(BatchRequest(prompts=["abc"]), a_request())

    await asyncio.gather(*(come(after) for after in (0, 0.2, 0.4, 0.6)))
    assert server.times == pytest.approx([0.5, 0.5, 0.5, 1.1])


@pytest.mark.looptime
async def test_a_full_window_waits_no_longer() -> None:
    server = Server()
    made = batches(server, window=60, full=3)

    async def come(after: float, *prompts: str) -> None:
        await asyncio.sleep(after)
        await made.answer(BatchRequest(prompts=list(prompts)), a_request())

    await asyncio.gather(come(0, "a"), come(1, "b", "c"), come(2, "d"))
    assert server.times == pytest.approx([1, 1, 62])


@pytest.mark.looptime
async def test_who_leaves_the_window_keeps_nobody_in_it() -> None:
    server = Server()
    made = batches(server, window=0.5)
    gone, stays = (
        asyncio.create_task(made.answer(BatchRequest(prompts=[name]), a_request())) for name in ("gone", "stays")
    )
    await asyncio.sleep(0.1)
    gone.cancel()
    await stays
    assert server.times == pytest.approx([0.5])
    assert server.calls[0][0] == ["stays"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompts": []},
        {"prompts": "abc"},
        {"prompts": [1, 2]},
        {"prompts": ["a"] * 1025},
        {"prompts": ["a"], "max_tokens": 0},
        {"prompts": ["a"], "temperature": -1},
        {"prompts": ["a"], "temperature": float("nan")},
        {"prompts": ["a"], "top_p": 0},
        {"prompts": ["a"], "n": 2},
        {"prompts": ["a"], "stream": True},
    ],
    ids=str,
)
def test_what_is_wrong_with_the_whole_is_told_before_any_prompt_is_looked_at(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BatchRequest.model_validate(body)
