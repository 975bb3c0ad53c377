"""Memory estimates, computed outside the event loop: in one process with limits, one request at a time.

Invariants: no estimate blocks the reconciliation of another service. Each request is computed once, and a failure
counts as a result: it is not retried until the service has another request. Namespaces share the time fairly
(start-time fair queueing): the one that used the least time comes next, so that a tenant waits for at most one estimate
of another.
"""

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Protocol

import msgspec
from cachetools import LRUCache

from llmservice_operator import metrics
from llmservice_operator.controller.estimator_process import LONGEST_LINE, READY, Answer, Asked
from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.planner.model.fit_estimate import Estimate, Question, without_answer

SECONDS = 5.0
"""Timeout of an estimate on a busy machine, in seconds. Most take 0.03 s, and the kernel kills the process after one or
two seconds of CPU time."""
START_SECONDS = 30.0
"""Timeout for the start of the process on a busy machine, in seconds."""
AGAIN_SECONDS = 10.0
"""Pause after the process could not be started, in seconds."""
PATIENCE_SECONDS = 0.25
"""How long one reconciliation waits for its estimate before it continues without one."""
MOST_WAITING = 4
"""Maximum number of waiting reconciliations; fewer than workers, so that others continue."""
LEAST_SECONDS = 0.001
"""Minimum cost of each estimate in seconds, so that namespaces take turns."""
REMEMBERED = 256
"""Cached estimates in addition to the last one of each service: services with the same model share them."""

logger = logging.getLogger(__name__)


class NoAnswer(Exception):
    """Why there is no estimate; the text follows the words "the estimate"."""


class NotStarted(Exception):
    """Why the estimator process is not running."""


class Answerer(Protocol):
    """Computes estimates."""

    async def ask(self, question: Question) -> Estimate:
        """The estimate. Raises NoAnswer, and NotStarted if the process is not running."""

    async def start(self) -> None:
        """Start, so that the first estimate is fast. Raises NotStarted."""

    async def close(self) -> None:
        """Stop."""


class Estimates:
    """Estimates by service. ``run`` processes the requests; ``answered`` is called for a service whose estimate is
    ready if no reconciliation waited for it."""

    def __init__(self, answerer: Answerer, answered: Callable[[ServiceKey], None] = lambda key: None) -> None:
        self._answerer = answerer
        self._answered = answered
        self._last: dict[ServiceKey, Estimate] = {}
        self._known: LRUCache[Question, Estimate] = LRUCache(REMEMBERED)
        self._asked: dict[ServiceKey, Question] = {}
        """The newest request of each service without a result."""
        self._turns: dict[str, dict[str, None]] = {}
        """Names of the waiting services by namespace, in the order of their turns."""
        self._starts: dict[str, float] = {}
        """The virtual time at which a namespace's next request may start, in seconds."""
        self._virtual = 0.0
        """The virtual time: the start of the last request."""
        self._news = asyncio.Event()
        self._waiters: dict[ServiceKey, asyncio.Future[Estimate]] = {}

    def last(self, key: ServiceKey) -> Estimate | None:
        """The last estimate of the service, maybe for an earlier request."""
        return self._last.get(key)

    async def of(self, key: ServiceKey, question: Question) -> Estimate | None:
        """The estimate; None if it takes longer than PATIENCE_SECONDS."""
        last = self._last.get(key)
        if last is not None and last.question == question:
            return last
        known = self._known.get(question)
        if known is not None:
            self._last[key] = known
            self._forget_question(key)
            return known
        self._asked[key] = question
        if key[0] not in self._turns:
            self._starts[key[0]] = max(self._starts.get(key[0], 0.0), self._virtual)
        self._turns.setdefault(key[0], {})[key[1]] = None
        self._news.set()
        if key in self._waiters or len(self._waiters) >= MOST_WAITING:
            return None
        waiter = self._waiters[key] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await waiter
        except TimeoutError:
            return None
        finally:
            del self._waiters[key]
        return found if found.question == question else None

    def forget(self, key: ServiceKey) -> None:
        """Forget a deleted service."""
        self._last.pop(key, None)
        self._forget_question(key)

    async def run(self) -> None:
        """Process requests until cancelled."""
        try:
            with contextlib.suppress(NotStarted):  # it is retried, and logged, at the next request
                await self._answerer.start()
            while True:
                key = await self._next()
                question = self._asked[key]
                begun = asyncio.get_running_loop().time()
                try:
                    estimate = self._known.get(question) or await self._computed(key, question)
                except NotStarted as error:
                    logger.warning("No memory estimates for the next %.0f s: %s", AGAIN_SECONDS, error)
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                self._charge(key[0], asyncio.get_running_loop().time() - begun)
                self._keep(key, estimate)
        finally:
            await self._answerer.close()

    async def _next(self) -> ServiceKey:
        while not self._turns:
            self._news.clear()
            await self._news.wait()
        namespace = min(self._turns, key=self._starts.__getitem__)
        self._virtual = self._starts[namespace]
        return namespace, next(iter(self._turns[namespace]))

    async def _computed(self, key: ServiceKey, question: Question) -> Estimate:
        try:
            estimate = await self._answerer.ask(question)
            result = "ok"
        except NoAnswer as error:
            logger.warning("%s/%s: the memory estimate %s; the condition Fits is Unknown", *key, error)
            estimate, result = without_answer(question, str(error)), "none"
        metrics.ESTIMATES.labels(result).inc()
        self._known[question] = estimate
        return estimate

    def _charge(self, namespace: str, seconds: float) -> None:
        """Charge the namespace for its estimate, and drop the start times of others that no longer matter."""
        self._starts[namespace] = self._virtual + max(seconds, LEAST_SECONDS)
        self._starts = {
            name: start for name, start in self._starts.items() if name in self._turns or start > self._virtual
        }

    def _keep(self, key: ServiceKey, estimate: Estimate) -> None:
        """Keep an estimate for the service if its request is still the same."""
        if self._asked.get(key) == estimate.question:
            self._last[key] = estimate
            self._forget_question(key)
        waiter = self._waiters.get(key)
        if waiter is not None and not waiter.done():
            waiter.set_result(estimate)
        elif self._last.get(key) is estimate:
            self._answered(key)

    def _forget_question(self, key: ServiceKey) -> None:
        self._asked.pop(key, None)
        names = self._turns.get(key[0], {})
        names.pop(key[1], None)
        if not names:
            self._turns.pop(key[0], None)


class EstimatorProcess:
    """The estimator process; started on demand, killed and restarted if an estimate takes too long."""

    def __init__(self, *command: str, seconds: float = SECONDS) -> None:
        self._command = command or (sys.executable, "-m", "llmservice_operator.controller.estimator_process")
        self._seconds = seconds
        self._process: Process | None = None
        self._number = 0

    async def ask(self, question: Question) -> Estimate:
        """See ``Answerer``."""
        process = self._process or await self._start()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._exchange(process, question)
        except TimeoutError:
            await self.close()
            raise NoAnswer(f"took longer than {self._seconds:g} s") from None
        except (OSError, ValueError, EOFError) as error:  # ValueError: the result is too long or invalid
            await self.close()
            raise NoAnswer(f"exited without a result ({_ended(process) or type(error).__name__})") from None
        except BaseException:
            await self.close()
            raise
        if answer.error or len(answer.fits) != len(question.requests):
            raise NoAnswer(f"failed with {answer.error or 'too few results'}")
        return Estimate(question, answer.fits)

    async def start(self) -> None:
        """See ``Answerer``."""
        if self._process is None:
            await self._start()

    async def close(self) -> None:
        """See ``Answerer``."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _exchange(self, process: Process, question: Question) -> Answer:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        self._number += 1
        process.stdin.write(msgspec.json.encode(Asked(self._number, question)) + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            await process.wait()
            raise EOFError
        answer = msgspec.json.decode(line, type=Answer)
        if answer.number != self._number:
            raise ValueError("the response belongs to another request")
        return answer

    async def _start(self) -> Process:
        """Raises NotStarted."""
        kept = {name: value for name, value in os.environ.items() if name.startswith("PYTHON") or name in _KEPT}
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, env=kept, limit=LONGEST_LINE
            )
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            async with asyncio.timeout(START_SECONDS):
                first = await process.stdout.readline()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            await self.close()
            raise NotStarted(f"its process can't be started: {error!r}") from None
        if first != READY:
            await self.close()
            raise NotStarted(f"its process exited at once ({_ended(process)})")
        return process


_KEPT = frozenset({"PATH", "LD_LIBRARY_PATH", "LANG"})
"""Environment variables that the process gets, in addition to Python's own."""


def _ended(process: Process) -> str:
    code = process.returncode
    return "" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
