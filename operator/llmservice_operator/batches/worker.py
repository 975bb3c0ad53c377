"""Sends the lines of batches to the gateway, and keeps their results.

Whatever ends, this process, the gateway or a replica, a line is sent again until its result is on the disk. A line may
therefore be computed twice; it has one result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter as Count
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import aiohttp
import msgspec

from llmservice_operator.batches import model, outcome
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.lines import InvalidInput, Lines
from llmservice_operator.batches.metrics import BATCHES_ENDED, IN_WORK, LINES, REPEATED
from llmservice_operator.batches.model import Batch, Owner, Problem, StoredFile
from llmservice_operator.batches.outcome import Again
from llmservice_operator.batches.pace import Pace
from llmservice_operator.batches.results import Result, Results
from llmservice_operator.batches.store import Store
from llmservice_operator.config.batches import BatchesSettings

RUNNING = 128
"""Batches in work at once. The others wait."""
RUNNING_OF_OWNER = 4
IN_WORK_TOTAL = 1024
"""Lines in work of all owners."""
LINE_SECONDS = 3600.0
SILENT_SECONDS = 700.0
"""How long the gateway may send nothing of an answer."""
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60.0
"""Between two looks at the store if nothing happens."""
DISK_SECONDS = 30.0
"""Pause after the disk refused results."""
CLASS = {"X-Request-Class": "batch"}
"""Replicas answer lines only with idle capacity (llmservice_runtime/gateway/idle_capacity.py)."""
UNANSWERED_AT_ONCE = 1000
"""Errors of lines without an answer that are written together."""

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def line_session() -> aiohttp.ClientSession:
    """Connections on which lines are sent."""
    timeout = aiohttp.ClientTimeout(total=LINE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    # Inside the cluster no name is in the gateway's certificate.
    connector = aiohttp.TCPConnector(limit=IN_WORK_TOTAL, ssl=False)
    return aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class Disk:
    """The thread that uses the store: one call after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "store")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that blocks. It ends even if the caller is cancelled."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))
        return await asyncio.shield(work)

    def close(self) -> None:
        """Returns once its last call has ended."""
        self._thread.shutdown()


class _Lane:
    """The lines of one owner for one model."""

    def __init__(self, name: str, most: int) -> None:
        self.model = name
        self.pace = Pace(most)
        self.runs: deque[_Run] = deque()
        """Batches with lines for it, the oldest first."""


class _Opened:
    """The files of a batch."""

    def __init__(self, lines: Lines, results: Results) -> None:
        self.lines, self.results = lines, results
        self.waiting: dict[str, deque[int]] = {}
        """Lines that are to be sent, by model."""
        for number, is_done in enumerate(results.done):
            if not is_done:
                self.waiting.setdefault(lines.models[lines.model_of[number]], deque()).append(number)


class _Run:
    """A batch in work."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.key: str | None = None
        self.has_key = False
        self.opened: _Opened | None = None
        self.attempts: Count[int] = Count()
        self.unsaved: list[Result] = []
        self.changed = asyncio.Event()
        """Something is to be saved, or the batch is to end."""
        self.sending: set[asyncio.Task[None]] = set()
        self.is_cancelled = batch.status == model.CANCELLING


class Worker:
    """The work on all batches of a store."""

    def __init__(
        self, store: Store, disk: Disk, sealer: Sealer, session: aiohttp.ClientSession, settings: BatchesSettings
    ) -> None:
        """``session`` is one of `line_session`."""
        self._store, self._disk, self._sealer, self._session = store, disk, sealer, session
        self._settings = settings
        self._runs: dict[str, _Run] = {}
        self._lanes: dict[tuple[Owner, str], _Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._in_work = 0
        self._pump_at: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                self._wake.clear()
                for batch in self._next(await self._disk.call(self._store.open_batches)):
                    self._runs[batch.id] = _Run(batch)
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
            self._pump()

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

    async def _work(self, run: _Run) -> None:
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

    async def _try(self, run: _Run) -> bool:
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
            await _stop_sending(run)
            self._leave_lanes(run)
            if run.opened is not None:
                run.opened.lines.close()
                await self._disk.call(run.opened.results.close)
            run.opened = None
            run.unsaved.clear()
        return True

    async def _open(self, run: _Run) -> _Opened | None:
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
        run.opened = opened = await asyncio.to_thread(_Opened, lines, results)
        if batch.status == model.VALIDATING:
            moved = batch.moved(model.IN_PROGRESS, int(time.time()), total=len(lines))
            # A request may have cancelled it meanwhile.
            if await self._disk.call(store.move_batch, moved, model.VALIDATING):
                run.batch = moved
            else:
                run.is_cancelled = True
        await self._read_key(run)
        for name in opened.waiting:
            key = (batch.owner, name)
            if key not in self._lanes:
                self._lanes[key] = _Lane(name, self._settings.batches_concurrency)
            self._lanes[key].runs.append(run)
        return opened

    async def _read_key(self, run: _Run) -> None:
        if run.has_key:
            return
        sealed = await self._disk.call(self._store.credential, run.batch.id)
        if sealed is None:
            return
        run.key = self._sealer.unseal(sealed, run.batch.id)
        run.has_key = run.key is not None
        if not run.has_key:
            logger.warning("batch %s waits for the next request of its key: the Secret has changed", run.batch.id)

    def _leave_lanes(self, run: _Run) -> None:
        for key, lane in list(self._lanes.items()):
            if run in lane.runs:
                lane.runs.remove(run)
            if not lane.runs and not lane.pace.in_work:
                del self._lanes[key]

    async def _answer(self, run: _Run, results: Results) -> None:
        """Returns once all lines have a result, or the batch is cancelled or has expired."""
        self._pump()
        while results.left and not run.is_cancelled:
            left = run.batch.expires_at - time.time()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.changed.wait(), min(left, IDLE_SECONDS))
            run.changed.clear()
            if run.unsaved:
                saved, run.unsaved = run.unsaved, []
                await self._disk.call(results.add, saved)
                for each in saved:
                    LINES.labels("answered" if each.is_answer else "failed").inc()

    def _pump(self) -> None:
        """Sends what may be sent now."""
        loop = asyncio.get_running_loop()
        now, later = loop.time(), None
        lanes = deque(self._lanes.values())
        while lanes and self._in_work < IN_WORK_TOTAL:
            lane = lanes.popleft()
            if not lane.pace.may_send(now):
                if lane.runs and lane.pace.resumes_at > now:
                    later = min(later or lane.pace.resumes_at, lane.pace.resumes_at)
                continue
            if self._send_one(lane):
                lanes.append(lane)
        if later is not None:
            if self._pump_at is not None:
                self._pump_at.cancel()
            self._pump_at = loop.call_at(later, self._pump)

    def _send_one(self, lane: _Lane) -> bool:
        for run in lane.runs:
            opened = run.opened
            if opened is None or not run.has_key or run.is_cancelled:
                continue
            if waiting := opened.waiting.get(lane.model):
                self._start(run, lane, opened.lines, waiting)
                return True
        return False

    def _start(self, run: _Run, lane: _Lane, lines: Lines, waiting: deque[int]) -> None:
        number = waiting.popleft()
        self._in_work += 1
        lane.pace.in_work += 1
        IN_WORK.inc()
        task = asyncio.create_task(self._send(run, lane, lines, number, waiting))
        run.sending.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            run.sending.discard(task)
            self._in_work -= 1
            lane.pace.in_work -= 1
            IN_WORK.dec()
            if not task.cancelled() and task.exception() is not None:
                logger.error("batch %s: a line was not sent", run.batch.id, exc_info=task.exception())
                waiting.append(number)
                lane.pace.refused(asyncio.get_running_loop().time(), None, asyncio.get_running_loop().time())
            self._pump()

        task.add_done_callback(ended)

    async def _send(self, run: _Run, lane: _Lane, lines: Lines, number: int, waiting: deque[int]) -> None:
        loop = asyncio.get_running_loop()
        line = await asyncio.to_thread(lines.line, number)
        sent_at = loop.time()
        found: Result | Again
        status, body = 0, None
        headers: Mapping[str, str] = {}
        try:
            status, headers, body = await self._post(run, number, line.body)
            found = outcome.of_response(number, line.custom_id, status, headers, body)
        except aiohttp.ClientConnectorError:
            found = Again("no_gateway")
        except (aiohttp.ClientError, TimeoutError, OSError):
            found = Again("disconnected", most_attempts=outcome.ATTEMPTS)
        if isinstance(found, Again):
            REPEATED.labels(found.reason).inc()
            if found.slower:
                lane.pace.refused(loop.time(), found.retry_after, sent_at)
            if found.most_attempts is None or run.attempts[number] + 1 < found.most_attempts:
                if found.most_attempts is not None:
                    run.attempts[number] += 1
                waiting.append(number)
                return
            if status:
                found = outcome.final(number, line.custom_id, status, headers, body)
            else:
                message = f"The connection ended without an answer {outcome.ATTEMPTS} times."
                found = Result(number, line.custom_id, code="no_answer", message=message)
        else:
            lane.pace.answered()
        run.attempts.pop(number, None)
        run.unsaved.append(found)
        run.changed.set()

    async def _post(self, run: _Run, number: int, body: bytes) -> tuple[int, Mapping[str, str], bytes | None]:
        """Status, headers and body of the answer; the body is None if it is too large."""
        batch = run.batch
        headers = {"Content-Type": "application/json", "X-Request-Id": f"{batch.id}-{number}", **CLASS}
        if run.key:
            headers["Authorization"] = f"Bearer {run.key}"
        url = f"{self._settings.batches_gateway}/namespaces/{batch.owner.namespace}{batch.endpoint}"
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > outcome.ANSWER_BYTES:
                    response.close()
                    return response.status, response.headers, None
                parts.append(part)
            return response.status, response.headers, b"".join(parts)

    async def _finish(self, run: _Run, opened: _Opened) -> None:
        """Gives each line that has no result an error, and ends the batch."""
        results, lines = opened.results, opened.lines
        await _stop_sending(run)
        if run.unsaved:
            saved, run.unsaved = run.unsaved, []
            await self._disk.call(results.add, saved)
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
        self, run: _Run, status: str, *, problems: tuple[Problem, ...] = (), results: Results | None = None
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


async def _stop_sending(run: _Run) -> None:
    for task in run.sending:
        task.cancel()
    await asyncio.gather(*run.sending, return_exceptions=True)


def _add_unanswered(lines: Lines, results: Results, numbers: list[int], code: str, message: str) -> None:
    results.add([Result(each, lines.line(each).custom_id, code=code, message=message) for each in numbers])
