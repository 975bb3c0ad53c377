"""A server that streams as vLLM does, with what a test wants to go wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

sys.path.insert(0, str(Path(__file__).parents[3] / "hack" / "bench"))

METRICS = """\
# TYPE llm_batch_size histogram
llm_batch_size_bucket{le="+Inf"} STEPS
llm_batch_size_count STEPS
llm_batch_size_sum SUM
"""


@dataclass
class Fake:
    """Answers with chunks of "a"; a prompt has as many tokens as words."""

    url: str = ""
    pauses: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Seconds before each chunk."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    fault: str = ""
    key: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        if body["model"] != "tiny":
            return web.json_response({"error": {"message": "The model does not exist."}}, status=404)
        usage = {"prompt_tokens": len(body["prompt"].split()), "completion_tokens": 2 * len(self.pauses)}
        if not body.get("stream"):
            return web.json_response({"choices": [{"text": "a"}], "usage": usage})
        if self.fault == "http":
            return web.json_response({"error": {"message": "too many"}}, status=429)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.stream(request, usage)
        finally:
            self.in_flight -= 1

    async def stream(self, request: web.Request, usage: dict[str, int]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(message: object) -> None:
            await response.write(f"data: {message if message == '[DONE]' else json.dumps(message)}\n\n".encode())

        await response.write(b": ping\n\n")
        for pause in () if self.fault == "empty" else self.pauses:
            await self.sleep(pause)
            await send({"choices": [{"text": ""}]})
        match self.fault:
            case "broken":
                assert request.transport is not None
                request.transport.abort()
            case "in_stream":
                await send({"error": {"message": "the engine died"}})
            case "no_json":
                await response.write(b"data: {oops\n\n")
            case "no_end":
                return response
        await send({"choices": [], "usage": usage})
        await self.sleep(0.05)  # the end of the connection is no part of the latency
        await send("[DONE]")
        return response

    async def metrics(self, _: web.Request) -> web.Response:
        steps = len(self.asked)
        return web.Response(text=METRICS.replace("STEPS", str(steps)).replace("SUM", str(4 * steps)))


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    made = Fake()
    app = web.Application()
    app.add_routes([web.post("/v1/completions", made.complete), web.get("/metrics", made.metrics)])
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made
