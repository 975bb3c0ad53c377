"""The cluster's own HPA controller arrives at exactly the count that was meant: from every count to every other.

The autoscaler is the rendered one, its number comes through the API server from the operator's metrics API, and its
target is a real LLMService. No operator runs: the test follows ``spec.replicas`` with ``status.replicas`` as one does.
The model of the HPA that unit tests use is asked the same, and has to answer the same.
"""

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.api.scaling import Scaling
from llmservice_operator.autoscaling.hpa_encoding import published
from llmservice_operator.resources.autoscaler import make_autoscaler
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, Platform
from support import versions
from support.campaign import FULL
from support.cluster import MERGE, Cluster, wait_until
from support.hpa_model import HPA, Rules
from support.metrics_api import Numbers
from support.numbers_api import serving

pytestmark = pytest.mark.cluster_wide

SYNC_SECONDS = 5.0
"""How often the local cluster's HPA controller looks at an HPA."""
SLACK_SECONDS = 4.0
AT_ONCE: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
LOADS = (0.31, 0.87, 1.05, 2.0)

WALKS = {
    "one": (1, 2, 3, 4, 5, 6, 7, 8),
    "ten": (9, 10, 11, 12, 11, 10, 9, 8),
    "twenty": (19, 20, 21, 22, 21, 20, 19, 18),
    "thirty": (30, 33, 32, 31, 30, 36, 35, 34),
    "most": (62, 63, 64, 63, 62, 64, 32, 31),
    "leaps": (1, 64, 1, 40, 37, 5, 33, 2),
    "halves": (64, 32, 16, 8, 4, 2, 1, 2),
    "zero": (3, 1, 0, 1, 0, 5, 0, 64),
}
"""Each service's counts, one after the other; all walk at the same time."""
STEPS = len(WALKS["one"]) if FULL else 3
"""How far they walk."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One service that is scaled."""

    cluster: Cluster
    namespace: str
    name: str
    numbers: Numbers

    def make(self, count: int, platform: Platform, *, least: int, most: int) -> None:
        """The service with so many replicas, and its autoscaler."""
        service = a_service(self.name).with_replicas(count).scaled(least, most, behavior=AT_ONCE).build()
        made = self.cluster.create(self.namespace, service)
        assert made.ok, made.message
        self.follow(count)
        self.numbers.loads[self.namespace, self.name] = "not yet"
        scaling = Scaling.model_validate(service["spec"]["scaling"])
        hpa = make_autoscaler(Owner(self.name, self.namespace, made.body["metadata"]["uid"]), scaling, platform)
        made = self.cluster.request("POST", self._hpas(), hpa)
        assert made.ok, made.message

    def mean(self, count: int, *, load: float, tolerance: float, least: int, most: int) -> int:
        """Publish the number for this count; the count that the HPA should arrive at."""
        reported = published(count, load, current=self.replicas(), tolerance=tolerance, minimum=least, maximum=most)
        self.numbers.loads[self.namespace, self.name] = reported.milli
        return reported.count

    def follow(self, count: int) -> None:
        """What an operator writes: so many pods, and how to find them."""
        status = {"replicas": count, "selector": f"app.kubernetes.io/instance={self.name}"}
        path = self.cluster.services(self.namespace, self.name, "status")
        assert self.cluster.request("PATCH", path, {"status": status}, content_type=MERGE).ok

    def replicas(self) -> int:
        service = self.cluster.request("GET", self.cluster.services(self.namespace, self.name)).body
        return int(service["spec"]["replicas"])

    def generation(self) -> int:
        service = self.cluster.request("GET", self.cluster.services(self.namespace, self.name)).body
        return int(service["metadata"]["generation"])

    def hpa(self) -> dict[str, Any]:
        return dict(self.cluster.request("GET", f"{self._hpas()}/{self.name}").body["status"])

    def active(self) -> dict[str, str]:
        """The HPA's condition ScalingActive."""
        return next((each for each in self.hpa().get("conditions", []) if each["type"] == "ScalingActive"), {})

    def _hpas(self) -> str:
        return f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers"


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    return Numbers({})


@pytest.fixture(scope="module")
def place(cluster: Cluster, numbers: Numbers) -> Iterator[str]:
    with cluster.namespace("hpa") as name, serving(cluster, name, numbers):
        yield name


@pytest.fixture(scope="module")
def newest() -> Platform:
    return Platform(adapter=Adapter.OWN, tolerance_is_settable=True, scales_to_zero=True)


def all_of(targets: Sequence[Target], seen: Callable[[Target], bool], what: str, timeout: float) -> dict[str, float]:
    """Wait until it is so for all; seconds that it took for each."""
    began, took = time.monotonic(), dict[str, float]()

    def done() -> bool:
        for target in targets:
            if target.name not in took and seen(target):
                took[target.name] = time.monotonic() - began
        return len(took) == len(targets)

    try:
        wait_until(done, what, timeout=timeout)
    except AssertionError as error:
        late = {target.name: target.hpa() for target in targets if target.name not in took}
        raise AssertionError(f"{error}\n{late}") from None
    return took


def scales_to_zero(cluster: Cluster, namespace: str) -> bool:
    """Whether an HPA may have no replicas, which the newest Kubernetes always permits."""
    target = {"apiVersion": "llmservice.dev/v1", "kind": "LLMService", "name": "none"}
    spec = {"scaleTargetRef": target, "minReplicas": 0, "maxReplicas": 1}
    metric = {"metric": {"name": "none"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    hpa = {"metadata": {"name": "none"}, "spec": {**spec, "metrics": [{"type": "External", "external": metric}]}}
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    permitted = cluster.request("POST", path, hpa, dryRun="All").ok
    assert permitted or versions.is_earlier(cluster), "the newest Kubernetes refuses minReplicas 0"
    return permitted


def test_every_pair_of_counts_is_exact_within_one_sync(
    cluster: Cluster, place: str, numbers: Numbers, newest: Platform
) -> None:
    versions.need_minor(cluster, 35, "tolerance of an HPA")
    walks = {name: walk for name, walk in WALKS.items() if 0 not in walk or scales_to_zero(cluster, place)}
    targets = [Target(cluster, place, name, numbers) for name in walks]
    bounds = {name: (0 if 0 in walk else 1, 64) for name, walk in walks.items()}
    models = {name: HPA(*bounds[name], down=Rules(0)) for name in walks}
    for target in targets:
        least, most = bounds[target.name]
        target.make(walks[target.name][0], newest, least=least, most=most)
    pairs = 0
    for step, load in zip(range(1, STEPS), LOADS * 2, strict=False):
        before = {target.name: (target.replicas(), target.generation()) for target in targets}
        for target in targets:
            least, most = bounds[target.name]
            wanted = walks[target.name][step]
            assert target.mean(wanted, load=load, tolerance=0, least=least, most=most) == wanted
            now = datetime.datetime.now(datetime.UTC)
            milli = int(numbers.loads[place, target.name])
            there = models[target.name].sync(now, before[target.name][0], before[target.name][0], [milli]).replicas
            assert there == wanted, f"the model of the HPA goes to {there} where {wanted} is meant"
        took = all_of(
            targets,
            lambda target, step=step: target.replicas() == walks[target.name][step],  # type: ignore[misc]
            f"every HPA is at the count of step {step}",
            SYNC_SECONDS + SLACK_SECONDS,
        )
        for target in targets:
            target.follow(walks[target.name][step])
        all_of(
            targets,
            lambda target, step=step: target.hpa().get("currentReplicas", 0) == walks[target.name][step],  # type: ignore[misc]
            f"every HPA has looked at the count of step {step}",
            2 * SYNC_SECONDS + SLACK_SECONDS,
        )
        for target in targets:
            count, generation = before[target.name]
            pairs += 1
            print(f"{count:2} -> {walks[target.name][step]:2} within {took[target.name]:.1f} s")
            assert target.replicas() == walks[target.name][step], "and it stays there"
            assert target.generation() == generation + 1, "in one step"
    assert pairs == sum(len(list(pairwise(walk[:STEPS]))) for walk in walks.values()) >= (40 if FULL else 10)


def test_where_the_tolerance_cannot_be_set_it_is_the_nearest_count_and_never_less(
    cluster: Cluster, place: str, numbers: Numbers
) -> None:
    """As on a cluster before 1.35, whose tolerance is a tenth."""
    platform = Platform(adapter=Adapter.OWN)
    cases = [(10, 11, 64, 12), (9, 10, 64, 10), (20, 21, 64, 23), (20, 21, 21, 21), (20, 19, 64, 20), (20, 17, 64, 17)]
    targets = []
    for number, (current, wanted, most, there) in enumerate(cases):
        target = Target(cluster, place, f"old-{number}", numbers)
        target.make(current, platform, least=1, most=most)
        assert target.mean(wanted, load=1.0, tolerance=0.1, least=1, most=most) == there
        targets.append(target)
    counts = {target.name: there for target, (_, _, _, there) in zip(targets, cases, strict=True)}
    all_of(targets, lambda target: target.active().get("status") == "True", "every HPA has looked", 30)
    all_of(
        targets,
        lambda target: target.replicas() == counts[target.name],
        "every HPA is at the nearest count",
        SYNC_SECONDS + SLACK_SECONDS,
    )


def test_an_unknown_load_holds_the_count_and_the_hpa_says_why(
    cluster: Cluster, place: str, numbers: Numbers, newest: Platform
) -> None:
    target = Target(cluster, place, "held", numbers)
    target.make(5, newest, least=1, most=8)
    why = "Prometheus answers no query: look at its log"
    numbers.loads[place, target.name] = why
    said = wait_until(lambda: why in target.active().get("message", "") and target.active(), "the HPA says why", 20)
    assert (said["status"], said["reason"]) == ("False", "FailedGetExternalMetric")
    assert (target.replicas(), target.generation()) == (5, 1)
    target.mean(7, load=1.4, tolerance=0, least=1, most=8)
    wait_until(lambda: target.replicas() == 7, "and once it is known it goes on", SYNC_SECONDS + SLACK_SECONDS)


def test_what_kubectl_describe_shows_is_the_load(
    cluster: Cluster, place: str, numbers: Numbers, newest: Platform
) -> None:
    target = Target(cluster, place, "shown", numbers)
    target.make(3, newest, least=1, most=8)
    target.mean(3, load=0.87, tolerance=0, least=1, most=8)

    def shown() -> str:
        metrics = target.hpa().get("currentMetrics") or [{}]
        return str(metrics[0].get("external", {}).get("current", {}).get("averageValue", ""))

    wait_until(lambda: shown() == "87", "87 / 100 (avg)", 20)
