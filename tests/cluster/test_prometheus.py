"""The reader against Prometheus itself: its numbers are Prometheus' own, and labels are those of pods."""

import asyncio
import json
import math
import random
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.latency import PERCENTILES, Latency
from llmservice_operator.autoscaling.prometheus_queries import queries
from llmservice_operator.autoscaling.signals import Reading, Signals
from llmservice_operator.cli.top.prometheus import Prometheus as TopOfPrometheus
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.client import Prometheus
from support.cluster import Cluster, wait_until
from support.engines import LATENCIES, Engines
from support.prometheus_server import PrometheusServer, prometheus_server
from support.web import host

WINDOW = 20
CHAT = ("team", "chat")
FAMILIES = {
    "time_to_first_token": (Latency.TIME_TO_FIRST_TOKEN, 0.3),
    "inter_token_latency": (Latency.INTER_TOKEN_LATENCY, 0.02),
    "request_latency": (Latency.REQUEST_LATENCY, 4.0),
}
"""The latency and a median for each family."""


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    with prometheus_server() as found:
        yield found


def at(server: PrometheusServer, query: str, moment: float) -> list[tuple[dict[str, str], float]]:
    """What Prometheus answers for a moment."""
    asked = f"{server.url}/api/v1/query?{urllib.parse.urlencode({'query': query, 'time': f'{moment:.3f}'})}"
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return [(row["metric"], float(row["value"][1])) for row in json.load(answer)["data"]["result"]]


async def read(server: PrometheusServer, moment: float, **settings: Any) -> Reading:
    reader = Prometheus(PrometheusSettings(url=server.url, window_seconds=WINDOW, **settings), now=lambda: moment)
    found = await reader.read()
    assert found.gap is None, found.gap
    return found


def scraped(server: PrometheusServer, query: str, value: float) -> None:
    """Waits until Prometheus has it."""
    wait_until(lambda: [row["value"][1] for row in server.query(query)] == [f"{value:g}"], f"{query} is {value}")


def counted(server: PrometheusServer, count: int, namespace: str) -> None:
    """Waits until Prometheus has seen so many requests end."""
    scraped(server, f'sum(vllm:request_success_total{{namespace="{namespace}"}})', count)


async def test_percentiles_rates_and_gauges_are_those_of_prometheus(server: PrometheusServer) -> None:
    rng = random.Random(3)
    with Engines(dict(BUCKETS)) as engines:
        for pod, running in (("chat-0", 3), ("chat-1", 4), ("other-0", 1), ("idle-0", 0)):
            engines.engine("team", pod, running=running, waiting=running - 1 if running else 0, kv_cache=running / 10)
        server.scrape(engines.address)
        counted(server, 0, "team")
        for pod, slower in (("chat-0", 1.0), ("chat-1", 2.5), ("other-0", 6.0)):
            for family, (_, median) in FAMILIES.items():
                times = [rng.lognormvariate(math.log(median * slower), 0.5) for _ in range(200)]
                engines.observe("team", pod, family, times)
            engines.generate("team", pod, 5000)
            engines.queued("team", pod, 30.0)
        counted(server, 600, "team")
        moment = time.time()
        found = await read(server, moment)
        for family, name in LATENCIES.items():
            rates = f"sum by (namespace, le) (rate({name}_bucket{{pod=~'chat-.*'}}[{WINDOW}s]))"
            for percentile in PERCENTILES:
                ((_, truth),) = at(server, f"histogram_quantile({percentile / 100}, {rates})", moment)
                measured = found.signals[CHAT].latencies[FAMILIES[family][0]][percentile]
                assert measured == pytest.approx(truth, rel=1e-9), f"p{percentile} of {name}"
        ((_, rate),) = at(server, f"sum(rate(vllm:request_success_total{{pod=~'chat-.*'}}[{WINDOW}s]))", moment)
        chat, idle = found.signals[CHAT], found.signals["team", "idle"]
        assert chat.finished_per_second == pytest.approx(rate)
        assert rate > 0
        ((_, tokens),) = at(server, f"sum(rate(vllm:generation_tokens_total{{pod=~'chat-.*'}}[{WINDOW}s]))", moment)
        assert chat.generated_per_second == pytest.approx(tokens) and tokens > 0
        assert idle.generated_per_second == 0
        for series, mean in (
            ("vllm:e2e_request_latency_seconds_sum", chat.mean_in_flight),
            ("vllm:request_queue_time_seconds_sum", chat.mean_waiting),
        ):
            ((_, truth),) = at(server, f"sum(rate({series}{{pod=~'chat-.*'}}[{WINDOW}s]))", moment)
            assert mean == pytest.approx(truth) and truth > 0, series
        assert (chat.running, chat.waiting, chat.pods) == (7, 5, 2)
        assert (idle.running, idle.waiting, idle.pods, idle.finished_per_second, idle.latencies) == (0, 0, 1, 0, {})
        slow = found.signals["team", "other"].latencies[Latency.TIME_TO_FIRST_TOKEN]
        assert slow[50] > chat.latencies[Latency.TIME_TO_FIRST_TOKEN][50]
        assert not found.unmatched
        assert not found.absent
        shown, _ = TopOfPrometheus(server.url, "team", "chat", WINDOW).look()
        assert list(shown) == [CHAT]
        assert (shown[CHAT].running, shown[CHAT].waiting, shown[CHAT].kv_cache) == (7, 5, pytest.approx(0.35))
        assert shown[CHAT].first_token[99] > 0 and (shown[CHAT].tokens_per_second or 0) > 0
    server.scrape()


async def test_engines_that_two_jobs_scrape_count_once(server: PrometheusServer) -> None:
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("twice", "chat-0", running=3, waiting=2)
        server.scrape(engines.address, engines.address.replace("127.0.0.1", "localhost"))
        counted(server, 0, "twice")
        scraped(server, 'count(vllm:num_requests_running{namespace="twice"})', 2)
        engines.observe("twice", "chat-0", "request_latency", [1.0] * 100)
        counted(server, 200, "twice")
        moment = time.time()
        found = (await read(server, moment)).signals["twice", "chat"]
        one = f"max(sum by (instance) (rate(vllm:request_success_total{{namespace='twice'}}[{WINDOW}s])))"
        ((_, rate),) = at(server, one, moment)
        assert (found.running, found.waiting, found.pods) == (3, 2, 1)
        assert found.finished_per_second == pytest.approx(rate)
    server.scrape()


async def test_engines_of_one_replica_add_up(server: PrometheusServer) -> None:
    """As with `parallelism.data`: one pod has series of each engine."""
    with Engines(dict(BUCKETS)) as engines:
        for rank, waiting in (("0", 2), ("1", 5)):
            engines.engine("several", "chat-0", running=3, waiting=waiting, kv_cache=0.5, rank=rank)
        server.scrape(engines.address)
        counted(server, 0, "several")
        for rank, seconds in (("0", 1.0), ("1", 3.0)):
            engines.observe("several", "chat-0", "request_latency", [seconds] * 100, rank)
        counted(server, 200, "several")
        moment = time.time()
        found = (await read(server, moment)).signals["several", "chat"]
        query = f"sum(rate(vllm:request_success_total{{namespace='several'}}[{WINDOW}s]))"
        ((_, rate),) = at(server, query, moment)
        assert (found.running, found.waiting, found.pods) == (6, 7, 1)
        assert found.finished_per_second == pytest.approx(rate)
        percentiles = found.latencies[Latency.REQUEST_LATENCY]
        assert percentiles[50] < 2 < percentiles[99], "both engines' requests count"
    server.scrape()


async def test_series_that_prometheus_only_remembers_are_stale(server: PrometheusServer) -> None:
    """Samples with times of their own get no staleness marker, as with federation or remote write."""
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("old", "well-0", running=1)
        engines.engine("old", "chat-1", running=1)
        began = (time.time() - WINDOW - 5) * 1000
        lines = "".join(
            f'vllm:num_requests_running{{engine="0",model_name="tiny",namespace="old",pod="{pod}"}} 7 {began:.0f}\n'
            for pod in ("gone-0", "chat-0")
        )
        page = engines.page
        engines.page = lambda: page() + lines  # type: ignore[method-assign]
        server.scrape(engines.address)
        scraped(server, 'count(vllm:num_requests_running{namespace="old"})', 4)
        counted(server, 0, "old")

        def rated() -> list[dict[str, Any]]:
            return server.query(f"rate(vllm:request_success_total{{pod='well-0'}}[{WINDOW}s])")

        wait_until(rated, "there are two samples")
        found = await read(server, time.time())
        assert found.gaps["old", "gone"].reason == metrics_unavailable.STALE_SERIES
        assert "old/gone-0" in found.gaps["old", "gone"].message
        assert found.signals["old", "well"].pods == 1
        chat = found.signals["old", "chat"]
        assert (chat.pods, chat.running) == (1, 1), "the stale pod is not counted"
        assert ("old", "chat") not in found.gaps
    server.scrape()


async def test_series_of_a_pod_that_went_are_gone_at_once(server: PrometheusServer) -> None:
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("went", "chat-0", running=1)
        server.scrape(engines.address)
        counted(server, 0, "went")
        server.scrape()
        wait_until(lambda: not server.query('vllm:num_requests_running{namespace="went"}'), "the series are gone")
        found = await read(server, time.time())
        assert ("went", "chat") not in found.signals


async def test_one_sample_is_no_rate(server: PrometheusServer) -> None:
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("new", "chat-0", running=1)
        server.scrape(engines.address)
        counted(server, 0, "new")
        ((_, first),) = at(server, "min(timestamp(vllm:request_success_total{namespace='new'}))", time.time())
        found = await read(server, first + 0.5)
        assert "fewer than two samples" in found.gaps["new", "chat"].message
    server.scrape()


async def test_no_number_stays_none(server: PrometheusServer) -> None:
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("odd", "chat-0", running=math.nan)
        engines.engine("odd", "chat-1", running=1)
        server.scrape(engines.address)
        counted(server, 0, "odd")
        rate = f"count(rate(vllm:request_success_total{{namespace='odd'}}[{WINDOW}s]))"
        wait_until(lambda: server.query(rate), "there are two samples")
        found = await read(server, time.time())
        assert found.gaps["odd", "chat"].reason == metrics_unavailable.NOT_A_NUMBER
    server.scrape()


async def test_labels_may_have_other_names_and_wrong_ones_are_shown(server: PrometheusServer) -> None:
    names = {"namespace_label": "kubernetes_namespace", "pod_label": "kubernetes_pod_name"}
    with Engines(dict(BUCKETS), *names.values()) as engines:
        engines.engine("named", "chat-0", running=2)
        server.scrape(engines.address)
        scraped(server, 'count(vllm:num_requests_running{kubernetes_namespace="named"})', 1)
        rate = f"rate(vllm:request_success_total{{kubernetes_namespace='named'}}[{WINDOW}s])"
        wait_until(lambda: server.query(rate), "there are two samples")
        moment = time.time()
        assert (await read(server, moment, **names)).signals["named", "chat"].running == 2
        assert ("named", "chat") not in (await read(server, moment, **names, matchers='job="else"')).signals
        found = await read(server, moment)
        assert "named" not in {namespace for namespace, _ in found.signals}
        (unmatched,) = found.unmatched
        assert 'kubernetes_pod_name="chat-0"' in unmatched.labels
        assert unmatched.absent == ("namespace", "pod")
        ((_, value),) = at(server, f"vllm:num_requests_running{unmatched.labels}", moment)
        assert value == 2, "the text is a selector"
    server.scrape()


async def test_engines_of_others_and_series_without_labels_are_told_apart(server: PrometheusServer) -> None:
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("theirs", "vllm-7d4f-x2abc", running=9)
        server.scrape(engines.address)
        counted(server, 0, "theirs")
        (other,) = (await read(server, time.time())).unmatched
        assert (other.kind, other.namespace, other.absent) == ("other", "theirs", ())
        assert 'pod="vllm-7d4f-x2abc"' in other.labels
        engines.set("vllm:num_requests_running", 1, model_name="tiny")
        scraped(server, 'count(vllm:num_requests_running{namespace=""})', 1)
        found = {each.kind: each for each in (await read(server, time.time())).unmatched}
        assert found["other"] == other
        assert "pod=" not in found["unlabelled"].labels
    server.scrape()


METRICS = """\
vllm:num_requests_running{model_name="tiny",engine="0"} 3
vllm:num_requests_waiting{model_name="tiny",engine="0"} 1
vllm:request_success_total{model_name="tiny",engine="0",finished_reason="stop"} 7
"""


def test_the_clusters_prometheus_names_pods_as_the_operator_expects(cluster: Cluster, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    page = {"metadata": {"name": "page"}, "data": {"metrics": METRICS}}
    assert cluster.request("POST", f"{base}/configmaps", page).ok
    container = {
        "name": "engine",
        "image": "localhost/llmservice/cluster-addons:1",
        "imagePullPolicy": "Never",
        "command": ["busybox", "httpd", "-f", "-p", "8000", "-h", "/page"],
        "ports": [{"containerPort": 8000}],
        "volumeMounts": [{"name": "page", "mountPath": "/page"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "page", "configMap": {"name": "page"}}]}
    metadata = {"name": "chat-0", "annotations": {"prometheus.io/scrape": "true"}}
    made = cluster.request("POST", f"{base}/pods", {"metadata": metadata, "spec": spec})
    assert made.ok, made.message
    service = cluster.request("GET", "/api/v1/namespaces/monitoring/services/prometheus").body
    settings = PrometheusSettings(url=f"http://{host(service['spec']['clusterIP'])}:9090", timeout_seconds=5)
    name = (namespace, "chat")

    def found() -> Signals | None:
        reading = asyncio.run(Prometheus(settings).read())
        assert reading.gap is None, reading.gap
        return reading.signals.get(name)

    chat = wait_until(found, "the cluster's Prometheus has the pod's series", timeout=90, every=0.5)
    assert chat is not None
    assert (chat.running, chat.waiting, chat.finished_per_second, chat.pods) == (3, 1, 0, 1)


FORGED = 300_000


def remembered(folder: Path, lines: Iterator[str]) -> None:
    """Puts series into the database of a Prometheus that has yet to start: a scrape of so many would take too long."""
    page = folder / "series.om"
    with page.open("w") as file:
        file.writelines(lines)
        file.write("# EOF\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", page, folder / "data"], check=True
    )


def of_engines(times: list[int], forged: int) -> Iterator[str]:
    """OpenMetrics of a good engine in one namespace, and of a pod in another that makes up ``forged`` buckets."""
    good, evil = 'namespace="team-b",pod="good-0"', 'namespace="team-a",pod="evil-0"'
    for gauge in ("running", "waiting"):
        yield f"# TYPE vllm:num_requests_{gauge} gauge\n"
        for labels in (good, evil):
            yield from (f'vllm:num_requests_{gauge}{{{labels},engine="0"}} 1 {at}\n' for at in times)
    yield "# TYPE vllm:request_success counter\n"
    for labels in (good, evil):
        yield from (
            f'vllm:request_success_total{{{labels},engine="0",finished_reason="stop"}} {step * 10} {at}\n'
            for step, at in enumerate(times)
        )
    name = LATENCIES["time_to_first_token"]
    yield f"# TYPE {name} histogram\n"
    for labels, more in ((good, 0), (evil, forged)):
        own = [repr(bound) for bound in BUCKETS["time_to_first_token"]]
        for bound in (*own, *(f"0.{number:07}1" for number in range(more)), "+Inf"):
            yield from (
                f'{name}_bucket{{{labels},engine="0",le="{bound}"}} {step * 10} {at}\n' for step, at in enumerate(times)
            )
        yield from (f'{name}_count{{{labels},engine="0"}} {step * 10} {at}\n' for step, at in enumerate(times))
        yield from (f'{name}_sum{{{labels},engine="0"}} {step} {at}\n' for step, at in enumerate(times))


async def test_buckets_that_a_pod_makes_up_lengthen_no_answer(tmp_path: Path) -> None:
    now = int(time.time())
    remembered(tmp_path, of_engines([now - 16, now - 1], FORGED))
    server = PrometheusServer(tmp_path)
    server.start()
    try:
        count = at(server, f"count({LATENCIES['time_to_first_token']}_bucket{{pod='evil-0'}})", now)
        assert count[0][1] > FORGED
        owned = {("team-b", "good"): {"good-0": frozenset[str]()}, ("team-a", "evil"): {"evil-0": frozenset[str]()}}
        reader = Prometheus(PrometheusSettings(url=server.url, window_seconds=WINDOW), now=lambda: float(now))
        began = time.monotonic()
        found = await reader.read(owned=owned)
        assert time.monotonic() - began < 10
        assert found.gap is None, found.gap
        assert found.signals["team-b", "good"].latencies[Latency.TIME_TO_FIRST_TOKEN]
        query = queries(WINDOW)[Latency.TIME_TO_FIRST_TOKEN]
        assert len(at(server, query, now)) == 2 * (len(BUCKETS["time_to_first_token"]) + 1)
    finally:
        server.stop()


async def test_series_that_other_pods_tell_are_no_services_numbers(server: PrometheusServer) -> None:
    """With honor_labels, as here, a pod can say which pod it is."""
    with Engines(dict(BUCKETS)) as engines:
        engines.engine("forged", "chat-0", running=1)
        engines.engine("forged", "well-0", running=1)
        server.scrape(engines.address)
        counted(server, 0, "forged")
        rate = f"rate(vllm:request_success_total{{namespace='forged'}}[{WINDOW}s])"
        wait_until(lambda: server.query(rate), "there are two samples")
        here = frozenset({"127.0.0.1"})
        owned = {("forged", "chat"): {"chat-0": frozenset({"10.0.0.7"})}, ("forged", "well"): {"well-0": here}}
        reader = Prometheus(PrometheusSettings(url=server.url, window_seconds=WINDOW))
        found = await reader.read(owned=owned)
        assert set(found.signals) == {("forged", "well")}
        assert found.gaps["forged", "chat"].reason == metrics_unavailable.METRICS_INVALID
        assert "scraped at 127.0.0.1" in found.gaps["forged", "chat"].message
        found = await reader.read(owned={("forged", "chat"): {"chat-1": here}})
        assert "forged/chat-0" in found.gaps["forged", "chat"].message
    server.scrape()
