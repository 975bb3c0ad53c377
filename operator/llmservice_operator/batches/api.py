"""OpenAI's API of files and batches over HTTP, below /namespaces/NAMESPACE/v1."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from llmservice_operator.batches import model
from llmservice_operator.batches.callers import Caller, Callers, Unaccepted
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.model import Batch, Owner, StoredFile, new_id
from llmservice_operator.batches.store import Quota, Store
from llmservice_operator.batches.worker import Disk, Worker
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
JSON_BYTES = 65_536
METADATA = (16, 64, 512)
"""Most pairs, longest name, longest value."""
FILE_SECONDS = (3600, 2_592_000)
"""What a client may set as the time after which a file expires."""
PREFIX = "/namespaces/{namespace}/v1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


class Refused(Exception):
    """The request is refused."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry = status, code, param, retry


class _Create(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


class Api:
    """The routes."""

    def __init__(
        self, store: Store, disk: Disk, worker: Worker, callers: Callers, sealer: Sealer, settings: BatchesSettings
    ) -> None:
        self._store, self._disk, self._worker, self._callers = store, disk, worker, callers
        self._sealer, self._settings = sealer, settings
        self._quota = Quota(FILES_OF_OWNER, settings.batches_key_storage, settings.batches_namespace_storage)
        self._uploads: Counter[Owner] = Counter()

    def application(self) -> web.Application:
        """The aiohttp application."""
        made = web.Application(client_max_size=JSON_BYTES, middlewares=[_errors])
        made.add_routes(
            [
                web.post(f"{PREFIX}/files", self._upload),
                web.get(f"{PREFIX}/files", self._list_files),
                web.get(f"{PREFIX}/files/{{file}}", self._get_file),
                web.delete(f"{PREFIX}/files/{{file}}", self._delete_file),
                web.get(f"{PREFIX}/files/{{file}}/content", self._content),
                web.post(f"{PREFIX}/batches", self._create),
                web.get(f"{PREFIX}/batches", self._list_batches),
                web.get(f"{PREFIX}/batches/{{batch}}", self._get_batch),
                web.post(f"{PREFIX}/batches/{{batch}}/cancel", self._cancel),
            ]
        )
        return made

    async def _caller(self, request: web.Request) -> Caller:
        reads = request.method in ("GET", "HEAD")
        caller = await self._callers.caller(request.match_info["namespace"], request.headers, reads)
        await self._worker.offer(caller.owner, caller.key)
        return caller

    async def _upload(self, request: web.Request) -> web.Response:
        owner = (await self._caller(request)).owner
        if self._uploads[owner] >= UPLOADS_OF_OWNER or self._uploads.total() >= UPLOADS:
            raise Refused(429, "too_many_uploads", "Too many uploads at this moment. Retry later.", retry=5)
        length = request.content_length or 0
        if length > self._settings.batches_max_file + JSON_BYTES:
            raise self._too_large()
        # Known before the body is read, if the client says how large it is.
        self._check_quota(await self._disk.call(self._store.exceeds, owner, max(0, length - JSON_BYTES), self._quota))
        file_id = new_id("file-")
        path = self._store.upload_path(file_id)
        self._uploads[owner] += 1
        try:
            file = await self._receive(request, owner, file_id, path)
            self._check_quota(await self._disk.call(self._store.add_file, file, self._quota))
        finally:
            self._uploads[owner] -= 1
            await self._disk.call(path.unlink, missing_ok=True)
        return _json(file.shown())

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

    async def _list_files(self, request: web.Request) -> web.Response:
        owner = (await self._caller(request)).owner
        limit, after = _limit(request, FILES_OF_OWNER, FILES_OF_OWNER), request.query.get("after")
        ascending = request.query.get("order", "desc") == "asc"
        found = await self._disk.call(
            self._store.files, owner, request.query.get("purpose"), after, limit + 1, ascending
        )
        return _page([each.shown() for each in found], limit)

    async def _file(self, request: web.Request) -> StoredFile:
        owner, file_id = (await self._caller(request)).owner, request.match_info["file"]
        found = await self._disk.call(self._store.file, owner, file_id)
        if found is None:
            raise Refused(404, "no_file", f"Your key has no file {file_id[:64]}.", "file_id")
        return found

    async def _get_file(self, request: web.Request) -> web.Response:
        return _json((await self._file(request)).shown())

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = await self._file(request)
        if not await self._disk.call(self._store.delete_unused, file.id):
            raise Refused(
                409, "file_in_use", "A batch reads the file. Cancel the batch, or wait for its end.", "file_id"
            )
        return _json({"id": file.id, "object": "file", "deleted": True})

    async def _content(self, request: web.Request) -> web.FileResponse:
        file = await self._file(request)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        return web.FileResponse(self._store.path(file.id), headers=headers)

    async def _create(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        given = await _body(request)
        if given.endpoint not in model.ENDPOINTS:
            raise Refused(400, "endpoint", f"`endpoint` must be one of {', '.join(model.ENDPOINTS)}.", "endpoint")
        if given.completion_window != model.WINDOW:
            message = f"`completion_window` must be `{model.WINDOW}`."
            raise Refused(400, "completion_window", message, "completion_window")
        _check_metadata(given.metadata)
        now = int(time.time())
        batch = Batch(
            new_id("batch_"),
            caller.owner,
            given.endpoint,
            given.input_file_id,
            new_id("file-"),
            new_id("file-"),
            now,
            now + model.WINDOW_SECONDS,
            given.metadata,
        )
        most = self._settings.batches_key_batches
        problem = await self._disk.call(self._store.add_batch, batch, self._sealer.seal(caller.key, batch.id), most)
        if problem == "no_input":
            message = "Your key has no file with this id and the purpose `batch`."
            raise Refused(400, "no_input_file", message, "input_file_id")
        if problem:
            message = f"Your key has {most} batches that have not ended. Wait for one, or cancel it."
            raise Refused(429, "too_many_batches", message, retry=60)
        self._worker.wake()
        return _json(batch.shown())

    async def _list_batches(self, request: web.Request) -> web.Response:
        owner = (await self._caller(request)).owner
        limit = _limit(request, 20, 100)
        found = await self._disk.call(self._store.batches, owner, request.query.get("after"), limit + 1)
        return _page([self._worker.with_counts(each).shown() for each in found], limit)

    async def _batch(self, request: web.Request) -> Batch:
        owner, batch_id = (await self._caller(request)).owner, request.match_info["batch"]
        found = await self._disk.call(self._store.batch, owner, batch_id)
        if found is None:
            raise Refused(404, "no_batch", f"Your key has no batch {batch_id[:64]}.", "batch_id")
        return found

    async def _get_batch(self, request: web.Request) -> web.Response:
        return _json(self._worker.with_counts(await self._batch(request)).shown())

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = await self._batch(request)
        if batch.is_open and batch.status != model.CANCELLING:
            cancelled = batch.moved(model.CANCELLING, int(time.time()))
            if not await self._disk.call(self._store.move_batch, cancelled, batch.status):
                # It went on meanwhile.
                return await self._cancel(request)
            self._worker.cancel(cancelled)
            batch = cancelled
        if not batch.is_open and batch.status != model.CANCELLED:
            raise Refused(409, "batch_ended", f"The batch is {batch.status} and can't be cancelled.", "batch_id")
        return _json(self._worker.with_counts(batch).shown())


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON, in the form that OpenAI's clients read."""
    try:
        return await handler(request)
    except Refused as error:
        return _error(error.status, error.code, str(error), error.param, error.retry)
    except Unaccepted as error:
        return _error(error.status, error.code, str(error), None, 5 if error.status == 503 else None)
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "body_too_large", f"The body is larger than {JSON_BYTES} bytes.")
    except web.HTTPException as error:
        code = "not_found" if error.status == 404 else f"http_{error.status}"
        return _error(error.status, code, f"{request.method} is not served here: {error.reason}.")
    except OSError:
        logger.exception("the volume fails")
        return _error(503, "volume", "The volume of files does not work at this moment. Retry later.", retry=30)


def _error(status: int, code: str, message: str, param: str | None = None, retry: int | None = None) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    answer = _json({"error": {"message": message, "type": kind, "code": code, "param": param}}, status)
    if retry is not None:
        answer.headers["Retry-After"] = str(retry)
    return answer


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _page(found: list[dict[str, Any]], limit: int) -> web.Response:
    data = found[:limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    more = len(found) > limit
    return _json({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})


def _limit(request: web.Request, default: int, most: int) -> int:
    text = request.query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refused(400, "limit", "`limit` must be a whole number above 0.", "limit")
    return min(int(text), most)


async def _body(request: web.Request) -> _Create:
    async with asyncio.timeout(UPLOAD_PAUSE):
        text = await request.read()
    try:
        return msgspec.json.decode(text, type=_Create)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(400, "invalid_body", f"The body is no request for a batch: {str(error)[:200]}") from None


def _check_metadata(metadata: dict[str, str] | None) -> None:
    pairs, name, value = METADATA
    found = metadata or {}
    if len(found) > pairs or any(len(each) > name or len(text) > value for each, text in found.items()):
        message = f"`metadata` may have {pairs} pairs, with names of {name} and values of {value} characters."
        raise Refused(400, "metadata", message, "metadata")


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
