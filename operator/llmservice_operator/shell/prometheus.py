"""Reading Prometheus: all services in one look, over a session of its own that holds no rights in the cluster.

What always holds: a look either gives everything or one gap that says why not, and never raises; all queries of a look
are for the same moment; a latency that no service has a target for is asked for once a window, as it decides nothing
and a thousand services' histograms are megabytes; no redirect is followed, so the login goes to the configured host
alone; texts hold no secrets and stay the same while the trouble does.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import TypeVar

import aiohttp

from llmservice_operator import metrics
from llmservice_operator.scaling.answers import AnswerError, histograms, rows
from llmservice_operator.scaling.gaps import NO_PROMETHEUS, Gap
from llmservice_operator.scaling.latency import Latency
from llmservice_operator.scaling.queries import FLOW, STALE, STRANGER, queries
from llmservice_operator.scaling.reading import Answers, Measured, measured, read
from llmservice_operator.scaling.signals import Reading
from llmservice_operator.settings_scaling import PrometheusSettings
from llmservice_operator.shell.prometheus_login import Login, LoginError
from llmservice_operator.shell.prometheus_trouble import Trouble

LONGEST = 32 * 1024 * 1024
"""Bytes of one answer, unpacked: some 9,000 services that are all busy."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Prometheus:
    """One Prometheus, or what speaks its query API (Thanos, Mimir, VictoriaMetrics)."""

    def __init__(self, settings: PrometheusSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._login = Login(settings)
        self._trouble = Trouble(settings, self._login)
        self._decoding = asyncio.Lock()
        self._queries = queries(
            settings.window_seconds, settings.namespace_label, settings.pod_label, settings.matchers
        )
        self._kept: dict[Latency, tuple[float, Measured]] = {}
        """The last answers, and for which moment they were asked."""

    async def read(self, targeted: Collection[Latency] | None = tuple(Latency)) -> Reading:
        """One look; ``targeted`` are the latencies that a service has a target for, None for no latencies at all.
        Raises nothing; takes at most the time limit of one query, and what its answers take to decode."""
        started = time.monotonic()
        found = await self._read(targeted)
        if self._settings.url:
            metrics.PROMETHEUS_SECONDS.observe(time.monotonic() - started)
        metrics.PROMETHEUS_READS.labels(found.gap.reason if found.gap else "ok").inc()
        return found

    @property
    def configured(self) -> bool:
        """Whether there is one."""
        return bool(self._settings.url)

    async def close(self) -> None:
        """Nothing to keep between looks: for the caller's symmetry."""

    async def _read(self, targeted: Collection[Latency] | None) -> Reading:
        settings = self._settings
        if not settings.url:
            text = "No Prometheus is configured: set the chart value scaling.prometheus.url (LLMSERVICE_PROMETHEUS_URL)"
            return Reading({}, Gap(NO_PROMETHEUS, text))
        try:
            ssl = await asyncio.to_thread(self._login.context)
            headers = self._login.headers()
        except LoginError as error:
            return Reading({}, self._trouble.of(error))
        connector = aiohttp.TCPConnector(ssl=ssl, limit=0, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout()
        ) as session:
            now = self._now()
            at = f"{now:.3f}"
            due = [latency for latency in Latency if self._is_due(latency, targeted, now)]
            found, others = await asyncio.gather(
                self._all(session, at, [latency.value for latency in due], self._measured),
                self._all(session, at, [FLOW, STALE, STRANGER], rows),
            )
        if isinstance(found, Gap):
            return Reading({}, found)
        if isinstance(others, Gap):
            return Reading({}, others)
        latencies = {Latency(name): answer for name, answer in found.items()}
        kept = {latency: answer for latency, (_, answer) in self._kept.items() if latency not in latencies}
        self._kept |= {latency: (now, answer) for latency, answer in latencies.items()}
        answers = Answers(latencies, others[FLOW], others[STALE], others[STRANGER], kept)
        return await asyncio.to_thread(
            read, answers, settings.window_seconds, settings.namespace_label, settings.pod_label
        )

    def _is_due(self, latency: Latency, targeted: Collection[Latency] | None, now: float) -> bool:
        """Whether to ask. The time to the first token tells, target or not, whether requests get anywhere."""
        if targeted is None:
            return False
        if latency in targeted or latency is Latency.TIME_TO_FIRST_TOKEN or latency not in self._kept:
            return True
        return not 0 <= now - self._kept[latency][0] < self._settings.window_seconds

    def _measured(self, body: bytes) -> Measured:
        return measured(histograms(body, self._settings.namespace_label))

    async def _all(
        self, session: aiohttp.ClientSession, at: str, names: list[str], decode: Callable[[bytes], T]
    ) -> dict[str, T] | Gap:
        """The answers by the names of their queries; the first gap where one failed."""
        answers = await asyncio.gather(*(self._ask(session, self._queries[name], at, decode) for name in names))
        found: dict[str, T] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Gap):
                return answer
            found[name] = answer
        return found

    async def _ask(self, session: aiohttp.ClientSession, query: str, at: str, decode: Callable[[bytes], T]) -> T | Gap:
        metrics.PROMETHEUS_QUERIES.inc()
        limit = self._settings.timeout_seconds
        form = {"query": query, "time": at, "timeout": f"{limit:g}", "partial_response": "false"}
        try:
            async with asyncio.timeout(limit):
                async with session.post(
                    f"{self._settings.url}/api/v1/query", data=form, allow_redirects=False
                ) as response:
                    body = await _body(response)
            if response.status != 200:
                return self._trouble.refusal(response.status, response.headers.get("Location", ""), body)
            # One at a time: while it is decoded, an answer takes ten times its length.
            async with self._decoding:
                return await asyncio.to_thread(decode, body)
        except Exception as error:
            logger.debug("query of Prometheus failed: %r", error)
            return self._trouble.of(error)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LONGEST:
            raise AnswerError(f"the answer is longer than {LONGEST >> 20} MiB")
    return bytes(body)
