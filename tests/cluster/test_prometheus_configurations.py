"""The reader against Prometheus as people configure it: what is dropped, renamed or relabelled is named, and decides
nothing. Prometheus is a real one in a process of its own.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.signals import Reading, SeriesLabels
from llmservice_operator.autoscaling.unmatched_series import no_series
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.client import Prometheus
from support.cluster import wait_until
from support.engines import Engines
from support.prometheus_server import PrometheusServer, prometheus_server

WINDOW = 20
CHAT = ("team", "chat")
FIRST = Latency.TIME_TO_FIRST_TOKEN


@contextlib.contextmanager
def scraped(
    job: Mapping[str, Any], counted: str = "vllm:request_success_total", rules: Mapping[str, str] | None = None
) -> Iterator[PrometheusServer]:
    """A Prometheus with this in its scrape job; it has two samples of an engine whose requests wait and end."""
    with prometheus_server(job=job, rules=rules) as server, Engines(dict(BUCKETS)) as engines:
        engines.engine(*CHAT[:1], "chat-0", running=3, waiting=2)
        server.scrape(engines.address)
        wait_until(lambda: server.query(f"{counted} >= 0"), "the engine was scraped")
        for family in BUCKETS:
            engines.observe("team", "chat-0", family, [0.3] * 100)
        ended = f'rate({counted}{{finished_reason="stop"}}[{WINDOW}s]) > 0'
        wait_until(lambda: server.query(ended), "requests ended")
        yield server


async def read(server: PrometheusServer, **settings: Any) -> Reading:
    wanted = PrometheusSettings(url=server.url, window_seconds=WINDOW, **settings)
    found = await Prometheus(wanted, now=time.time).read()
    assert found.gap is None, found.gap
    return found


def dropping(pattern: str) -> dict[str, Any]:
    return {"metric_relabel_configs": [{"source_labels": ["__name__"], "regex": pattern, "action": "drop"}]}


async def test_every_series_of_an_engine_is_enough() -> None:
    with scraped({}) as server:
        found = await read(server)
    assert set(found.signals[CHAT].latencies) == set(Latency)
    assert found.absent == {}


async def test_dropped_buckets_are_named() -> None:
    with scraped(dropping("vllm:.*_bucket")) as server:
        found = await read(server)
    assert found.signals[CHAT].latencies == {}
    assert set(found.absent[CHAT]) == set(Latency)
    assert "vllm:time_to_first_token_seconds_bucket" in found.absent[CHAT][FIRST].message


async def test_dropped_counts_are_not_needed() -> None:
    with scraped(dropping("vllm:.*_(count|sum)")) as server:
        found = await read(server)
    assert set(found.signals[CHAT].latencies) == set(Latency)
    assert found.absent == {}


async def test_some_dropped_buckets_are_named_and_no_percentile_is_guessed() -> None:
    """A usual measure against many series: only a few values of le are kept."""
    rule = {"source_labels": ["__name__", "le"], "regex": "vllm:.*_bucket;0[.].*", "action": "drop"}
    with scraped({"metric_relabel_configs": [rule]}) as server:
        found = await read(server)
    assert FIRST not in found.signals[CHAT].latencies
    assert 'le="0.04"' in found.absent[CHAT][FIRST].message


def reported(found: Reading, labels: SeriesLabels | None = None) -> MetricsUnavailable:
    """What the condition of the service says that has no series."""
    assert CHAT not in found.signals
    return no_series(CHAT, found.unmatched, found.any_engine, labels or SeriesLabels())


async def test_renamed_series_are_named() -> None:
    """As exporters of OpenTelemetry write them."""
    rule = {"source_labels": ["__name__"], "regex": "vllm:(.*)", "target_label": "__name__", "replacement": "vllm_$1"}
    with scraped({"metric_relabel_configs": [rule]}, counted="vllm_request_success_total") as server:
        gap = reported(await read(server))
    assert gap.reason == metrics_unavailable.NO_SERIES
    assert "vllm_num_requests_running" in gap.message and 'pod="chat-0"' in gap.message


async def test_labels_of_an_exporter_in_between_are_not_the_pods() -> None:
    """Without honor_labels, what the page says of pods becomes exported_pod, and pod is who was scraped."""
    target = {"target_label": "pod", "replacement": "collector-7d4f"}
    place = {"target_label": "namespace", "replacement": "team"}
    with scraped({"honor_labels": False, "relabel_configs": [target, place]}) as server:
        gap = reported(await read(server))
    assert gap.reason == metrics_unavailable.LABELS_MATCH_NO_POD
    assert 'pod="collector-7d4f"' in gap.message


async def test_a_missing_label_is_named_with_the_one_that_is_there() -> None:
    rules = [
        {"source_labels": ["pod"], "target_label": "kubernetes_pod_name"},
        {"regex": "pod", "action": "labeldrop"},
    ]
    with scraped({"metric_relabel_configs": rules}) as server:
        gap = reported(await read(server))
        mended = await read(server, pod_label="kubernetes_pod_name")
    assert gap.reason == metrics_unavailable.LABELS_MATCH_NO_POD
    assert "kubernetes_pod_name" in gap.message and "scaling.prometheus.labels.pod" in gap.message
    assert mended.signals[CHAT].running == 3


async def test_a_label_of_remote_systems_in_the_matchers_finds_nothing_and_says_so() -> None:
    """External labels are added on the way out: the local Prometheus has no series with them."""
    with scraped({}) as server:
        found = await read(server, matchers='cluster="a"')
        gap = reported(found, SeriesLabels(matchers='cluster="a"'))
    assert not found.any_engine
    assert 'cluster="a"' in gap.message and "matchers" in gap.message


async def test_series_that_rules_record_are_no_engines() -> None:
    """A rule that records sums under the engines' own name adds nothing to a service, and hides no pod."""
    rules = {
        "vllm:num_requests_running": "sum by (namespace) (vllm:num_requests_running)",
        "vllm:time_to_first_token_seconds_bucket": "sum by (namespace, le) (vllm:time_to_first_token_seconds_bucket)",
    }
    with scraped({}, rules=rules) as server:
        wait_until(lambda: server.query('vllm:num_requests_running{pod=""}'), "the rule was evaluated")
        found = await read(server)
    assert found.signals[CHAT].running == 3
    assert set(found.signals[CHAT].latencies) == set(Latency)


@pytest.mark.parametrize("dropped", ["vllm:.*", ""], ids=["dropped", "failing"])
async def test_pods_that_are_scraped_without_their_series_are_told_apart(dropped: str) -> None:
    owned = {CHAT: {"chat-0": frozenset[str]()}}
    with prometheus_server(job=dropping(dropped) if dropped else {}) as server, Engines(dict(BUCKETS)) as engines:
        engines.engine("team", "chat-0")
        server.scrape(engines.address if dropped else "127.0.0.1:1", namespace="team", pod="chat-0")
        wait_until(lambda: server.query('up{pod="chat-0"}'), "the pod was scraped")
        wanted = PrometheusSettings(url=server.url, window_seconds=WINDOW)
        found = await Prometheus(wanted, now=time.time).read(owned=owned)
    assert found.scraped == {CHAT: bool(dropped)}


@pytest.mark.parametrize("family", ["num_requests_waiting", "num_requests_running", "request_success_total"])
async def test_a_dropped_gauge_or_counter_is_no_zero(family: str) -> None:
    counted = "vllm:generation_tokens_total" if family == "request_success_total" else "vllm:request_success_total"
    with prometheus_server(job=dropping(f"vllm:{family}")) as server, Engines(dict(BUCKETS)) as engines:
        engines.engine("team", "chat-0", running=3, waiting=2)
        server.scrape(engines.address)
        wait_until(lambda: server.query(f"rate({counted}[{WINDOW}s])"), "there are two samples")
        found = await read(server)
    assert CHAT not in found.signals
    assert found.gaps[CHAT].reason == metrics_unavailable.NO_SERIES
