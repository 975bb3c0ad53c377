"""What the client times and what it calls an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmservice_operator.cli.inference.events import Events
from serving.answer import CUT, Answer
from serving.client import Client, session
from serving.errors import Unusable


class Clock:
    """Time passes in the server's pauses alone, and each of them waits until the client has looked at the clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._looked = asyncio.Event()

    def now(self) -> float:
        self._looked.set()
        return self.time

    async def sleep(self, seconds: float) -> None:
        await self._looked.wait()
        self._looked.clear()
        self.time += seconds


async def ask(
    fake: Any,
    model: str = "tiny",
    limit: float = 10.0,
    url: str = "",
    now: Callable[[], float] = time.perf_counter,
) -> Answer:
    async with session(fake.key, limit) as http:
        return await Client(http, url or fake.url, model, now=now).ask("a b c", 6, lambda _: None)


def test_events_come_in_pieces_of_any_size() -> None:
    whole = b': ping\n\ndata: {"a": 1}\n\ndata:[DONE]\r\n\r\n'
    for size in range(1, len(whole) + 1):
        events = Events()
        found = [each for at in range(0, len(whole), size) for each in events.feed(whole[at : at + size])]
        assert found == [b'{"a": 1}', b"[DONE]"], size


async def test_chunks_are_timed_when_they_come(fake: Any) -> None:
    clock = Clock()
    fake.pauses, fake.sleep = (0.2, 0.05, 0.1), clock.sleep
    answer = await ask(fake, now=clock.now)
    assert answer.succeeded, answer
    assert answer.first_token == pytest.approx(0.2), "neither the headers nor a comment is a first token"
    assert answer.gaps == pytest.approx([0.05, 0.1])
    assert answer.latency == pytest.approx(0.35), "usage and [DONE] are no chunks"
    assert (answer.prompt_tokens, answer.output_tokens) == (3, 6)
    assert fake.asked[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("http", "http_429"),
        ("empty", "empty_answer"),
        ("broken", "broken_stream"),
        ("no_end", "broken_stream"),
        ("in_stream", "error_in_stream"),
        ("no_json", "bad_answer"),
    ],
)
async def test_each_fault_has_its_kind(fake: Any, fault: str, kind: str) -> None:
    fake.fault = fault
    answer = await ask(fake)
    assert answer.error == kind, answer
    assert answer.failed


async def test_a_slow_and_an_absent_server(fake: Any) -> None:
    fake.pauses = (5.0,)
    assert (await ask(fake, limit=0.2)).error == "timeout"
    assert (await ask(fake, url="http://127.0.0.1:9")).error == "connection"


async def test_a_request_that_is_cut_is_recorded_with_what_came(fake: Any) -> None:
    fake.pauses = (0.0, 5.0)
    recorded: list[Answer] = []
    async with session(None, 10.0) as http:
        task = asyncio.create_task(Client(http, fake.url, "tiny").ask("a", 2, recorded.append))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})
    (cut,) = recorded
    assert (cut.error, len(cut.chunks), cut.failed) == (CUT, 1, False)


@pytest.mark.parametrize(
    ("model", "key", "url", "words"),
    [
        ("other", None, "", "serves no model named other"),
        ("tiny", "wrong", "", "refused the key"),
        ("tiny", "right", "http://127.0.0.1:9", "there is no server at http://127.0.0.1:9"),
    ],
)
async def test_a_server_that_can_not_be_measured_is_explained(
    fake: Any, model: str, key: str | None, url: str, words: str
) -> None:
    fake.key = "right" if key else ""
    async with session(key, 5.0) as http:
        with pytest.raises(Unusable, match=words):
            await Client(http, url or fake.url, model).count("a")
