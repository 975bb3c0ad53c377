"""KEDA owns external.metrics.k8s.io: the operator makes a ScaledObject, and KEDA's HPA follows the operator's series.

Everything is real: KEDA's two programs with KEDA's own roles, the HPA controller, Prometheus, the operator. The tests
export the series in the operator's place where exact counts matter, so that they choose each number.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.autoscaling import external_metrics
from support.cluster import MERGE, Cluster, wait_until
from support.operator import OperatorProcess, operator
from support.prometheus_server import Exporter, PrometheusServer, prometheus_server
from support.scaled import quantity

NOWHERE = {"nodeSelector": {"llmservice.dev/no-such-node": "true"}}
"""Scheduling under which no pod ever gets a node: only counts matter here."""
TARGETS = {"timeToFirstToken": {"p99": "200ms"}}
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
SYNC_SECONDS = 5
"""How often the HPA of the local cluster looks."""
FOLLOWS_SECONDS = 60
"""Until a count is there: what is on the way to it is tested, not how long a busy machine takes."""
POLLING_SECONDS = 15
"""How often KEDA looks whether there is anything to do at all."""
EDGE = 0.001
"""The smallest step of a Kubernetes quantity."""
CLIMB = (1, 2, 3, 10, 11, 20, 21, 20, 19, 11, 10, 2, 1)
"""Counts that an HPA with its usual tolerance of a tenth would miss."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A namespace with an operator over it, a Prometheus, and series that a test sets."""

    cluster: Cluster
    namespace: str
    prometheus: PrometheusServer
    exporter: Exporter
    operator: OperatorProcess

    def create(self, name: str, replicas: int, **scaling: Any) -> None:
        wanted = {"maxReplicas": 64, "targets": TARGETS, "behavior": AT_ONCE, **scaling}
        service = a_service(name).with_spec(scheduling=NOWHERE, replicas=replicas, scaling=wanted).build()
        service["metadata"].pop("namespace", None)
        made = self.cluster.create(self.namespace, service)
        assert made.ok, made.message

    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.request("GET", self.cluster.services(self.namespace, name)).body

    def count(self, name: str) -> int:
        return int(self.get(name)["spec"]["replicas"])

    def scaled_object(self, name: str) -> dict[str, Any]:
        path = f"/apis/keda.sh/v1alpha1/namespaces/{self.namespace}/scaledobjects/{name}"
        answer = self.cluster.request("GET", path)
        return answer.body if answer.ok else {}

    def autoscaler(self, name: str) -> dict[str, Any]:
        """KEDA's HPA."""
        named = self.scaled_object(name).get("status", {}).get("hpaName", "none-yet")
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{named}"
        answer = self.cluster.request("GET", path)
        return answer.body if answer.ok else {}

    def scaling_active(self, name: str) -> dict[str, Any]:
        """The HPA's own condition."""
        conditions = self.autoscaler(name).get("status", {}).get("conditions") or []
        return next((each for each in conditions if each["type"] == "ScalingActive"), {})

    def until(self, condition: Any, what: str | Callable[[], str], timeout: float = FOLLOWS_SECONDS) -> Any:
        try:
            return wait_until(condition, what, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.operator.log()[-3000:]}") from None

    def publish(self, name: str, load: float) -> None:
        """The series has this value, as the operator would export it."""
        self.exporter.set(external_metrics.LOAD, load, **self.labels(name))

    def withhold(self, name: str) -> None:
        """The series is gone: the load is unknown."""
        self.exporter.remove(external_metrics.LOAD, **self.labels(name))

    def labels(self, name: str) -> dict[str, str]:
        """Of the operator's series, with the namespace of its pod as Prometheus adds it."""
        return {
            "namespace": self.namespace,
            external_metrics.NAMESPACE_LABEL: self.namespace,
            external_metrics.SERVICE_LABEL: name,
        }

    def follows(self, name: str, count: int, timeout: float = FOLLOWS_SECONDS) -> None:
        """Wait until the count is there; nothing else may have been on the way."""
        before, seen = self.count(name), set()

        def there() -> bool:
            seen.add(self.count(name))
            return count in seen

        self.until(
            there, lambda: f"{name} goes from {before} to {count} replicas: {self.scaling_active(name)}", timeout
        )
        assert seen <= {before, count}, f"{before} -> {count} went over {sorted(seen)}"

    def stays(self, name: str, syncs: int = 2) -> None:
        """The count is the same after so many looks of the HPA."""
        count, end = self.count(name), time.monotonic() + syncs * SYNC_SECONDS
        wait_until(lambda: time.monotonic() > end or self.count(name) != count, "time passes", timeout=60)
        assert self.count(name) == count


@pytest.fixture
def place(cluster: Cluster, namespace: str) -> Iterator[Place]:
    with Exporter() as exporter, prometheus_server([exporter.address]) as prometheus:
        settings = {"LLMSERVICE_SCALING_ADAPTER": "keda", "LLMSERVICE_PROMETHEUS_URL": prometheus.url}
        with operator(cluster.kubeconfig, [namespace], settings) as process:
            yield Place(cluster, namespace, prometheus, exporter, process)


def test_counts_land_exactly_where_the_published_load_means_them(place: Place) -> None:
    place.create("chat", 1)
    place.publish("chat", 100)
    place.until(lambda: place.scaling_active("chat").get("status") == "True", "KEDA's HPA has a number", timeout=60)
    for number, count in enumerate(CLIMB[1:]):
        lowest, highest = 100 * (count - 1) + EDGE, 100 * count
        place.publish("chat", highest if number % 2 else lowest)
        place.follows("chat", count)
    place.stays("chat")


def test_the_operators_own_series_reach_the_autoscaler(place: Place) -> None:
    place.prometheus.scrape(f"127.0.0.1:{place.operator.metrics_port}", namespace=place.namespace)
    place.create("chat", 4)
    place.until(lambda: place.scaling_active("chat").get("status") == "True", "KEDA's HPA has a number", timeout=60)
    place.stays("chat")
    (metric,) = place.autoscaler("chat")["status"]["currentMetrics"]
    assert 75 < quantity(metric["external"]["current"]["averageValue"]) <= 100


def test_a_series_of_the_same_name_that_another_namespace_tells_moves_nothing(place: Place) -> None:
    place.create("chat", 2)
    place.publish("chat", 200)
    place.until(lambda: place.scaling_active("chat").get("status") == "True", "KEDA's HPA has a number", timeout=60)
    forged = {**place.labels("chat"), "namespace": "elsewhere"}
    place.exporter.set(external_metrics.LOAD, 6400, **forged)
    place.stays("chat", syncs=6)


def test_an_unknown_load_keeps_the_count_and_the_autoscaler_says_that_it_has_none(place: Place) -> None:
    place.create("chat", 3)
    place.publish("chat", 300)
    place.until(lambda: place.scaling_active("chat").get("status") == "True", "KEDA's HPA has a number", timeout=60)
    place.withhold("chat")
    place.until(lambda: place.scaling_active("chat").get("status") == "False", "KEDA's HPA misses the number")
    assert place.scaling_active("chat")["reason"] == "FailedGetExternalMetric"
    place.stays("chat")
    place.publish("chat", 200)
    place.follows("chat", 2)


def test_to_none_and_back(place: Place) -> None:
    place.create("chat", 2, minReplicas=0)
    place.publish("chat", 200)
    place.until(lambda: place.scaling_active("chat").get("status") == "True", "KEDA's HPA has a number", timeout=60)
    place.publish("chat", 0)
    place.until(lambda: place.count("chat") == 0, "no replicas are left", timeout=4 * POLLING_SECONDS)
    place.withhold("chat")
    place.stays("chat", syncs=4)
    place.publish("chat", EDGE)
    place.until(lambda: place.count("chat") == 1, "one replica is back", timeout=4 * POLLING_SECONDS)
    place.publish("chat", 300)
    place.follows("chat", 3, timeout=2 * POLLING_SECONDS)


def test_bounds_and_behavior_reach_the_autoscaler(place: Place) -> None:
    slow = {"stabilizationWindowSeconds": 90, "selectPolicy": "Min"}
    limits = [{"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 30}]
    place.create("chat", 3, minReplicas=2, maxReplicas=7, behavior={"scaleDown": {**slow, "policies": limits}})
    place.publish("chat", 300)
    found = place.until(lambda: place.autoscaler("chat"), "KEDA makes an HPA", timeout=60)["spec"]
    assert (found["minReplicas"], found["maxReplicas"]) == (2, 7)
    assert found["scaleTargetRef"] == {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": "chat"}
    down, up = found["behavior"]["scaleDown"], found["behavior"]["scaleUp"]
    assert down == {**slow, "policies": limits, "tolerance": "0"}
    assert (up["stabilizationWindowSeconds"], up["tolerance"]) == (0, "0")
    changed = {"spec": {"scaling": {"maxReplicas": 9}}}
    path = place.cluster.services(place.namespace, "chat")
    assert place.cluster.request("PATCH", path, changed, content_type=MERGE).ok
    place.until(lambda: place.autoscaler("chat")["spec"]["maxReplicas"] == 9, "the HPA has the new bound")


def test_nothing_is_left_when_the_service_or_its_scaling_goes(place: Place) -> None:
    for name in ("stays", "goes"):
        place.create(name, 1)
        place.publish(name, 100)
        place.until(lambda name=name: place.autoscaler(name), "KEDA makes an HPA", timeout=60)  # type: ignore[misc]
    unscaled = {"spec": {"scaling": None}}
    path = place.cluster.services(place.namespace, "stays")
    assert place.cluster.request("PATCH", path, unscaled, content_type=MERGE).ok
    assert place.cluster.request("DELETE", place.cluster.services(place.namespace, "goes")).ok
    autoscalers = f"/apis/autoscaling/v2/namespaces/{place.namespace}/horizontalpodautoscalers"
    place.until(lambda: not place.cluster.request("GET", autoscalers).body["items"], "the HPAs are gone", timeout=60)
    assert not place.scaled_object("stays") and not place.scaled_object("goes")
    assert place.count("stays") == 1


def test_the_operator_does_not_take_the_api_from_keda(cluster: Cluster, namespace: str) -> None:
    settings = {
        "LLMSERVICE_SCALING_ADAPTER": "own",
        "LLMSERVICE_POD_IP": "127.0.0.1",
        "LLMSERVICE_METRICS_API_PORT": "0",
    }
    api = f"/apis/apiregistration.k8s.io/v1/apiservices/{external_metrics.API_SERVICE}"
    before = cluster.request("GET", api).body["spec"]
    with Exporter() as exporter, prometheus_server([exporter.address]) as prometheus:
        settings["LLMSERVICE_PROMETHEUS_URL"] = prometheus.url
        with operator(cluster.kubeconfig, [namespace], settings) as process:
            place = Place(cluster, namespace, prometheus, exporter, process)
            place.create("chat", 2)

            def reported() -> dict[str, Any]:
                conditions = place.get("chat").get("status", {}).get("conditions", [])
                found = next((each for each in conditions if each["type"] == "ScalingActive"), {})
                return found if found.get("reason") == "MetricsAPITaken" else {}

            condition = place.until(reported, "the service says who serves the metrics API", timeout=60)
    assert condition["status"] == "False"
    assert "keda/keda-metrics-apiserver" in condition["message"]
    assert cluster.request("GET", api).body["spec"] == before
