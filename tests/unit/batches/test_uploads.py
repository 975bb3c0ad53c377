"""Uploads are bounded in number, and nothing stays of one that has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_operator.batches.answers import Refused
from llmservice_operator.batches.model import Owner
from llmservice_operator.batches.uploads import UPLOADS_OF_OWNER, Uploads

OWNER = Owner("team-a", "a" * 64)
NO_FORM: Any = SimpleNamespace(content_length=None, content_type="text/plain")


async def test_uploads_that_come_at_once_are_bounded_and_forgotten(tmp_path: Path) -> None:
    free = asyncio.Event()

    async def call(*_: object, **__: object) -> str:
        await free.wait()
        return ""

    parts: Any = {
        "store": SimpleNamespace(exceeds=None, upload_path=lambda name: tmp_path / name),
        "disk": SimpleNamespace(call=call),
        "settings": SimpleNamespace(batches_key_storage=2**20, batches_namespace_storage=2**20, batches_max_file=2**20),
    }
    uploads = Uploads(**parts)
    running = [asyncio.create_task(uploads.take(NO_FORM, OWNER)) for _ in range(UPLOADS_OF_OWNER)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        async with asyncio.timeout(1):
            await uploads.take(NO_FORM, OWNER)
    assert refused.value.code == "too_many_uploads"
    free.set()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert [getattr(each, "code", each) for each in ended] == ["no_form"] * UPLOADS_OF_OWNER
    assert not uploads._uploads
