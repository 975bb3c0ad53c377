"""The counts of canaries are read from all pods of the gateway, whatever they answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from llmservice_operator.controller.gateway_counts import GatewayCounts
from llmservice_operator.planner.model.canary_counts import CanaryCounts, RequestCounts

KEY = ("team-a", "chat")
NOTHING = {"requests": 0, "failed": 0, "timed": 0, "logSum": 0, "logSquares": 0}


def entry(service: str = "chat", **changed: Any) -> dict[str, Any]:
    canary = {"requests": 5, "failed": 1, "timed": 4, "logSum": -2.5, "logSquares": 3}
    found = {"namespace": "team-a", "service": service, "revision": "chat-7f9", "braked": False}
    return {**found, "canary": canary, "old": {**NOTHING, "requests": 90}, **changed}


@pytest.fixture
async def pods(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Starts pods of a gateway, each with its answer; what reads them."""
    runners: list[web.AppRunner] = []

    async def start(*answers: Any) -> GatewayCounts:
        port = 0
        for number, answer in enumerate(answers, 1):

            async def respond(_: web.Request, answer: Any = answer) -> web.Response:
                return web.Response(text=answer) if isinstance(answer, str) else web.json_response(answer)

            app = web.Application()
            app.router.add_get("/canaries", respond)
            runner = web.AppRunner(app)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, f"127.0.0.{number}", port)
            await site.start()
            port = int(runner.addresses[0][1])

        async def addresses(host: str, port: int, **_: Any) -> list[Any]:
            assert host == "gateway-pods"
            return [(socket.AF_INET, 1, 6, "", (f"127.0.0.{each}", port)) for each in range(1, len(answers) + 1)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        return GatewayCounts(f"http://gateway-pods:{port}")

    yield start
    for each in runners:
        await each.cleanup()


async def test_the_counts_of_all_pods_are_added(pods: Callable[..., Any]) -> None:
    counts = await pods([entry(), entry("other")], [entry(braked=True), entry(revision="chat-111")])
    found = await counts.of(KEY)
    assert set(found) == {"chat-7f9", "chat-111"}
    assert found["chat-7f9"] == CanaryCounts(RequestCounts(10, 2, 8, -5.0, 6.0), RequestCounts(180), braked=True)
    assert await counts.of(("team-b", "chat")) == {}


@pytest.mark.parametrize(
    "answer",
    [
        [None, 7, {}, [entry()]],
        [entry(canary=None)],
        [entry(canary={**NOTHING, "requests": -1})],
        [entry(canary={**NOTHING, "requests": "5"})],
        [entry(canary={**NOTHING, "requests": 10**400})],
        [entry(old={**NOTHING, "logSum": 1e300})],
        [entry(old={**NOTHING, "requests": True})],
        [entry(revision="")],
        '[{"namespace": "team-a", "service": "chat", "revision": "x", "canary": {"logSum": NaN}, "old": {}}]',
    ],
    ids=str,
)
async def test_senseless_entries_are_left_out(pods: Callable[..., Any], answer: Any) -> None:
    assert await (await pods(answer)).of(KEY) == {}


@pytest.mark.parametrize("answer", ["", "{", "{}", "[" * 100_000])
async def test_an_answer_that_is_no_list_is_none(pods: Callable[..., Any], answer: str) -> None:
    assert await (await pods(answer)).of(KEY) is None
    found = await (await pods(answer, [entry()])).of(KEY)
    assert set(found) == {"chat-7f9"}, "of the other pod"


async def test_without_a_gateway_nothing_is_known() -> None:
    assert await GatewayCounts("").of(KEY) is None
    assert await GatewayCounts("http://127.0.0.1:1").of(KEY) is None
