"""The operator, its metrics API and the cluster's own HPA controller while Prometheus fails: the count never falls, the
condition names the true cause, and all comes back by itself. Pods are kwok's, Prometheus is one that the test steers.
"""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from llmservice_operator.autoscaling import external_metrics
from support.aggregation import FAKE_NODE, SETTINGS, ensure_fake_nodes, registered
from support.cluster import Cluster, kubectl, wait_until
from support.dashboards import expressions, without_numbers
from support.operator import OperatorProcess, operator
from support.prometheus import Answer, FakePrometheus
from support.prometheus_server import Exporter, prometheus_server

pytestmark = pytest.mark.cluster_wide

SYNC_SECONDS = 5.0
"""How often the local cluster's HPA controller looks."""
REPLICAS = 3
WITHIN_TARGET = {"ttft": 0.19, "running": 24.0, "waiting": 0.0, "finished": 30.0, "pods": REPLICAS, "stale": False}
"""What needs all three replicas."""
NAMED_WITHIN_SECONDS = 60.0


class Place:
    """A namespace with scaled services, their operator and their Prometheus."""

    def __init__(self, cluster: Cluster, namespace: str, process: OperatorProcess, prometheus: FakePrometheus) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.operator, self.prometheus = process, prometheus

    def create(self, name: str, **spec: Any) -> None:
        """A service of three replicas that is well within its target."""
        fast = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        service = a_service(name).from_source("hf://org/name", COMMIT).with_replicas(REPLICAS).scaled(behavior=fast)
        service = service.with_spec(scheduling=FAKE_NODE, **spec)
        made = self.cluster.create(self.namespace, service.build())
        assert made.ok, made.message
        self.recover(name)

    def recover(self, name: str) -> None:
        """Prometheus has good numbers of the service."""
        self.prometheus.set(self.namespace, name, **WITHIN_TARGET)

    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.request("GET", self.cluster.services(self.namespace, name)).body

    def replicas(self, name: str) -> int:
        return int(self.get(name)["spec"]["replicas"])

    def scaling(self, name: str) -> dict[str, Any]:
        conditions = self.get(name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "ScalingActive"), {})

    def hpa(self, name: str) -> dict[str, Any]:
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{name}"
        return self.cluster.request("GET", path).body

    def hpa_is_active(self, name: str) -> bool:
        conditions = self.hpa(name).get("status", {}).get("conditions", [])
        return any(each["type"] == "ScalingActive" and each["status"] == "True" for each in conditions)

    def load(self, name: str) -> float | None:
        """What the HPA reads, through the API server; None if it gets no number."""
        api = f"/apis/{external_metrics.API_GROUP}/{external_metrics.API_VERSION}"
        path = f"{api}/namespaces/{self.namespace}/{external_metrics.LOAD}"
        answer = self.cluster.request("GET", path, labelSelector=f"{external_metrics.SERVICE_LABEL}={name}")
        items = answer.body.get("items") or [] if answer.ok else []
        if not items:
            return None
        text = items[0]["value"]
        return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = NAMED_WITHIN_SECONDS) -> Any:
        try:
            return wait_until(condition, what, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.operator.log()[-3000:]}") from None

    def until_well(self, *names: str) -> None:
        for name in names:
            self.wait(
                lambda name=name: self.get(name).get("status", {}).get("readyReplicas") == REPLICAS, f"{name} serves"
            )
            self.wait(lambda name=name: self.scaling(name).get("status") == "True", f"{name} is scaled")
            self.wait(lambda name=name: self.hpa_is_active(name), f"the HPA {name} reads its number")

    def keeps_its_count(self, *names: str, seconds: float = 1.2 * SYNC_SECONDS) -> None:
        """For longer than one sync of the HPA controller."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert [self.replicas(name) for name in names] == [REPLICAS] * len(names)
            time.sleep(0.2)

    def kubectl(self, *arguments: str) -> str:
        command = [kubectl(), "--kubeconfig", str(self.cluster.kubeconfig), "-n", self.namespace, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    ensure_fake_nodes(cluster)
    with cluster.namespace("scaling") as namespace, FakePrometheus() as prometheus, registered(cluster, namespace):
        settings = {
            **SETTINGS,
            "LLMSERVICE_SCALING_INTERVAL_SECONDS": "2",
            "LLMSERVICE_PROMETHEUS_URL": prometheus.url,
            "LLMSERVICE_PROMETHEUS_TIMEOUT_SECONDS": "2",
            "LLMSERVICE_PROMETHEUS_WINDOW_SECONDS": "10",
        }
        with operator(cluster.kubeconfig, [namespace], settings) as process:
            yield Place(cluster, namespace, process, prometheus)


@pytest.fixture(scope="module")
def chat(place: Place) -> str:
    place.create("chat")
    place.until_well("chat")
    return "chat"


FAULTS: dict[str, tuple[Callable[[FakePrometheus], Any], str]] = {
    "killed": (lambda prometheus: prometheus.stop(), "PrometheusUnreachable"),
    "slow": (lambda prometheus: setattr(prometheus, "delay", 30.0), "PrometheusTimeout"),
    "refusing": (lambda prometheus: setattr(prometheus, "answer", Answer(401, b"no")), "PrometheusRefused"),
    "talking nonsense": (
        lambda prometheus: setattr(prometheus, "answer", Answer(200, b"<html>")),
        "PrometheusUnreachable",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_prometheus_that_fails_lowers_nothing_and_is_named(place: Place, chat: str, fault: str) -> None:
    breaks, reason = FAULTS[fault]
    breaks(place.prometheus)
    try:
        place.wait(lambda: place.scaling(chat).get("reason") == reason, f"{fault} is named {reason}")
        assert place.scaling(chat)["status"] == "False"
        place.keeps_its_count(chat)
        assert place.load(chat) is None
    finally:
        place.prometheus.delay, place.prometheus.answer = 0.0, None
        if fault == "killed":
            place.prometheus.start()
    place.until_well(chat)
    assert place.replicas(chat) == REPLICAS


def test_series_that_can_t_be_used_lower_nothing_and_are_named(place: Place, chat: str) -> None:
    names = {"nan": "NotANumber", "gone": "NoSeries", "stale": "StaleSeries"}
    for name in names:
        place.create(name)
    place.until_well(*names)
    place.prometheus.set(place.namespace, "nan", **{**WITHIN_TARGET, "ttft": math.nan})
    place.prometheus.remove(place.namespace, "gone")
    place.prometheus.set(place.namespace, "stale", **{**WITHIN_TARGET, "stale": True})
    for name, reason in names.items():
        place.wait(lambda: place.scaling(name).get("reason") == reason, f"{name} is named {reason}")  # noqa: B023
    place.prometheus.unmatched = {"job": "vllm", "exported_pod": "gone-0"}
    place.wait(lambda: place.scaling("gone").get("reason") == "LabelsMatchNoPod", "labels that name no pod are named")
    assert '"gone-0"' not in place.scaling("gone")["message"], "labels of a series of an unknown namespace"
    place.prometheus.unmatched = {"job": "vllm", "namespace": place.namespace, "exported_pod": "gone-0"}
    place.wait(
        lambda: 'exported_pod="gone-0"' in place.scaling("gone")["message"], "labels of its own namespace are shown"
    )
    place.keeps_its_count(*names)
    assert place.scaling(chat)["status"] == "True", "what one service lacks is not another's fault"
    place.prometheus.unmatched = None
    for name in names:
        place.recover(name)
    place.until_well(*names)
    assert [place.replicas(name) for name in names] == [REPLICAS] * 3
    for name in names:
        place.kubectl("delete", "llmservice", name, "--wait=false")


def test_an_operator_that_is_killed_lowers_nothing_and_its_metrics_are_back_in_time(place: Place, chat: str) -> None:
    place.operator.kill()
    place.wait(lambda: not place.hpa_is_active(chat), "the HPA misses its number")
    place.keeps_its_count(chat)
    started = time.monotonic()
    place.operator.start()
    place.wait(lambda: place.load(chat) is not None, "the metrics are back", timeout=20)
    print(f"metrics back {time.monotonic() - started:.1f} s after the start")
    place.until_well(chat)
    assert place.replicas(chat) == REPLICAS


def test_a_load_that_moves_within_its_target_writes_nothing(place: Place, chat: str) -> None:
    before = place.operator.metric("llmservice_operator_api_writes_total")
    for seconds in (0.17, 0.195, 0.18, 0.19):
        place.prometheus.set(place.namespace, chat, ttft=seconds)
        asked = place.prometheus.queries
        place.wait(lambda: place.prometheus.queries >= asked + 12, "two readings")  # noqa: B023
    assert place.operator.metric("llmservice_operator_api_writes_total") == before
    assert place.operator.metric("llmservice_operator_prometheus_queries_total") > 0


def test_no_panel_of_the_operators_dashboard_is_empty(place: Place, chat: str) -> None:
    """The operator has worked for this file's services; prices are set nowhere here, so costs are put in."""
    own = {"namespace": "llmservice-system", "pod": "operator-1"}
    cost = {"llmservice_namespace": place.namespace, "llmservice": chat, "currency": "EUR"}
    with Exporter() as exporter, prometheus_server() as server:
        for name in (external_metrics.COST_PER_HOUR, external_metrics.COST_PER_MILLION_TOKENS):
            exporter.set(name, 2.5, **cost)
        server.scrape_each({f"127.0.0.1:{place.operator.metrics_port}": own, exporter.address: own})
        variables = {"operator_namespace": ".+", "namespace": ".+", "service": ".+", "__rate_interval": "30s"}
        number, merge = 0, "application/merge-patch+json"

        def missing() -> list[str]:
            nonlocal number
            number += 1
            behavior = {"scaleDown": {"stabilizationWindowSeconds": number % 2}}  # a new generation is reconciled
            patch = {"spec": {"scaling": {"behavior": behavior}}}
            changed = place.cluster.request(
                "PATCH", place.cluster.services(place.namespace, chat), patch, content_type=merge
            )
            assert changed.ok, changed.message
            place.load(chat)
            return without_numbers(server, expressions("operator"), variables)

        wait_until(lambda: not missing(), lambda: f"every panel has a number: {missing()}", timeout=60, every=1)


def test_a_count_set_by_hand_is_handed_back_within_one_sync(place: Place, chat: str) -> None:
    place.kubectl("scale", "llms", chat, "--replicas=5")
    place.wait(lambda: place.replicas(chat) == REPLICAS, "the count is handed back", timeout=SYNC_SECONDS + 3)


def test_a_manifest_that_is_applied_again_and_again_stops_no_replica_and_is_named(
    place: Place, chat: str, tmp_path: Path
) -> None:
    """As a GitOps pipeline does, with ``replicas`` beside ``scaling``."""
    live = place.get(chat)
    manifest = {key: live[key] for key in ("apiVersion", "kind")}
    manifest |= {"metadata": {"name": chat}, "spec": {**live["spec"], "replicas": 1}}
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(manifest))
    path = f"/apis/apps/v1/namespaces/{place.namespace}/statefulsets/{chat}"
    until = time.monotonic() + 4 * SYNC_SECONDS
    while time.monotonic() < until:
        options = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        place.kubectl("apply", *options, "-f", str(file))
        for _ in range(10):
            assert place.cluster.request("GET", path).body["spec"]["replicas"] == REPLICAS
            time.sleep(0.1)
    place.wait(lambda: place.replicas(chat) == REPLICAS, "the autoscaler writes its count", timeout=SYNC_SECONDS + 3)

    def writers() -> set[str]:
        found = place.get(chat)["status"].get("findings", [])
        return {each.get("subject", "") for each in found if each["reason"] == "ReplicasSetElsewhere"}

    place.wait(lambda: "argocd-controller" in writers(), "the field manager is named")
    assert place.scaling(chat)["status"] == "True"


def test_a_hand_can_switch_scaling_off_and_on(place: Place) -> None:
    place.create("off")
    place.until_well("off")
    place.kubectl("scale", "llms", "off", "--replicas=0")
    place.wait(lambda: place.scaling("off").get("reason") == "ScalingDisabled", "scaling is off")
    until = time.monotonic() + 1.5 * SYNC_SECONDS
    while time.monotonic() < until:
        assert place.replicas("off") == 0
        time.sleep(0.2)
    place.kubectl("scale", "llms", "off", "--replicas=1")
    place.wait(lambda: place.scaling("off").get("status") == "True", "scaling is on again")
    place.kubectl("delete", "llmservice", "off", "--wait=false")


def test_people_read_why_the_count_is_what_it_is(place: Place, chat: str) -> None:
    place.prometheus.set(place.namespace, chat, **{**WITHIN_TARGET, "ttft": 0.3, "waiting": 9.0})
    place.wait(lambda: place.replicas(chat) > REPLICAS, "the count rises")
    count = place.replicas(chat)
    reported = place.kubectl("describe", "llms", chat)
    assert "p99 timeToFirstToken" in reported
    assert f"{REPLICAS} -> {count}" in reported or "last change" in reported
    place.wait(lambda: "/ 100" in place.kubectl("describe", "hpa", chat), "the HPA shows the load in percent")
    described = place.kubectl("describe", "hpa", chat)
    assert "llmservice_load_percent" in described
    print(reported, described, sep="\n")
    place.recover(chat)
