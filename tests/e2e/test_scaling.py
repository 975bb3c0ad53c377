"""Replicas follow latency on the real node: real vLLM, real Prometheus, the HPA's own controller.

One model load takes half a minute or more, so one service goes through several things that happen to a user's.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.latency import Latency
from support.cluster import MERGE, Cluster, kubectl, wait_until
from support.operator_pod import kill_operator
from support.scaled import Moment, Watch, load, metric, quantity
from support.serving import Serving
from support.web import host

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1200)]

NAME = "busy"
IN_FLIGHT = 48
TARGET_SECONDS = 0.2
STABILIZATION_SECONDS = 15
SYNC_SECONDS = 5.0
"""How often the local cluster's autoscaler looks."""
FOLLOWED_SECONDS = 120.0
"""Many looks of the autoscaler: how soon it follows is its own matter, and the machine's."""
LOAD_SECONDS = 800.0
NEW_REPLICA_SECONDS = 500.0
CALM_SECONDS = 120.0


@pytest.fixture(scope="module")
def service(serving: Serving) -> Iterator[str]:
    """A ready service of one replica whose engine takes eight requests at a time, scaled between one and two."""
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 2,
        "targets": {"timeToFirstToken": {"p99": f"{TARGET_SECONDS * 1000:.0f}ms"}},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": STABILIZATION_SECONDS}},
    }
    spec = {"engine": {"maxNumSeqs": 8}, "resources": {"cpu": "700m"}, "scaling": scaling}
    serving.apply(a_service(NAME).from_source("pvc://models/tiny").on_cpu().with_spec(**spec).build())
    serving.wait_for(NAME, "Ready", "True")
    serving.wait_for(NAME, "ScalingActive", "True", timeout=60)
    yield NAME
    serving.delete("LLMService", NAME)


@pytest.fixture(scope="module")
def watch(serving: Serving, service: str) -> Iterator[Watch]:
    with Watch(serving.cluster, serving.namespace, service) as watching:
        yield watching


@pytest.fixture(scope="module")
def requests(serving: Serving, service: str, watch: Watch) -> Iterator[contextlib.ExitStack]:
    """A load that one replica can't bear, until the stack is closed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(load(serving.address(service), service, IN_FLIGHT, LOAD_SECONDS))
        yield stack


@pytest.fixture
def busy(watch: Watch, requests: contextlib.ExitStack) -> None:
    """Two replicas answer under the load."""
    wait_for(watch, "two replicas answer", NEW_REPLICA_SECONDS, lambda seen: seen.ready == 2)


def test_what_a_hand_scales_is_handed_back(serving: Serving, service: str, watch: Watch) -> None:
    began = time.monotonic()
    scale(serving, service, 2)
    wait_for(watch, "the hand is seen", FOLLOWED_SECONDS, lambda seen: seen.wanted == 2, began)
    by_hand = watch.first(lambda seen: seen.wanted == 2, began)
    wait_for(watch, "one replica is wanted again", FOLLOWED_SECONDS, lambda seen: seen.wanted == 1, by_hand)
    wait_until(lambda: len(serving.pods(service)) == 1, "one replica is left", timeout=60)
    serving.wait_for(service, "Ready", "True")


@pytest.mark.usefixtures("requests")
def test_a_load_brings_a_second_replica(serving: Serving, service: str, watch: Watch) -> None:
    began = time.monotonic()
    try:
        wait_for(watch, "the latency asks for a second replica", FOLLOWED_SECONDS, lambda seen: seen.meant == 2, began)
    except AssertionError as error:
        raise AssertionError(f"{error}; {evidence(serving, service)}") from None
    latency = published_latency(serving, service)
    assert latency is not None and latency > TARGET_SECONDS
    wait_for(watch, "two replicas are wanted", FOLLOWED_SECONDS, lambda seen: seen.wanted == 2, began)
    wait_for(watch, "two replicas answer", NEW_REPLICA_SECONDS, lambda seen: seen.ready == 2, began)
    pods = serving.pods(service)
    assert len(pods) == 2
    wait_until(lambda: all(map(served, pods)), "both replicas have served requests", timeout=60)
    active = serving.condition(service, "ScalingActive")
    assert active is not None and active["status"] == "True", active
    described = describe(serving, service)
    assert re.search(r'"llmservice_load_percent" \(target average value\): +\d+m? / 100', described), described
    assert re.search(r"ScalingActive +True +ValidMetricFound", described), described
    assert re.search(r"New size: 2; reason: external metric llmservice_load_percent", described), described
    assert changes([seen.wanted for seen in watch.since(began)]) == [1, 2], "up once"


@pytest.mark.campaign
@pytest.mark.usefixtures("busy")
def test_the_count_stays_while_the_operator_is_away(serving: Serving, service: str, watch: Watch) -> None:
    killed = time.monotonic()
    kill_operator(serving.cluster)
    wait_for(watch, "the metrics API is away", 30, lambda seen: bool(seen.refusal), killed)
    away = watch.first(lambda seen: bool(seen.refusal), killed)
    wait_for(watch, "there is a number again", 60, lambda seen: seen.published is not None, away)
    serving.wait_for(service, "ScalingActive", "True", timeout=60)
    assert {seen.wanted for seen in watch.since(killed)} == {2}


@pytest.mark.campaign
@pytest.mark.usefixtures("busy")
def test_the_count_stays_while_prometheus_is_away_and_follows_the_end_of_the_load_once_it_is_back(
    serving: Serving, service: str, watch: Watch, requests: contextlib.ExitStack
) -> None:
    began = time.monotonic()
    with no_prometheus(serving.cluster):
        blind = serving.wait_for(service, "ScalingActive", "False", timeout=60)
        assert blind["reason"] == "PrometheusUnreachable", blind
        assert "prometheus.monitoring" in blind["message"], blind
        requests.close()
        long_enough = time.monotonic() + STABILIZATION_SECONDS + 2 * SYNC_SECONDS
        wait_until(lambda: time.monotonic() > long_enough, "an idle service would have lost a replica", timeout=60)
        described = describe(serving, service)
        assert re.search(r"ScalingActive +False +FailedGetExternalMetric", described), described
        assert "prometheus.monitoring" in described, "the autoscaler shows the true cause"
        assert {seen.wanted for seen in watch.since(began)} == {2}, "the load is unknown"
        seeing = time.monotonic()
    serving.wait_for(service, "ScalingActive", "True", timeout=60)
    wait_for(watch, "one replica is wanted", CALM_SECONDS, lambda seen: seen.wanted == 1, seeing)
    wait_until(lambda: len(serving.pods(service)) == 1, "one replica is left", timeout=60)
    serving.wait_for(service, "Ready", "True")
    assert changes([seen.wanted for seen in watch.since(began)]) == [2, 1], "down once"


def wait_for(watch: Watch, what: str, seconds: float, seen: Callable[[Moment], bool], since: float = 0.0) -> None:
    """Wait until it is seen. AssertionError with the newest look where it isn't."""
    try:
        wait_until(lambda: any(seen(moment) for moment in watch.since(since)), what, timeout=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; at last {watch.moments[-1:]}") from None


def published_latency(serving: Serving, service: str) -> float | None:
    """p99 of the time to the first token in the metrics API, in seconds."""
    name = external_metrics.LATENCIES[Latency.TIME_TO_FIRST_TOKEN]
    answer = metric(serving.cluster, serving.namespace, service, name, **{external_metrics.PERCENTILE_LABEL: "p99"})
    assert answer.ok, answer.message
    items = answer.body["items"]
    return quantity(items[0]["value"]) if items else None


def served(pod: dict[str, Any]) -> float:
    """How many requests this engine has brought to their end."""
    with urllib.request.urlopen(f"http://{host(pod['status']['podIP'])}:8002/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:request_success_total{"))


def evidence(serving: Serving, service: str) -> str:
    """What decides about the number of replicas: requests that were served, the latency, and the condition."""
    latency, condition = published_latency(serving, service), serving.condition(service, "ScalingActive")
    return f"requests served {list(map(served, serving.pods(service)))}, p99 {latency}, ScalingActive {condition}"


def describe(serving: Serving, service: str) -> str:
    """What `kubectl describe hpa` says."""
    command = [kubectl(), "--kubeconfig", str(serving.cluster.kubeconfig), "describe", "hpa", service]
    done = subprocess.run([*command, "-n", serving.namespace], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scale(serving: Serving, service: str, count: int) -> None:
    """As `kubectl scale` does it."""
    path = serving.cluster.services(serving.namespace, service, "scale")
    answer = serving.cluster.request("PATCH", path, {"spec": {"replicas": count}}, content_type=MERGE)
    assert answer.ok, answer.message


@contextlib.contextmanager
def no_prometheus(cluster: Cluster) -> Iterator[None]:
    """Without Prometheus; afterwards there is a new one, which has forgotten everything."""
    path = "/apis/apps/v1/namespaces/monitoring/deployments/prometheus"

    def set_replicas(count: int) -> None:
        answer = cluster.request("PATCH", f"{path}/scale", {"spec": {"replicas": count}}, content_type=MERGE)
        assert answer.ok, answer.message
        ready = lambda: cluster.request("GET", path).body["status"].get("readyReplicas", 0) == count  # noqa: E731
        wait_until(ready, f"Prometheus has {count} replicas", timeout=60)

    set_replicas(0)
    try:
        yield
    finally:
        set_replicas(1)


def changes(values: list[int]) -> list[int]:
    """The values without repetitions of the one before."""
    return [value for value, _ in itertools.groupby(values)]
