"""Uploads: a form with a file is written to the disk while it comes, bounded in size, time and number."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from llmservice_operator.batches.answers import JSON_BYTES, Refused
from llmservice_operator.batches.disk import Disk
from llmservice_operator.batches.model import Owner, StoredFile, new_id
from llmservice_operator.batches.store import Quota, Store
from llmservice_operator.config.batches import BatchesSettings

UPLOADS = 32
"""Uploads at once of all callers."""
UPLOADS_OF_OWNER = 4
UPLOAD_PAUSE = 30.0
"""Seconds after which an upload that sends nothing is ended."""
UPLOAD_RATE = 32 * 2**10
"""Bytes that an upload sends in a second on average, after its first pause."""
CHUNK = 2**18
FIELDS = 8
FIELD_BYTES = 256
FILES_OF_OWNER = 1000
FILENAME = 255
FILE_SECONDS = (3600, 2_592_000)
"""What a client may set as the time after which a file expires."""


class Uploads:
    """Takes the files of all callers."""

    def __init__(self, store: Store, disk: Disk, settings: BatchesSettings) -> None:
        self._store, self._disk, self._settings = store, disk, settings
        self._quota = Quota(FILES_OF_OWNER, settings.batches_key_storage, settings.batches_namespace_storage)
        self._uploads: Counter[Owner] = Counter()

    async def take(self, request: web.Request, owner: Owner) -> StoredFile:
        """The file of a request. Raises Refused, OSError."""
        with self._counted(owner):
            return await self._take(request, owner)

    @contextlib.contextmanager
    def _counted(self, owner: Owner) -> Iterator[None]:
        """Counts an upload before anything is awaited, so that no other one passes meanwhile. Raises Refused."""
        if self._uploads[owner] >= UPLOADS_OF_OWNER or self._uploads.total() >= UPLOADS:
            raise Refused(429, "too_many_uploads", "Too many uploads at this moment. Retry later.", retry=5)
        self._uploads[owner] += 1
        try:
            yield
        finally:
            self._uploads[owner] -= 1
            if not self._uploads[owner]:
                # Services without keys accept any key, so there is no end of owners.
                del self._uploads[owner]

    async def _take(self, request: web.Request, owner: Owner) -> StoredFile:
        length = request.content_length or 0
        if length > self._settings.batches_max_file + JSON_BYTES:
            raise self._too_large()
        # Known before the body is read, if the client says how large it is.
        self._check_quota(await self._disk.call(self._store.exceeds, owner, max(0, length - JSON_BYTES), self._quota))
        file_id = new_id("file-")
        path = self._store.upload_path(file_id)
        try:
            file = await self._receive(request, owner, file_id, path)
            self._check_quota(await self._disk.call(self._store.add_file, file, self._quota))
        finally:
            await self._disk.call(path.unlink, missing_ok=True)
        return file

    async def _receive(self, request: web.Request, owner: Owner, file_id: str, path: Path) -> StoredFile:
        if request.content_type != "multipart/form-data":
            raise Refused(400, "no_form", "Send multipart/form-data with the fields `purpose` and `file`.")
        fields: dict[str, str] = {}
        size, filename = -1, ""
        try:
            reader = await request.multipart()
            for _ in range(FIELDS):
                async with asyncio.timeout(UPLOAD_PAUSE):
                    part = await reader.next()
                if part is None:
                    break
                if not isinstance(part, aiohttp.BodyPartReader):
                    raise Refused(400, "invalid_form", "The form has a form in it.")
                if part.name == "file" and size < 0:
                    filename = _printable(part.filename or "")
                    size = await self._write(part, path)
                elif part.name == "file":
                    raise Refused(400, "invalid_form", "The form has several files.", "file")
                else:
                    fields[_printable(part.name or "")] = await _field(part)
            else:
                raise Refused(400, "invalid_form", f"The form has more than {FIELDS} parts.")
        except TimeoutError:
            raise Refused(408, "slow_upload", f"The file came with less than {UPLOAD_RATE} bytes per second.") from None
        except (ValueError, AssertionError, aiohttp.ClientError) as error:
            raise Refused(400, "invalid_form", f"The form can't be read: {str(error)[:200]}") from None
        if size < 0:
            raise Refused(400, "no_file", "The form has no field `file`.", "file")
        if fields.get("purpose") != "batch":
            raise Refused(400, "purpose", "`purpose` must be `batch`.", "purpose")
        now = int(time.time())
        return StoredFile(file_id, owner, "batch", filename, size, now, now + self._file_seconds(fields))

    async def _write(self, part: aiohttp.BodyPartReader, path: Path) -> int:
        """Writes a part to the disk, and returns its size."""
        size, loop = 0, asyncio.get_running_loop()
        begun = loop.time()
        with path.open("wb") as file:
            while True:
                if loop.time() - begun > UPLOAD_PAUSE + size / UPLOAD_RATE:
                    raise TimeoutError
                async with asyncio.timeout(UPLOAD_PAUSE):
                    chunk = await part.read_chunk(CHUNK)
                if not chunk:
                    break
                size += len(chunk)
                if size > self._settings.batches_max_file:
                    raise self._too_large()
                if not self._store.has_room:
                    raise Refused(507, "volume_full", "The volume of files is full. Delete files, or retry later.")
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(_sync, file)
        return size

    def _file_seconds(self, fields: dict[str, str]) -> int:
        longest = 86_400 * self._settings.batches_file_days
        text = fields.get("expires_after[seconds]")
        if text is None:
            return longest
        if not (text.isascii() and text.isdigit() and FILE_SECONDS[0] <= int(text) <= FILE_SECONDS[1]):
            message = f"`expires_after.seconds` must be from {FILE_SECONDS[0]} to {FILE_SECONDS[1]}."
            raise Refused(400, "expires_after", message, "expires_after.seconds")
        return min(int(text), longest)

    def _too_large(self) -> Refused:
        most = self._settings.batches_max_file // 2**20
        return Refused(413, "file_too_large", f"The file is larger than {most} MiB. Split it.", "file")

    def _check_quota(self, exceeded: str) -> None:
        if not exceeded:
            return
        bounds = {
            "files": f"{self._quota.files} files of one key",
            "key_bytes": f"{self._quota.key_bytes // 2**20} MiB for all files of one key",
            "namespace_bytes": f"{self._quota.namespace_bytes // 2**20} MiB for all files of the namespace",
        }
        raise Refused(403, f"quota_{exceeded}", f"The limit is {bounds[exceeded]}. Delete files.", "file")


async def _field(part: aiohttp.BodyPartReader) -> str:
    text = b""
    while True:
        async with asyncio.timeout(UPLOAD_PAUSE):
            chunk = await part.read_chunk(FIELD_BYTES + 1)
        if not chunk:
            return text.decode("utf-8", "replace")
        text += chunk
        if len(text) > FIELD_BYTES:
            raise Refused(400, "invalid_form", f"A field of the form is longer than {FIELD_BYTES} bytes.")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:FILENAME])


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
