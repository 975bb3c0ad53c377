"""Limits that three replicas share through a real Redis, as their clients meet them.

Each replica is a server of its own with the whole front, asked over HTTP. The engine behind it is the benchmarks' stub,
which answers at once and tells its tokens.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from llmservice_contract.policy import Policy, RateLimit, Store
from support.access import AccessFiles
from support.cluster import wait_until
from support.engine import ROOT, vllm_python
from support.ports import free_port
from support.redis_server import RedisServer
from support.web import answers

STUB = ROOT / "hack" / "bench" / "overhead" / "stub.py"
REPLICAS = 3
REQUESTS, TOKENS = 900, 60_000
TIERS = {"default": RateLimit(requests_per_minute=REQUESTS), "tokens": RateLimit(tokens_per_minute=TOKENS)}
ANSWER_TOKENS, PROMPT_TOKENS = 45, 5
"""What the stub tells of its prompts."""
CLIENTS = 24
TOLERANCE = 0.01
WINDOW_SECONDS = 60
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Replicas:
    """Their addresses, and the files from which all of them know keys."""

    urls: list[str]
    access: AccessFiles


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    directory = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory / "redis"))
        store = Store(redis.address, prefix="team-a:")
        access = AccessFiles(directory, Policy(require_keys=True, tiers=TIERS, store=store))
        urls = [stack.enter_context(Served(access, directory / f"{number}.log")).url for number in range(REPLICAS)]
        yield Replicas(urls, access)


class Served:
    """A stub with the front; a context manager that yields once it answers."""

    def __init__(self, access: AccessFiles, log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "runtime"), "SERVED_MODEL_NAMES": "tiny"}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [vllm_python(), STUB, str(port), "front"],
                env=environ | access.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Served:
        wait_until(self._answers, "the replica answers", timeout=PATIENCE_SECONDS, every=0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        return answers(f"{self.url}/health")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as made:
        yield made


@dataclass
class Tally:
    """The usage that all replicas reported to one key's clients."""

    granted: list[int]
    """By replica."""
    refusals: list[tuple[str, int]]
    """What each said was used up, and the seconds to wait."""


async def use_up(replicas: Replicas, session: aiohttp.ClientSession, key: str) -> Tally:
    """Many clients at once, each of one replica, ask until that refuses them."""
    tally = Tally([0] * REPLICAS, [])
    body = json.dumps({"model": "tiny", "prompt": "one two three", "max_tokens": ANSWER_TOKENS, "stream": True})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    async def client(number: int) -> None:
        while True:
            url = f"{replicas.urls[number]}/v1/completions"
            async with session.post(url, data=body, headers=headers) as answer:
                text = await answer.text()
            if answer.status != 200:
                assert answer.status == 429, text
                tally.refusals.append((json.loads(text)["error"]["type"], int(answer.headers["Retry-After"])))
                return
            tally.granted[number] += 1

    numbers = itertools.islice(itertools.cycle(range(REPLICAS)), CLIENTS)
    await asyncio.gather(*(client(number) for number in numbers))
    return tally


async def test_requests_over_all_replicas(replicas: Replicas, session: aiohttp.ClientSession) -> None:
    key = replicas.access.make_key()
    await known(replicas, session, key)
    began = time.monotonic()
    tally = await use_up(replicas, session, key)
    assert time.monotonic() - began < WINDOW_SECONDS / 2, "within one window, else the count says nothing"
    assert sum(tally.granted) == pytest.approx(REQUESTS, rel=TOLERANCE)
    assert min(tally.granted) > 0, "each replica has let some pass"
    assert {what for what, _ in tally.refusals} == {"requests"}
    assert all(1 <= seconds <= WINDOW_SECONDS for _, seconds in tally.refusals)


async def test_tokens_over_all_replicas(replicas: Replicas, session: aiohttp.ClientSession) -> None:
    key = replicas.access.make_key("tokens")
    await known(replicas, session, key)
    tally = await use_up(replicas, session, key)
    assert sum(tally.granted) * (PROMPT_TOKENS + ANSWER_TOKENS) == pytest.approx(TOKENS, rel=TOLERANCE)
    assert min(tally.granted) > 0
    assert {what for what, _ in tally.refusals} == {"tokens"}


async def test_other_keys_have_their_own(replicas: Replicas, session: aiohttp.ClientSession) -> None:
    spent, fresh = replicas.access.make_key(), replicas.access.make_key()
    await known(replicas, session, fresh)
    await use_up(replicas, session, spent)
    headers = {"Authorization": f"Bearer {fresh}"}
    for left, url in zip(range(REQUESTS - 1, 0, -1), replicas.urls, strict=False):
        async with session.post(f"{url}/v1/completions", json={"max_tokens": 1}, headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["x-ratelimit-remaining-requests"] == str(left)


async def known(replicas: Replicas, session: aiohttp.ClientSession, key: str) -> None:
    """Returns once every replica has read the key; what asks for no work counts against no limit."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for url in replicas.urls:
            while True:
                async with session.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}) as answer:
                    if answer.status != 401:
                        break
                await asyncio.sleep(0.1)
