"""The runtime as a client meets it, with real vLLM on this machine's CPU: keys, batches, JSON lines, and a stop that
cuts nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmservice_contract.keys import make_key
from llmservice_contract.policy import Policy
from support.engine import Engine, make_model

PROMPTS = ["Permission is hereby granted, free of", "The quick brown fox", "What is the capital of"]
STREAMS = 50
TOKENS = 1000
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@dataclass(frozen=True)
class Guarded:
    """An engine that asks for keys, and one of them."""

    engine: Engine
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.engine.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def guarded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    plain, stored = make_key(secrets.token_bytes(40))
    keys, policy = directory / "keys", directory / "access.json"
    keys.mkdir()
    (keys / stored.id).write_text(stored.entry())
    policy.write_text(Policy(requireKeys=True).to_json())
    environ = {"API_KEYS": str(keys), "ACCESS_POLICY": str(policy), "BATCH_TIMEOUT_MS": "50"}
    with Engine(directory, model, MAX_CONTEXT_LENGTH="512", **environ) as running:
        running.wait_until_ready()
        yield Guarded(running, plain)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def completion(prompt: str = PROMPTS[0], **options: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 12, **options}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/batch"])
async def test_work_needs_a_key(guarded: Guarded, client: aiohttp.ClientSession, path: str) -> None:
    body = completion() if path == "/v1/completions" else {"prompts": PROMPTS[:1]}
    for headers in ({}, {"Authorization": "Bearer not-a-key"}):
        async with client.post(guarded.url + path, json=body, headers=headers) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "key" in (await answer.json())["error"]["message"]
    async with client.post(guarded.url + path, json=body, headers=guarded.headers) as answer:
        assert answer.status == 200


async def test_readiness_needs_none_and_stopping_is_not_for_clients(
    guarded: Guarded, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{guarded.url}/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reason": None})
    forwarded = guarded.headers | {"X-Forwarded-For": "10.0.0.1"}
    async with client.post(f"{guarded.url}/drain", headers=forwarded) as answer:
        assert answer.status in (401, 403)
    async with client.get(f"{guarded.url}/ready") as answer:
        assert answer.status == 200


async def batch(guarded: Guarded, client: aiohttp.ClientSession, *prompts: str, **options: Any) -> Any:
    body = {"prompts": prompts, "temperature": 0, "max_tokens": 12, **options}
    async with client.post(f"{guarded.url}/v1/batch", json=body, headers=guarded.headers) as answer:
        return answer.status, await answer.json()


async def one_by_one(guarded: Guarded, client: aiohttp.ClientSession) -> list[Any]:
    answers = []
    for prompt in PROMPTS:
        url = f"{guarded.url}/v1/completions"
        async with client.post(url, json=completion(prompt), headers=guarded.headers) as answer:
            answers.append(await answer.json())
    return answers


async def test_a_batch_says_in_order_what_its_prompts_alone_are_answered(
    guarded: Guarded, client: aiohttp.ClientSession
) -> None:
    single = await one_by_one(guarded, client)
    status, answer = await batch(guarded, client, *PROMPTS)
    assert status == 200
    assert [result["text"] for result in answer["results"]] == [each["choices"][0]["text"] for each in single]
    assert len({result["text"] for result in answer["results"]}) == len(PROMPTS)
    assert answer["model"] == "tiny"
    assert answer["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in single)


async def test_one_prompt_that_is_too_long_fails_alone(guarded: Guarded, client: aiohttp.ClientSession) -> None:
    single = await one_by_one(guarded, client)
    status, answer = await batch(guarded, client, PROMPTS[0], "fox " * 2000, *PROMPTS[1:])
    assert status == 200
    first, failed, *rest = answer["results"]
    assert [each["text"] for each in (first, *rest)] == [each["choices"][0]["text"] for each in single]
    assert failed.keys() == {"error"}
    assert failed["error"]["code"] == 400
    assert "512" in failed["error"]["message"], "it says how long a prompt may be"
    assert answer["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in single)


@pytest.mark.parametrize(
    ("options", "status"), [({"model": "other"}, 404), ({"temperature": -1}, 400), ({"n": 2}, 400)], ids=str
)
async def test_what_is_wrong_with_a_whole_batch_refuses_it(
    guarded: Guarded, client: aiohttp.ClientSession, options: dict[str, Any], status: int
) -> None:
    got, answer = await batch(guarded, client, *PROMPTS, **options)
    assert (got, answer.keys()) == (status, {"error"})


def of_content(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("id", "created")}


async def test_json_lines_say_what_the_events_say(guarded: Guarded, client: aiohttp.ClientSession) -> None:
    url, body = f"{guarded.url}/v1/completions", completion(stream=True, stream_options={"include_usage": True})
    async with client.post(url, json=body, headers=guarded.headers) as answer:
        assert answer.content_type == "text/event-stream"
        events = [line.removeprefix("data: ") for line in (await answer.text()).split("\n\n")[:-1]]
    headers = guarded.headers | {"Accept": "application/x-ndjson"}
    async with client.post(url, json=body, headers=headers) as answer:
        assert answer.content_type == "application/x-ndjson"
        lines = (await answer.text()).split("\n")[:-1]
    assert events.pop() == "[DONE]"
    assert len(lines) > 10
    assert [of_content(json.loads(line)) for line in lines] == [of_content(json.loads(event)) for event in events]


async def stream(client: aiohttp.ClientSession, url: str, begun: asyncio.Semaphore) -> tuple[int, bool]:
    """How many tokens came, and whether the stream ended with its end mark."""
    body = completion(stream=True, max_tokens=TOKENS, ignore_eos=True, stream_options={"include_usage": True})
    tokens, last = 0, b""
    async with client.post(f"{url}/v1/completions", json=body) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if not last:
                begun.release()
            last = line.removeprefix(b"data: ").strip()
            if last != b"[DONE]" and (usage := json.loads(last).get("usage")):
                tokens = usage["completion_tokens"]
    return tokens, last == b"[DONE]"


async def status_of(client: aiohttp.ClientSession, method: str, url: str, **options: Any) -> int | None:
    """None: nobody listens any more."""
    try:
        async with client.request(method, url, **options) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return None


async def first_other(client: aiohttp.ClientSession, than: int, method: str, url: str, **options: Any) -> int | None:
    """The first answer that is another than this one; the caller bounds the time."""
    while True:
        status = await status_of(client, method, url, **options)
        if status != than:
            return status
        await asyncio.sleep(0.05)


async def test_a_stop_under_load_cuts_no_stream_and_takes_no_new_one(
    model: Path, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    times = {"LAME_DUCK_SECONDS": "2", "DRAIN_SECONDS": str(PATIENCE_SECONDS)}
    with Engine(tmp_path, model, MAX_CONTEXT_LENGTH="2048", **times) as engine:
        await asyncio.to_thread(engine.wait_until_ready)
        url, begun = f"http://127.0.0.1:{engine.port}", asyncio.Semaphore(0)
        streams = [asyncio.create_task(stream(client, url, begun)) for _ in range(STREAMS)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(STREAMS):
                await begun.acquire()
            engine.process.send_signal(signal.SIGTERM)
            assert await first_other(client, 200, "GET", f"{url}/ready") == 503
            short = completion(max_tokens=1)
            assert await status_of(client, "POST", f"{url}/v1/completions", json=short) == 200, (
                "a lame duck still works"
            )
            assert await first_other(client, 200, "POST", f"{url}/v1/completions", json=short) == 503
            assert not any(each.done() for each in streams), "the streams outlast the beginning of the stop"
            engine.process.send_signal(signal.SIGTERM)
            assert await asyncio.gather(*streams) == [(TOKENS, True)] * STREAMS
        assert await asyncio.to_thread(engine.process.wait, PATIENCE_SECONDS) == 0
    assert not engine.termination_log.exists(), "who was asked to stop has no last words"
    assert "drained in " in engine.log.read_text()
    assert await status_of(client, "GET", f"{url}/ready") is None


def test_a_stop_while_it_loads_is_passed_on_at_once(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, LAME_DUCK_SECONDS="600") as engine:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "non-default args" not in engine.log.read_text():
            assert time.monotonic() < deadline, engine.log_end()
            time.sleep(0.1)
        engine.process.send_signal(signal.SIGTERM)
        engine.process.wait(PATIENCE_SECONDS)
    assert "nothing to drain" in engine.log.read_text()
    assert not engine.termination_log.exists()
