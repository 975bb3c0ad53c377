"""The same metrics from the Prometheus that scrapes the engines: four queries, independent of the number of
services."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from llmservice_operator.autoscaling import prometheus_queries
from llmservice_operator.autoscaling.histogram import Percentiles
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.top.figures import KV_CACHE, Figures

_SECONDS = 30.0
_POD = "(.+)-[0-9]+"


class Prometheus:
    """One Prometheus, queried for the services of one namespace or of all."""

    def __init__(self, url: str, namespace: str | None, service: str, window: int) -> None:
        self._url = url
        chosen = ([f"namespace={json.dumps(namespace)}"] if namespace else []) + (
            [f'pod=~"{service}-[0-9]+"'] if service else []
        )
        matchers = ", ".join(chosen)
        self._queries = prometheus_queries.queries(window, matchers=matchers)
        named = f'label_replace({KV_CACHE}{{{matchers}}}, "{prometheus_queries.SERVICE}", "$1", "pod", "{_POD}")'
        self.kv_cache = f"avg by (namespace, {prometheus_queries.SERVICE}) ({named})"
        """The query for the use of the KV cache."""

    def look(self) -> tuple[Mapping[tuple[str, str], Figures], Sequence[str]]:
        """Metrics by namespace and name of the service. Raises Failure."""
        from llmservice_operator.autoscaling.prometheus_answers import AnswerError, histograms, rows
        from llmservice_operator.autoscaling.reading import measured

        try:
            first = measured(histograms(self._ask(self._queries[Latency.TIME_TO_FIRST_TOKEN]), "namespace"))
            between = measured(histograms(self._ask(self._queries[Latency.INTER_TOKEN_LATENCY]), "namespace"))
            flow = rows(self._ask(self._queries[prometheus_queries.FLOW]))
            shares = rows(self._ask(self.kv_cache))
        except AnswerError as error:
            raise Failure(f"the Prometheus at {self._url} returned no usable metrics: {error}") from None
        signals: dict[tuple[str, str], dict[str, float]] = {}
        for row in (*flow, *shares):
            if math.isfinite(row.value):
                key = row.labels.get("namespace", ""), row.labels.get(prometheus_queries.SERVICE, "")
                signals.setdefault(key, {})[row.labels.get(prometheus_queries.SIGNAL, KV_CACHE)] = row.value
        return {
            key: Figures(
                requests_per_second=found.get(prometheus_queries.FINISHED),
                tokens_per_second=found.get(prometheus_queries.GENERATED),
                first_token=_seconds(first.get(key)),
                between_tokens=_seconds(between.get(key)),
                kv_cache=found.get(KV_CACHE),
                running=found.get(prometheus_queries.RUNNING),
                waiting=found.get(prometheus_queries.WAITING),
            )
            for key, found in signals.items()
        }, ()

    def _ask(self, query: str) -> bytes:
        import urllib3

        try:
            answer = urllib3.PoolManager(retries=False, timeout=_SECONDS).request(
                "POST", f"{self._url}/api/v1/query", fields={"query": query}, encode_multipart=False
            )
        except urllib3.exceptions.HTTPError as error:
            said = " ".join(str(getattr(error, "reason", None) or error).split())[:300]
            raise Failure(f"the Prometheus at {self._url} can't be reached ({said})") from None
        if answer.status not in (200, 400, 422, 503):
            raise Failure(f"there is no Prometheus at {self._url}: the response has status {answer.status}")
        return answer.data


def _seconds(found: Percentiles | None) -> Mapping[int, float]:
    return found.values if found is not None else {}
