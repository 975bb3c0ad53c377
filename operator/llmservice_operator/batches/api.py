"""OpenAI's API of files and batches over HTTP, below /namespaces/NAMESPACE/v1."""

from __future__ import annotations

import asyncio
import time

import msgspec
from aiohttp import web

from llmservice_operator.batches import model
from llmservice_operator.batches.answers import JSON_BYTES, Refused, errors, json_answer, limit_of, page
from llmservice_operator.batches.callers import Caller, Callers
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.disk import Disk
from llmservice_operator.batches.model import Batch, StoredFile, new_id
from llmservice_operator.batches.store import Store
from llmservice_operator.batches.uploads import FILES_OF_OWNER, UPLOAD_PAUSE, Uploads
from llmservice_operator.batches.worker import Worker
from llmservice_operator.config.batches import BatchesSettings

METADATA = (16, 64, 512)
"""Most pairs, longest name, longest value."""
PREFIX = "/namespaces/{namespace}/v1"


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
        self._uploads = Uploads(store, disk, settings)

    def application(self) -> web.Application:
        """The aiohttp application."""
        made = web.Application(client_max_size=JSON_BYTES, middlewares=[errors])
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
        return json_answer((await self._uploads.take(request, owner)).shown())

    async def _list_files(self, request: web.Request) -> web.Response:
        owner = (await self._caller(request)).owner
        limit, after = limit_of(request, FILES_OF_OWNER, FILES_OF_OWNER), request.query.get("after")
        ascending = request.query.get("order", "desc") == "asc"
        found = await self._disk.call(
            self._store.files, owner, request.query.get("purpose"), after, limit + 1, ascending
        )
        return page([each.shown() for each in found], limit)

    async def _file(self, request: web.Request) -> StoredFile:
        owner, file_id = (await self._caller(request)).owner, request.match_info["file"]
        found = await self._disk.call(self._store.file, owner, file_id)
        if found is None:
            raise Refused(404, "no_file", f"Your key has no file {file_id[:64]}.", "file_id")
        return found

    async def _get_file(self, request: web.Request) -> web.Response:
        return json_answer((await self._file(request)).shown())

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = await self._file(request)
        if not await self._disk.call(self._store.delete_unused, file.id):
            raise Refused(
                409, "file_in_use", "A batch reads the file. Cancel the batch, or wait for its end.", "file_id"
            )
        return json_answer({"id": file.id, "object": "file", "deleted": True})

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
        return json_answer(batch.shown())

    async def _list_batches(self, request: web.Request) -> web.Response:
        owner = (await self._caller(request)).owner
        limit = limit_of(request, 20, 100)
        found = await self._disk.call(self._store.batches, owner, request.query.get("after"), limit + 1)
        return page([self._worker.with_counts(each).shown() for each in found], limit)

    async def _batch(self, request: web.Request) -> Batch:
        owner, batch_id = (await self._caller(request)).owner, request.match_info["batch"]
        found = await self._disk.call(self._store.batch, owner, batch_id)
        if found is None:
            raise Refused(404, "no_batch", f"Your key has no batch {batch_id[:64]}.", "batch_id")
        return found

    async def _get_batch(self, request: web.Request) -> web.Response:
        return json_answer(self._worker.with_counts(await self._batch(request)).shown())

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
        return json_answer(self._worker.with_counts(batch).shown())


async def _body(request: web.Request) -> _Create:
    try:
        async with asyncio.timeout(UPLOAD_PAUSE):
            text = await request.read()
    except TimeoutError:
        raise Refused(408, "slow_body", f"The body did not come within {UPLOAD_PAUSE:g} s.") from None
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
