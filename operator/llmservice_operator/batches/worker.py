"""Works on batches from their input to their end, and keeps their results.

Whatever ends, this process, the gateway or a replica, a line is sent again until its result is on the disk. A line may
therefore be computed twice; it has one result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter as Count

import aiohttp
import msgspec

from llmservice_operator.batches import model
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.disk import Disk
from llmservice_operator.batches.lines import InvalidInput, Lines
from llmservice_operator.batches.metrics import BATCHES_ENDED, LINES
from llmservice_operator.batches.model import Batch, Owner, Problem, StoredFile
from llmservice_operator.batches.results import Result, Results
from llmservice_operator.batches.runs import Opened, Run
from llmservice_operator.batches.sending import Sender
from llmservice_operator.batches.store import Store
from llmservice_operator.config.batches import BatchesSettings

RUNNING = 128
"""Batches in work at once. The others wait."""
RUNNING_OF_OWNER = 4
IDLE_SECONDS = 60.0
"""Between two looks at the store if nothing happens."""
DISK_SECONDS = 30.0
"""Pause after the disk refused results."""
SAVED_BYTES = 8 * 2**20
"""Results that are written together, unless a single one is larger."""
UNANSWERED_AT_ONCE = 1000
"""Errors of lines without an answer that are written together."""

logger = logging.getLogger(__name__)


class Worker:
    """The work on all batches of a store."""

    def __init__(
        self, store: Store, disk: Disk, sealer: Sealer, session: aiohttp.ClientSession, settings: BatchesSettings
    ) -> None:
        """``session`` is one of `line_session`."""
        self._store, self._disk, self._sealer, self._settings = store, disk, sealer, settings
        self._sender = Sender(session, settings)
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                self._wake.clear()
                for batch in self._next(await self._disk.call(self._store.open_batches)):
                    self._runs[batch.id] = Run(batch)
                    self._tasks[batch.id] = asyncio.create_task(self._work(self._runs[batch.id]))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def wake(self) -> None:
        """A batch was made or cancelled."""
        self._wake.set()

    def cancel(self, batch: Batch) -> None:
        """The batch's state is "cancelling" in the store."""
        if run := self._runs.get(batch.id):
            run.batch, run.is_cancelled = batch, True
            run.changed.set()
        self._wake.set()

    def with_counts(self, batch: Batch) -> Batch:
        """The batch with the lines that are answered until now."""
        run = self._runs.get(batch.id)
        if run is None or run.opened is None or not batch.is_open:
            return batch
        done = run.opened.results
        return msgspec.structs.replace(batch, total=len(done.done), completed=done.completed, failed=done.failed)

    async def offer(self, owner: Owner, key: str) -> None:
        """A request of this owner has come: its batches whose key could not be read get it anew."""
        for run in [each for each in self._runs.values() if each.batch.owner == owner and not each.has_key]:
            run.key, run.has_key = key, True
            await self._disk.call(self._store.set_credential, run.batch.id, self._sealer.seal(key, run.batch.id))
            self._sender.pump()

    def _next(self, batches: list[Batch]) -> list[Batch]:
        """Batches that are begun now, the oldest first. Cancelled and expired ones need no place."""
        running = Count(each.batch.owner for each in self._runs.values())
        chosen: list[Batch] = []
        idle = [each for each in batches if each.id not in self._runs]
        idle.sort(key=lambda each: each.status != model.CANCELLING)
        for batch in idle:
            room = len(self._runs) + len(chosen) < RUNNING and running[batch.owner] < RUNNING_OF_OWNER
            if room or batch.status == model.CANCELLING or batch.expires_at <= time.time():
                running[batch.owner] += 1
                chosen.append(batch)
        return chosen

    async def _work(self, run: Run) -> None:
        batch = run.batch
        try:
            ended = await self._try(run)
            while not ended:
                await asyncio.sleep(DISK_SECONDS)
                ended = await self._try(run)
        except Exception:
            logger.exception("batch %s stops until the next start of this process", batch.id)
            return
        self._runs.pop(batch.id, None)
        self._tasks.pop(batch.id, None)
        self._wake.set()

    async def _try(self, run: Run) -> bool:
        """Works on a batch to its end. False: the disk failed, and it is to be tried again."""
        try:
            opened = await self._open(run)
            if opened is not None:
                await self._answer(run, opened.results)
                await self._finish(run, opened)
        except OSError as error:
            logger.error("batch %s: the volume fails, trying again in %.0f s: %s", run.batch.id, DISK_SECONDS, error)
            return False
        finally:
            await run.stop_sending()
            self._sender.leave(run)
            if run.opened is not None:
                run.opened.lines.close()
                await self._disk.call(run.opened.results.close)
            run.opened = None
            self._sender.forget(run, run.unsaved)
            run.unsaved.clear()
        return True

    async def _open(self, run: Run) -> Opened | None:
        """Reads its input, and what is answered. None: the batch has ended."""
        batch, store = run.batch, self._store
        if run.is_cancelled and not batch.total:
            await self._end(run, model.CANCELLED)
            return None
        try:
            lines = await asyncio.to_thread(
                Lines, store.path(batch.input_file), batch.endpoint, self._settings.batches_max_lines
            )
        except FileNotFoundError:
            await self._end(run, model.FAILED, problems=(Problem("no_input", "The input file is gone."),))
            return None
        except InvalidInput as error:
            await self._end(run, model.FAILED, problems=error.problems)
            return None
        paths = store.path(batch.output_file), store.path(batch.error_file)
        try:
            results = await asyncio.to_thread(Results, *paths, len(lines))
        except BaseException:
            lines.close()
            raise
        run.opened = opened = await asyncio.to_thread(Opened, lines, results)
        if batch.status == model.VALIDATING:
            moved = batch.moved(model.IN_PROGRESS, int(time.time()), total=len(lines))
            # A request may have cancelled it meanwhile.
            if await self._disk.call(store.move_batch, moved, model.VALIDATING):
                run.batch = moved
            else:
                run.is_cancelled = True
        await self._read_key(run)
        self._sender.join(run, opened)
        return opened

    async def _read_key(self, run: Run) -> None:
        if run.has_key:
            return
        sealed = await self._disk.call(self._store.credential, run.batch.id)
        if sealed is None:
            return
        run.key = self._sealer.unseal(sealed, run.batch.id)
        run.has_key = run.key is not None
        if not run.has_key:
            logger.warning("batch %s waits for the next request of its key: the Secret has changed", run.batch.id)

    async def _answer(self, run: Run, results: Results) -> None:
        """Returns once all lines have a result, or the batch is cancelled or has expired."""
        self._sender.pump()
        while results.left and not run.is_cancelled:
            left = run.batch.expires_at - time.time()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.changed.wait(), min(left, IDLE_SECONDS))
            run.changed.clear()
            await self._save(run, results)

    async def _save(self, run: Run, results: Results) -> None:
        """Writes the results that have come, some at a time: their lines are copies of them."""
        while run.unsaved:
            count = size = 0
            for each in run.unsaved:
                count, size = count + 1, size + each.size
                if size >= SAVED_BYTES:
                    break
            some = run.unsaved[:count]
            await self._disk.call(results.add, some)
            del run.unsaved[:count]
            self._sender.forget(run, some)
            for each in some:
                LINES.labels("answered" if each.is_answer else "failed").inc()

    async def _finish(self, run: Run, opened: Opened) -> None:
        """Gives each line that has no result an error, and ends the batch."""
        results, lines = opened.results, opened.lines
        await run.stop_sending()
        await self._save(run, results)
        status = model.CANCELLED if run.is_cancelled else model.EXPIRED if results.left else model.COMPLETED
        if results.left:
            code, message = (
                ("batch_cancelled", "The batch was cancelled before this line was answered.")
                if run.is_cancelled
                else ("batch_expired", f"The line was not answered within {model.WINDOW}.")
            )
            left = [number for number, is_done in enumerate(results.done) if not is_done]
            for first in range(0, len(left), UNANSWERED_AT_ONCE):
                some = left[first : first + UNANSWERED_AT_ONCE]
                await self._disk.call(_add_unanswered, lines, results, some, code, message)
                LINES.labels("unanswered").inc(len(some))
        await self._end(run, status, results=results)

    async def _end(
        self, run: Run, status: str, *, problems: tuple[Problem, ...] = (), results: Results | None = None
    ) -> None:
        """Stores the end of the batch, with the files of its results."""
        batch, now = run.batch, int(time.time())
        files = []
        if results is None:
            ended = batch.moved(status, now, problems=problems)
        else:
            for file_id, name, size in zip(
                (batch.output_file, batch.error_file), ("output", "error"), results.sizes, strict=True
            ):
                if size:
                    expires = now + 86_400 * self._settings.batches_file_days
                    named = f"{batch.id}_{name}.jsonl"
                    files.append(StoredFile(file_id, batch.owner, "batch_output", named, size, now, expires))
            ended = batch.moved(
                status,
                now,
                total=len(results.done),
                completed=results.completed,
                failed=results.failed,
                has_output=results.sizes[0] > 0,
                has_errors=results.sizes[1] > 0,
                reached={**batch.reached, model.FINALIZING: now} if status == model.COMPLETED else batch.reached,
            )
        await self._disk.call(self._store.update_batch, ended, files)
        run.batch = ended
        BATCHES_ENDED.labels(status).inc()
        logger.info(
            "batch %s of namespace %s: %s, %d lines answered, %d errors",
            batch.id,
            batch.owner.namespace,
            status,
            ended.completed,
            ended.failed,
        )


def _add_unanswered(lines: Lines, results: Results, numbers: list[int], code: str, message: str) -> None:
    results.add([Result(each, lines.line(each).custom_id, code=code, message=message) for each in numbers])
