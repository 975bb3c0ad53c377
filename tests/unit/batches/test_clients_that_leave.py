"""Clients that stop sending, or leave, are no failure of the volume."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from llmservice_operator.batches import answers, api, uploads
from llmservice_operator.batches.api import Api
from llmservice_operator.batches.callers import Caller
from llmservice_operator.batches.model import Owner

HEAD = "POST /namespaces/team-a/v1/{} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nContent-Type: {}\r\n\r\n"
BATCH = HEAD.format("batches", "application/json").encode()
FILE = HEAD.format("files", "multipart/form-data; boundary=x").encode() + b"--x\r\n"


@pytest.fixture
async def port(tmp_path: Any) -> AsyncIterator[int]:
    """Of the API without its worker and store."""

    async def caller(*_: object) -> Caller:
        return Caller(Owner("team-a", "a" * 64), "key")

    async def nothing(*_: object, **__: object) -> str:
        return ""

    parts: dict[str, Any] = {
        "store": SimpleNamespace(exceeds=None, upload_path=lambda name: tmp_path / name),
        "disk": SimpleNamespace(call=nothing),
        "worker": SimpleNamespace(offer=nothing),
        "callers": SimpleNamespace(caller=caller),
        "sealer": None,
        "settings": SimpleNamespace(
            batches_key_storage=2**20, batches_namespace_storage=2**20, batches_max_file=2**20, batches_file_days=1
        ),
    }
    runner = web.AppRunner(Api(**parts).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def sent(port: int, data: bytes, leaves: bool) -> bytes:
    """What comes after a part of a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        writer.write(data)
        await writer.drain()
        if leaves:
            await asyncio.sleep(0.05)
            return b""
        return await asyncio.wait_for(reader.read(65_536), 10)


@pytest.mark.parametrize("request_part", [BATCH, FILE], ids=["batch", "file"])
async def test_a_body_that_stops_is_refused_as_too_slow(
    port: int, request_part: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (api, uploads):
        monkeypatch.setattr(module, "UPLOAD_PAUSE", 0.05)
    answer = await sent(port, request_part, leaves=False)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] in ("slow_body", "slow_upload")
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("request_part", [BATCH, FILE], ids=["batch", "file"])
async def test_a_client_that_leaves_is_not_logged_as_an_error(
    port: int, request_part: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended, codes = asyncio.Event(), list[str]()
    error = answers._error

    def answer(status: int, code: str, *rest: Any, **more: Any) -> web.Response:
        codes.append(code)
        ended.set()
        return error(status, code, *rest, **more)

    monkeypatch.setattr(answers, "_error", answer)
    await sent(port, request_part, leaves=True)
    await asyncio.wait_for(ended.wait(), 10)
    assert codes == ["client_left"]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
