"""Reads Prometheus: all services at once, over a separate session without credentials for the cluster.

Invariants: a read returns either everything or one reason why metrics are unavailable, and never raises; all queries of
a read have the same timestamp; a latency without a target is read only once per window, because it decides nothing and
the histograms of a thousand services are megabytes; redirects are not followed, so that credentials are sent only to
the configured host; messages contain no secrets and do not change while the error stays the same.

A response that is too long, or that Prometheus refuses to compute, may be caused by one namespace. The client then
queries groups of namespaces until it finds the cause. It excludes that namespace for a while, and the metrics of its
services are unavailable; all others are read with the same few queries as before.
"""

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import aiohttp

from llmservice_operator import metrics
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import METRICS_INVALID, NO_PROMETHEUS, MetricsUnavailable
from llmservice_operator.autoscaling.prometheus_answers import AnswerError, Row, histograms, rows
from llmservice_operator.autoscaling.prometheus_queries import AGES, BOUNDS, FLOW, UNMATCHED, queries, scrapes
from llmservice_operator.autoscaling.reading import Answers, Measured, measured, read, scraped, without_series
from llmservice_operator.autoscaling.signals import Owned, Reading, ServiceName
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.credentials import Login, LoginError
from llmservice_operator.controller.prometheus.errors import PrometheusErrors

LONGEST = 32 * 1024 * 1024
"""Maximum size of one unpacked answer, in bytes: some 9,000 busy services."""
LONGEST_UNMATCHED = 64 * 1024
"""The same for series that count for no service. They are hints, and a read succeeds without them."""
LEFT_OUT_SECONDS = 600.0
"""How long a namespace with too many series is excluded."""
SEARCH_SECONDS = 30.0
"""Maximum duration of one search for such namespaces; its results count, and the next read continues it."""
TOO_MUCH = 422
"""HTTP status of a query that can't be executed, for example because of too many samples or series."""
MOST_REFUSALS = 64
"""Maximum number of rejected responses in one search: more are not caused by single namespaces."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Prometheus:
    """One Prometheus, or another server with its query API (Thanos, Mimir, VictoriaMetrics)."""

    def __init__(self, settings: PrometheusSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._login = Login(settings)
        self._trouble = PrometheusErrors(settings, self._login)
        self._decoding = asyncio.Lock()
        self._left_out: dict[str, _LeftOut] = {}
        """Namespaces with too many series."""
        self._known_until = self._no_search_until = 0.0
        """Until when only namespaces with services are queried, and until when no search starts."""
        self._kept: dict[Latency, tuple[float, Measured]] = {}
        """The last answers, and the time of their queries."""

    async def read(self, targeted: Collection[Latency] | None = tuple(Latency), owned: Owned | None = None) -> Reading:
        """One read; ``targeted`` are the latencies that a service has a target for, None for no latencies at all;
        ``owned`` the services and the pods whose series count, None for all that there are. Raises nothing; takes at
        most the time limit of one query and SEARCH_SECONDS, and what its answers take to decode."""
        started = time.monotonic()
        found = await self._read(targeted, owned)
        if self._settings.url:
            metrics.PROMETHEUS_SECONDS.observe(time.monotonic() - started)
        metrics.PROMETHEUS_READS.labels(found.gap.reason if found.gap else "ok").inc()
        return found

    @property
    def configured(self) -> bool:
        """Whether a Prometheus is configured."""
        return bool(self._settings.url)

    async def _read(self, targeted: Collection[Latency] | None, owned: Owned | None) -> Reading:
        settings = self._settings
        if not settings.url:
            text = "No Prometheus is configured: set the chart value scaling.prometheus.url (LLMSERVICE_PROMETHEUS_URL)"
            return Reading({}, MetricsUnavailable(NO_PROMETHEUS, text))
        try:
            ssl = await asyncio.to_thread(self._login.context)
            headers = self._login.headers()
        except LoginError as error:
            return Reading({}, self._trouble.of(error))
        connector = aiohttp.TCPConnector(ssl=ssl, limit=0, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            proxy=settings.proxy or None,
        ) as session:
            now = self._now()
            due = [latency for latency in Latency if self._is_due(latency, targeted, now)]
            found = await self._all(session, f"{now:.3f}", due, owned)
            if isinstance(found, MetricsUnavailable):
                return Reading({}, found)
            reading = await self._reading(found, now, owned)
            asked = {name: pods for name, pods in (owned or {}).items() if name[0] not in self._left_out}
            if missing := without_series(reading, asked):
                reading = dataclasses.replace(reading, scraped=await self._scraped(session, f"{now:.3f}", missing))
        if not self._left_out or owned is None:
            return reading
        left_out = {name: self._left_out[name[0]].gap for name in owned if name[0] in self._left_out}
        return dataclasses.replace(reading, gaps={**reading.gaps, **left_out})

    async def _reading(self, found: "_Found", now: float, owned: Owned | None) -> Reading:
        settings = self._settings
        kept = {latency: answer for latency, (_, answer) in self._kept.items() if latency not in found.latencies}
        self._kept |= {latency: (now, answer) for latency, answer in found.latencies.items()}
        answers = Answers(found.latencies, found.flow, found.ages, found.unmatched, kept)
        return await asyncio.to_thread(
            read, answers, settings.window_seconds, settings.namespace_label, settings.pod_label, owned
        )

    async def _scraped(
        self, session: aiohttp.ClientSession, at: str, services: Sequence[ServiceName]
    ) -> Mapping[ServiceName, bool]:
        """Whether Prometheus scrapes the pods of these services. Only messages use it: an error is no answer."""
        labels = self._settings.namespace_label, self._settings.pod_label
        query = scrapes(services, *labels, self._settings.matchers)
        found = await self._ask(session, query, at, rows, LONGEST_UNMATCHED)
        return scraped(found, *labels) if isinstance(found, tuple) else {}

    def _is_due(self, latency: Latency, targeted: Collection[Latency] | None, now: float) -> bool:
        """Whether to query this latency. The time to first token is always queried: it shows whether requests make
        progress."""
        if targeted is None:
            return False
        if latency in targeted or latency is Latency.TIME_TO_FIRST_TOKEN or latency not in self._kept:
            return True
        return not 0 <= now - self._kept[latency][0] < self._settings.window_seconds

    def _measured(self, body: bytes, latency: Latency) -> Measured:
        return measured(histograms(body, self._settings.namespace_label), BOUNDS[latency])

    async def _all(
        self, session: aiohttp.ClientSession, at: str, due: Sequence[Latency], owned: Owned | None
    ) -> "_Found | MetricsUnavailable":
        """The responses for all namespaces; after a search only for those with services that are not excluded."""
        clock = time.monotonic()
        self._left_out = {name: each for name, each in self._left_out.items() if clock < each.until}
        namespaces = sorted({namespace for namespace, _ in owned or ()} - self._left_out.keys())
        known = clock < self._known_until
        found = await self._ask_all(session, at, due, self._matcher(namespaces) if known else "")
        if not isinstance(found, _TooMuch):
            return found
        if (known and len(namespaces) < 2) or not namespaces or clock < self._no_search_until:
            return found.gap
        return await self._search(session, at, due, namespaces, found.gap)

    async def _search(
        self,
        session: aiohttp.ClientSession,
        at: str,
        due: Sequence[Latency],
        namespaces: Sequence[str],
        first: MetricsUnavailable,
    ) -> "_Found | MetricsUnavailable":
        """The responses, read in groups of namespaces that are halved until a single namespace has too many series; it
        is excluded. ``first`` if all have too many, or the search takes too long."""
        began, groups, guilty = time.monotonic(), [namespaces], list[tuple[str, MetricsUnavailable]]()
        whole, good, refusals = _Found({latency: {} for latency in due}), False, 0
        while groups and refusals <= MOST_REFUSALS and time.monotonic() - began < SEARCH_SECONDS:
            group = groups.pop()
            found = await self._ask_all(session, at, due, self._matcher(group))
            if isinstance(found, MetricsUnavailable):
                return found
            if isinstance(found, _Found):
                whole, good = whole.with_(found), True
                continue
            refusals += 1
            if len(group) == 1:
                guilty.append((group[0], found.gap))
            else:
                half = len(group) // 2
                groups += [group[:half], group[half:]]
        ended = time.monotonic()
        if not good:
            self._no_search_until = ended + LEFT_OUT_SECONDS
            return first
        self._known_until = ended + LEFT_OUT_SECONDS
        for namespace, gap in guilty:
            self._leave_out(namespace, gap)
        return first if groups else whole

    def _leave_out(self, namespace: str, why: MetricsUnavailable) -> None:
        text = f"Prometheus can't be queried for the engines in namespace {namespace}: {why.message}"
        logger.warning("%s. It is excluded for %.0f s", text, LEFT_OUT_SECONDS)
        gap = MetricsUnavailable(
            METRICS_INVALID, f"{text}. A pod in this namespace exports too many series of engines."
        )
        self._left_out[namespace] = _LeftOut(gap, time.monotonic() + LEFT_OUT_SECONDS)

    def _matcher(self, namespaces: Sequence[str]) -> str:
        """A label matcher for these namespaces."""
        return f'{self._settings.namespace_label}=~"{"|".join(namespaces)}"'

    async def _ask_all(
        self, session: aiohttp.ClientSession, at: str, due: Sequence[Latency], matcher: str
    ) -> "_Found | _TooMuch | MetricsUnavailable":
        """All queries in parallel; the first error if one failed, except UNMATCHED: only messages use it."""
        settings = self._settings
        matchers = ", ".join(each for each in (settings.matchers, matcher) if each)
        texts = queries(settings.window_seconds, settings.namespace_label, settings.pod_label, matchers)
        latencies, others = await asyncio.gather(
            asyncio.gather(
                *(
                    self._ask(session, texts[each.value], at, functools.partial(self._measured, latency=each))
                    for each in due
                )
            ),
            asyncio.gather(
                self._ask(session, texts[FLOW], at, rows),
                self._ask(session, texts[AGES], at, rows),
                self._ask(session, texts[UNMATCHED], at, rows, LONGEST_UNMATCHED),
            ),
        )
        flow, ages, unmatched = others
        failed = [each for each in (*latencies, flow, ages) if isinstance(each, MetricsUnavailable | _TooMuch)]
        if failed:
            return next((each for each in failed if isinstance(each, MetricsUnavailable)), failed[0])
        known = unmatched if isinstance(unmatched, tuple) else ()
        return _Found(dict(zip(due, latencies, strict=True)), flow, ages, known)  # type: ignore[arg-type]

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        query: str,
        at: str,
        decode: Callable[[bytes], T],
        longest: int | None = None,
    ) -> "T | _TooMuch | MetricsUnavailable":
        metrics.PROMETHEUS_QUERIES.inc()
        limit = self._settings.timeout_seconds
        form = {"query": query, "time": at, "timeout": f"{limit:g}", "partial_response": "false"}
        try:
            async with asyncio.timeout(limit):
                async with session.post(
                    f"{self._settings.url}/api/v1/query", data=form, allow_redirects=False
                ) as response:
                    body = await _body(response, longest or LONGEST)
            if response.status != 200:
                gap = self._trouble.refusal(response.status, response.headers.get("Location", ""), body)
                return _TooMuch(gap) if response.status == TOO_MUCH else gap
            # One at a time: while it is decoded, a response needs ten times its size.
            async with self._decoding:
                return await asyncio.to_thread(decode, body)
        except TooLongError as error:
            return _TooMuch(self._trouble.of(error))
        except Exception as error:
            logger.debug("query of Prometheus failed: %r", error)
            return self._trouble.of(error)


@dataclasses.dataclass(frozen=True)
class _Found:
    """The decoded responses."""

    latencies: Mapping[Latency, Measured]
    flow: Sequence[Row] = ()
    ages: Sequence[Row] = ()
    unmatched: Sequence[Row] = ()

    def with_(self, other: "_Found") -> "_Found":
        """Both together; they are for different namespaces."""
        return _Found(
            {each: {**of, **other.latencies[each]} for each, of in self.latencies.items()},
            (*self.flow, *other.flow),
            (*self.ages, *other.ages),
            (*self.unmatched, *other.unmatched),
        )


@dataclasses.dataclass(frozen=True)
class _TooMuch:
    """The response is too long, or Prometheus refuses to compute it."""

    gap: MetricsUnavailable


@dataclasses.dataclass(frozen=True)
class _LeftOut:
    """An excluded namespace."""

    gap: MetricsUnavailable
    until: float


class TooLongError(AnswerError):
    """The response is longer than the maximum."""


async def _body(response: aiohttp.ClientResponse, longest: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > longest:
            raise TooLongError(f"the response is longer than {longest / (1 << 20):g} MiB")
    return bytes(body)
