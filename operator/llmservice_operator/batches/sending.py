"""Sends the lines of batches to the gateway: how many at once, to whom, and what follows from each answer.

A line that gets no answer is sent again, whatever has ended; its results are the caller's to keep.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence

import aiohttp

from llmservice_operator.batches import outcome
from llmservice_operator.batches.lines import Lines
from llmservice_operator.batches.memory import Memory
from llmservice_operator.batches.metrics import IN_WORK, REPEATED
from llmservice_operator.batches.model import Owner
from llmservice_operator.batches.outcome import Again
from llmservice_operator.batches.results import Result
from llmservice_operator.batches.runs import Lane, Opened, Run
from llmservice_operator.config.batches import BatchesSettings

IN_WORK_TOTAL = 1024
"""Lines in work of all owners."""
LINE_SECONDS = 3600.0
SILENT_SECONDS = 700.0
"""How long the gateway may send nothing of an answer."""
CONNECT_SECONDS = 5.0
MEBIBYTE = 2**20
LINES_MEMORY = (128 * MEBIBYTE, 32 * MEBIBYTE, 16 * 1024)
"""Bytes of lines in work: of all owners, of one, and of a line that always has room."""
ANSWERS_MEMORY = (256 * MEBIBYTE, 96 * MEBIBYTE, 64 * 1024)
"""The same of answers that are not on the disk yet."""
NO_ROOM_SECONDS = 1.0
"""Pause of a lane after an answer without room."""
CLASS = {"X-Request-Class": "batch"}
"""Replicas answer lines only with idle capacity (llmservice_runtime/gateway/idle_capacity.py)."""

logger = logging.getLogger(__name__)


def line_session() -> aiohttp.ClientSession:
    """Connections on which lines are sent."""
    timeout = aiohttp.ClientTimeout(total=LINE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    # Inside the cluster no name is in the gateway's certificate.
    connector = aiohttp.TCPConnector(limit=IN_WORK_TOTAL, ssl=False)
    return aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class _NoRoom(Exception):
    """An answer has no room in the memory."""


class Sender:
    """Sends the lines of all batches in work."""

    def __init__(self, session: aiohttp.ClientSession, settings: BatchesSettings) -> None:
        """``session`` is one of `line_session`."""
        self._session, self._settings = session, settings
        self._lanes: dict[tuple[Owner, str], Lane] = {}
        self._in_work = 0
        self._lines, self.answers_memory = Memory(*LINES_MEMORY), Memory(*ANSWERS_MEMORY)
        self._pump_at: asyncio.TimerHandle | None = None

    def join(self, run: Run, opened: Opened) -> None:
        """The lines of this batch are sent from now on, behind those of earlier ones."""
        for name in opened.waiting:
            key = (run.batch.owner, name)
            if key not in self._lanes:
                self._lanes[key] = Lane(name, self._settings.batches_concurrency)
            self._lanes[key].runs.append(run)

    def leave(self, run: Run) -> None:
        """No more lines of this batch are sent."""
        for key, lane in list(self._lanes.items()):
            if run in lane.runs:
                lane.runs.remove(run)
            if not lane.runs and not lane.pace.in_work:
                del self._lanes[key]

    def pump(self) -> None:
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
            self._pump_at = loop.call_at(later, self.pump)

    def _send_one(self, lane: Lane) -> bool:
        for run in lane.runs:
            opened = run.opened
            if opened is None or not run.has_key or run.is_cancelled:
                continue
            waiting = opened.waiting.get(lane.model)
            if waiting and self._lines.take(run.batch.owner, opened.lines.size(waiting[0])):
                self._start(run, lane, opened.lines, waiting)
                return True
        return False

    def _start(self, run: Run, lane: Lane, lines: Lines, waiting: deque[int]) -> None:
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
            self._lines.give_back(run.batch.owner, lines.size(number))
            if not task.cancelled() and task.exception() is not None:
                logger.error("batch %s: a line was not sent", run.batch.id, exc_info=task.exception())
                waiting.append(number)
                lane.pace.refused(asyncio.get_running_loop().time(), None, asyncio.get_running_loop().time())
            self.pump()

        task.add_done_callback(ended)

    async def _send(self, run: Run, lane: Lane, lines: Lines, number: int, waiting: deque[int]) -> None:
        loop = asyncio.get_running_loop()
        line = await asyncio.to_thread(lines.line, number)
        sent_at = loop.time()
        found: Result | Again
        status, taken, body = 0, 0, None
        headers: Mapping[str, str] = {}
        try:
            status, headers, body = await self._post(run, number, line.body)
            taken = len(body or b"")
            found = outcome.of_response(number, line.custom_id, status, headers, body)
        except _NoRoom:
            found = Again("no_memory", retry_after=NO_ROOM_SECONDS)
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
                self.answers_memory.give_back(run.batch.owner, taken)
                return
            if status:
                found = outcome.final(number, line.custom_id, status, headers, body)
            else:
                message = f"The connection ended without an answer {outcome.ATTEMPTS} times."
                found = Result(number, line.custom_id, code="no_answer", message=message)
        else:
            lane.pace.answered()
        run.attempts.pop(number, None)
        self.answers_memory.give_back(run.batch.owner, taken - found.size)
        run.unsaved.append(found)
        run.changed.set()

    def forget(self, run: Run, results: Sequence[Result]) -> None:
        """These results of a batch are on the disk, or are computed again."""
        self.answers_memory.give_back(run.batch.owner, sum(each.size for each in results))

    async def _post(self, run: Run, number: int, body: bytes) -> tuple[int, Mapping[str, str], bytes | None]:
        """Status, headers and body of the answer; the body is None if it is too large. Otherwise its size is taken of
        the memory of answers. Raises _NoRoom."""
        batch = run.batch
        headers = {"Content-Type": "application/json", "X-Request-Id": f"{batch.id}-{number}", **CLASS}
        if run.key:
            headers["Authorization"] = f"Bearer {run.key}"
        url = f"{self._settings.batches_gateway}/namespaces/{batch.owner.namespace}{batch.endpoint}"
        parts, size = bytearray(), 0
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                async for part in response.content.iter_any():
                    if len(parts) + len(part) > outcome.ANSWER_BYTES:
                        response.close()
                        self.answers_memory.give_back(batch.owner, size)
                        return response.status, response.headers, None
                    if not self.answers_memory.take(batch.owner, len(part), size):
                        response.close()
                        raise _NoRoom
                    size += len(part)
                    parts += part
                return response.status, response.headers, bytes(parts)
        except BaseException:
            self.answers_memory.give_back(batch.owner, size)
            raise
