"""The metrics of the gateway: response times, tokens by key and tier, refused requests.

The number of series is bounded, whatever clients send and however many keys a service has: routes are patterns of the
route table, reasons are constants, tiers and key ids beyond a number share one label. Each call costs some microseconds
at most, so it happens once for each request and never for each chunk.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from llmservice_contract import metrics

LATENCY_BUCKETS = (
    *(0.001, 0.0025),
    *(0.005, 0.0063, 0.008, 0.01, 0.0125, 0.016, 0.02, 0.025, 0.0315, 0.04, 0.05, 0.063, 0.08, 0.1),
    *(0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0),
    *(200.0, 600.0, 1000.0),
)
"""In seconds. From 5 ms to 100 ms a percentile is known to within 28 %, up to 100 s to within 67 %; a target that is
itself a bound is decided exactly. The last one is above the longest deadline that a service has by default (600 s)."""


class Meter:
    """The gateway's metrics on one registry; one for each process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._latency = Histogram(
            metrics.LATENCY,
            "Seconds from the first byte of a request to the last of its answer.",
            ["route", "tier"],
            registry=registry,
            buckets=LATENCY_BUCKETS,
        )
        self._first_token = Histogram(
            metrics.FIRST_TOKEN,
            "Seconds from the arrival of a request to the first token of its first answer.",
            ["tier"],
            registry=registry,
            buckets=metrics.BUCKETS["time_to_first_token"],
        )
        self._active = Gauge(metrics.ACTIVE, "Requests for work that are being answered.", registry=registry)
        self._rejections = Counter(
            metrics.REJECTIONS, "Requests that were refused before the engine.", ["reason", "tier"], registry=registry
        )
        self._tokens = Counter(
            metrics.TOKENS, "Tokens of prompts and answers.", ["key_id", "tier", "kind"], registry=registry
        )
        self._store_failures = Counter(
            metrics.STORE_FAILURES, "Times that the shared store of rate limits did not answer.", registry=registry
        )
        self._tiers: set[str] = set()
        self._latencies: dict[tuple[str, str], Histogram] = {}
        self._first_tokens: dict[str, Histogram] = {}
        self._refused: dict[tuple[str, str], Counter] = {}
        self._used: dict[tuple[str, str], tuple[Counter, Counter]] = {}

    def admitted(self, route: str, tier: str) -> None:
        """A request for work goes on to the engine; `finished` follows, however it ends."""
        self._active.inc()

    def rejected(self, reason: str, tier: str) -> None:
        """A request was refused; `reason` is a constant of the code."""
        key = (reason, self._tier(tier))
        child = self._refused.get(key)
        if child is None:
            child = self._refused[key] = self._rejections.labels(*key)
        child.inc()

    def first_token(self, tier: str, seconds: float) -> None:
        """An admitted request got its first token after so long."""
        tier = self._tier(tier)
        child = self._first_tokens.get(tier)
        if child is None:
            child = self._first_tokens[tier] = self._first_token.labels(tier)
        child.observe(seconds)

    def finished(
        self, route: str, tier: str, key_id: str, seconds: float, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """An admitted request has ended: answered, failed or left by its client. `key_id` is empty without keys."""
        self._active.dec()
        tier = self._tier(tier)
        latency = self._latencies.get((route, tier))
        if latency is None:
            latency = self._latencies[route, tier] = self._latency.labels(route, tier)
        latency.observe(seconds)
        prompt, completion = self._used.get((key_id, tier)) or self._tokens_of(key_id, tier)
        prompt.inc(prompt_tokens)
        completion.inc(completion_tokens)

    def store_failed(self) -> None:
        """The shared store of rate limits did not answer."""
        self._store_failures.inc()

    def _tier(self, tier: str) -> str:
        if tier in self._tiers:
            return tier
        if len(self._tiers) >= metrics.MOST_TIERS:
            return metrics.OTHER
        self._tiers.add(tier)
        return tier

    def _tokens_of(self, key_id: str, tier: str) -> tuple[Counter, Counter]:
        """The counters of a pair that has none yet: its own, while there is room."""
        key = (key_id if len(self._used) < metrics.MOST_KEY_IDS else metrics.OTHER, tier)
        counters = self._used.get(key)
        if counters is None:
            prompt, completion = (self._tokens.labels(*key, kind) for kind in (metrics.PROMPT, metrics.COMPLETION))
            counters = self._used[key] = (prompt, completion)
        return counters
