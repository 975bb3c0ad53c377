"""The reader against metrics systems themselves: the same numbers, and what is missing is named."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.latency import PERCENTILES, Latency
from llmservice_operator.autoscaling.signals import Reading
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.client import Prometheus
from support.cluster import wait_until
from support.engines import Engines
from support.metrics_systems import MimirServer, ThanosServer, program
from support.prometheus_server import PrometheusServer, VictoriaMetricsServer, prometheus_server

WINDOW = 20
CHAT = ("team", "chat")
FIRST = Latency.TIME_TO_FIRST_TOKEN
SYSTEMS: Mapping[str, tuple[type[PrometheusServer], Mapping[str, Any]]] = {
    "prometheus3": (PrometheusServer, {}),
    "victoriametrics": (VictoriaMetricsServer, {}),
    "thanos": (ThanosServer, {"deduplicated": True}),
    "thanos-duplicates": (ThanosServer, {}),
    "mimir": (MimirServer, {}),
}
"""By name, with arguments. Prometheus 3 scrapes for Thanos and Mimir."""
SCRAPERS = {"victoriametrics": "victoriametrics"}
"""The program that scrapes; prometheus3 for all others."""


@contextlib.contextmanager
def scraped(system: str, job: Mapping[str, Any]) -> Iterator[PrometheusServer]:
    """A system with this in its scrape job; it has samples of an engine whose requests wait and end."""
    kind, more = SYSTEMS[system]
    scraper = program(SCRAPERS.get(system, "prometheus3"))
    with (
        prometheus_server(kind=kind, job=job, program=scraper, **more) as server,
        Engines(dict(BUCKETS)) as engines,
    ):
        engines.engine("team", "chat-0", running=3, waiting=2)
        server.scrape(engines.address)
        wait_until(lambda: server.query("vllm:request_success_total >= 0"), "the engine was scraped")
        for family in BUCKETS:
            engines.observe("team", "chat-0", family, [0.3] * 80 + [0.7] * 20)
        ended = f'rate(vllm:request_success_total{{finished_reason="stop"}}[{WINDOW}s]) > 0'
        wait_until(lambda: server.query(ended), "requests ended")
        yield server


async def read(server: PrometheusServer, **settings: Any) -> Reading:
    found = await asked(server, **settings)
    assert found.gap is None, found.gap
    return found


async def asked(server: PrometheusServer, **settings: Any) -> Reading:
    given = {"url": server.url, "window_seconds": WINDOW, "headers": server.headers, **settings}
    return await Prometheus(PrometheusSettings(**given), now=time.time).read()


@pytest.mark.parametrize("system", SYSTEMS)
async def test_the_numbers_are_those_of_the_engine(system: str) -> None:
    with scraped(system, {}) as server:
        if system == "thanos-duplicates":
            wait_until(lambda: len(server.query("vllm:num_requests_running")) == 2, "both are there")
        found = await read(server)
    chat = found.signals[CHAT]
    assert (chat.running, chat.waiting, chat.pods) == (3, 2, 1)
    assert chat.finished_per_second > 0
    assert found.absent == {}
    for latency in Latency:
        assert set(chat.latencies[latency]) == set(PERCENTILES)
        assert chat.latencies[latency][50] <= 0.315
        assert chat.latencies[latency][99] > 0.5


@pytest.mark.parametrize("system", SYSTEMS)
async def test_dropped_buckets_are_named(system: str) -> None:
    rule = {"source_labels": ["__name__"], "regex": "vllm:.*_bucket", "action": "drop"}
    with scraped(system, {"metric_relabel_configs": [rule]}) as server:
        found = await read(server)
    assert found.signals[CHAT].latencies == {}
    assert "vllm:time_to_first_token_seconds_bucket" in found.absent[CHAT][FIRST].message


@pytest.mark.parametrize("system", SYSTEMS)
async def test_no_series_at_all_is_no_error(system: str) -> None:
    """As with the tenant of another team."""
    with scraped(system, {}) as server:
        found = await read(server, matchers='cluster="a"')
    assert not found.any_engine
    assert found.signals == {}


async def test_histograms_that_are_converted_to_native_ones_are_named() -> None:
    with scraped("prometheus3", {"convert_classic_histograms_to_nhcb": True}) as server:
        found = await read(server)
    assert found.signals[CHAT].latencies == {}
    assert "native histogram" in found.absent[CHAT][FIRST].message


async def test_converted_histograms_that_keep_their_buckets_scale() -> None:
    """What the message says."""
    job = {"convert_classic_histograms_to_nhcb": True, "always_scrape_classic_histograms": True}
    with scraped("prometheus3", job) as server:
        found = await read(server)
    assert set(found.signals[CHAT].latencies) == set(Latency)
    assert found.absent == {}


async def test_series_of_all_tenants_but_one_are_not_seen() -> None:
    with scraped("mimir", {}) as server:
        other = await read(server, headers={"X-Scope-OrgID": "other"})
        none = await asked(server, headers={})
    assert not other.any_engine
    assert other.signals == {}
    assert none.gap is not None
    assert (none.gap.reason, "401" in none.gap.message) == (metrics_unavailable.PROMETHEUS_REFUSED, True)


async def test_an_answer_without_one_of_the_stores_is_not_used() -> None:
    """Thanos would answer with the series of those that it reaches."""
    with scraped("thanos", {}) as server:
        assert isinstance(server, ThanosServer)
        server.lose_one()
        found = await asked(server)
    assert found.gap is not None
    assert found.signals == {}
