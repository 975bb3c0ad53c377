"""A stop of the runtime as a client meets it, with real vLLM on this machine's CPU: it cuts nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.engine import Engine, make_model

PROMPT = "Permission is hereby granted, free of"
STREAMS = 50
TOKENS = 400
LONGEST_TOKENS = 1900
"""Of one stream: so many that it outlasts the lame duck on a fast machine too."""
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def completion(**options: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": PROMPT, "temperature": 0, "max_tokens": 12, **options}


async def stream(
    client: aiohttp.ClientSession, url: str, begun: asyncio.Semaphore, tokens_wanted: int
) -> tuple[int, bool]:
    """How many tokens came, and whether the stream ended with its end mark."""
    body = completion(stream=True, max_tokens=tokens_wanted, ignore_eos=True, stream_options={"include_usage": True})
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
    """None: the port is closed."""
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
        wanted = [LONGEST_TOKENS] + [TOKENS] * (STREAMS - 1)
        streams = [asyncio.create_task(stream(client, url, begun, tokens)) for tokens in wanted]
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
            assert not streams[0].done(), "a stream outlasts the beginning of the stop"
            engine.process.send_signal(signal.SIGTERM)
            assert await asyncio.gather(*streams) == [(tokens, True) for tokens in wanted]
        assert await asyncio.to_thread(engine.process.wait, PATIENCE_SECONDS) == 0
    assert not engine.termination_log.exists(), "an engine with a stop signal writes no termination message"
    assert "drained in " in engine.log.read_text()
    assert await status_of(client, "GET", f"{url}/ready") is None


@pytest.mark.campaign
def test_a_stop_while_it_loads_is_passed_on_at_once(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, LAME_DUCK_SECONDS="300") as engine:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "non-default args" not in engine.log.read_text():
            assert time.monotonic() < deadline, engine.log_end()
            time.sleep(0.1)
        engine.process.send_signal(signal.SIGTERM)
        engine.process.wait(PATIENCE_SECONDS)
    assert "nothing to drain" in engine.log.read_text()
    assert not engine.termination_log.exists()
