"""The scaling loop: what it offers to the autoscaler, what it says of each service, and that it asks seldom."""

import asyncio
import datetime
import math
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.autoscaling import external_metrics, latency_algorithm, metrics_unavailable
from llmservice_operator.autoscaling.algorithm import AutoscalingAlgorithm, ScalingDecision, ScalingInputs
from llmservice_operator.autoscaling.algorithms import ALGORITHMS, Algorithm
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.signals import Owned, Reading, Signals, UnmatchedSeries
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.controller.metrics_api import selectors
from llmservice_operator.controller.metrics_api.source import Sample, Unavailable
from llmservice_operator.controller.scaling import autoscaler
from llmservice_operator.controller.scaling.autoscaler import Autoscaler
from llmservice_operator.controller.scaling.metrics_store import ScalingMetricsStore
from llmservice_operator.controller.scaling.scaling_request import request_of
from llmservice_operator.resources.platform import Adapter, Platform

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
KEY = ("team-a", "chat")


def busy(seconds: float, pods: int = 1) -> Signals:
    """Requests whose p99 to the first token is this long."""
    return Signals({Latency.TIME_TO_FIRST_TOKEN: {50: seconds / 2, 99: seconds}}, 5.0, 8.0, 4.0, pods)


IDLE = Signals({}, 0.0, 0.0, 0.0, 1)
NO_FIRST_TOKEN = Signals({}, 5.0, 8.0, 4.0, 3)
"""Requests wait and end, and no bucket tells when they got their first token."""
DROPPED = MetricsUnavailable(metrics_unavailable.NO_SERIES, "Prometheus has no buckets")
ABSENT = {KEY: {Latency.TIME_TO_FIRST_TOKEN: DROPPED}}


class World:
    """Services in a cache, a Prometheus that says what the test wants, and a clock that the test moves."""

    def __init__(
        self,
        tolerance_is_settable: bool = True,
        algorithms: Mapping[Algorithm, AutoscalingAlgorithm[Any]] = ALGORITHMS,
    ) -> None:
        self.cache, self.reading, self.readings = Cache(), Reading({}), 0
        self.gap: MetricsUnavailable | None = None
        self.targeted: set[Latency] | None = set()
        self.now, self.added = NOON, list[ServiceKey]()
        self.version = 0
        self.board = ScalingMetricsStore(fresh_seconds=75, window_seconds=60, now=lambda: self.now)
        self.autoscaler = Autoscaler(
            cache=self.cache,
            prometheus=self,
            ensure=self.ensure,
            platform=lambda: Platform(
                adapter=Adapter.OWN, tolerance_is_settable=tolerance_is_settable, scales_to_zero=True
            ),
            board=self.board,
            interval=15,
            window=60,
            add=self.added.append,
            now=lambda: self.now,
            algorithms=algorithms,
        )

    async def read(self, targeted: Collection[Latency] | None, owned: Owned) -> Reading:
        self.targeted = None if targeted is None else set(targeted)
        self.readings += 1
        return self.reading

    async def ensure(self) -> MetricsUnavailable | None:
        return self.gap

    def service(self, name: str = "chat", *, replicas: int = 1, serving: int | None = None, least: int = 1) -> None:
        """The service as the cluster has it now, with so many replicas asked for, and serving."""
        self.version += 2
        serving = replicas if serving is None else serving
        built = a_service(name, "team-a", uid=f"uid-{name}").with_replicas(replicas).scaled(least).build()
        built["metadata"] |= {"generation": self.version, "resourceVersion": str(self.version)}
        built["status"] = {"replicas": replicas}
        self.cache.put(built)
        labels = {"app.kubernetes.io/instance": name}
        meta = {"name": name, "namespace": "team-a", "uid": f"uid-sts-{name}", "labels": labels}
        self.cache.put(
            {
                "kind": "StatefulSet",
                "metadata": {**meta, "resourceVersion": str(self.version + 1)},
                "spec": {"replicas": replicas},
                "status": {"replicas": replicas, "readyReplicas": serving},
            }
        )

    async def look(self, times: int = 1, **reading: Any) -> None:
        """Let the loop come around so often, each 15 s."""
        if reading:
            self.reading = Reading(**reading)
        for _ in range(times):
            self.now += datetime.timedelta(seconds=15)
            await self.autoscaler.once()

    def load(self, name: str = "chat") -> float:
        """What the HPA of a service is reported, in percent."""
        (sample,) = self.samples(external_metrics.LOAD, {external_metrics.SERVICE_LABEL: name})
        return sample.milli / 1000

    def samples(self, metric: str, wanted: Mapping[str, str]) -> list[Sample]:
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        return list(self.board.samples("team-a", metric, selectors.parse(selector)))


@pytest.fixture
def world() -> World:
    return World()


async def test_latency_over_its_target_asks_for_more_replicas_and_says_why(world: World) -> None:
    world.service()
    await world.look(4, signals={KEY: busy(0.4)})
    assert world.load() == 200
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.count == 2
    assert "p99 timeToFirstToken" in outlook.why


async def test_a_service_is_looked_at_anew_only_when_something_else_is_to_be_said(world: World) -> None:
    world.service()
    await world.look(4, signals={KEY: busy(0.1)})
    assert world.added == [KEY]
    await world.look(8)
    assert world.added == [KEY]
    await world.look(4, signals={KEY: busy(0.4)})
    assert len(world.added) == 2


async def test_one_look_at_prometheus_serves_all_services(world: World) -> None:
    for number in range(50):
        world.service(f"chat{number}")
    await world.look(3, signals={("team-a", f"chat{number}"): busy(0.1) for number in range(50)})
    assert world.readings == 3
    assert world.targeted == {Latency.TIME_TO_FIRST_TOKEN}
    assert all(world.load(f"chat{number}") <= 100 for number in range(50))


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (
            Reading({}, gap=MetricsUnavailable(metrics_unavailable.PROMETHEUS_TIMEOUT, "no answer in 10 s")),
            metrics_unavailable.PROMETHEUS_TIMEOUT,
        ),
        (
            Reading({}, gaps={KEY: MetricsUnavailable(metrics_unavailable.NOT_A_NUMBER, "NaN")}),
            metrics_unavailable.NOT_A_NUMBER,
        ),
        (Reading({}), metrics_unavailable.NO_SERIES),
        (Reading({}, unmatched=(UnmatchedSeries("unlabelled", "{}", ""),)), metrics_unavailable.LABELS_MATCH_NO_POD),
        (Reading({}, unmatched=(UnmatchedSeries("renamed", "{}", ""),)), metrics_unavailable.NO_SERIES),
        (Reading({}, any_engine=False), metrics_unavailable.NO_SERIES),
        (Reading({KEY: NO_FIRST_TOKEN}, absent=ABSENT), metrics_unavailable.NO_SERIES),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_is_not_known_is_no_number_and_lowers_nothing(world: World, reading: Reading, reason: str) -> None:
    world.service(replicas=3)
    await world.look(4, signals={KEY: busy(0.19, pods=3)})
    world.reading = reading
    await world.look(40)
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.gap is not None
    assert outlook.gap.reason == reason
    assert outlook.count == 3
    with pytest.raises(Unavailable, match=outlook.gap.message[:20]):
        world.load()
    await world.look(signals={KEY: busy(0.19, pods=3)})
    assert 200 < world.load() <= 300


async def test_replicas_that_still_load_are_nothing_to_measure_and_no_fault(world: World) -> None:
    world.service(replicas=2, serving=0)
    await world.look(2, signals={})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.gap is None
    assert 100 < world.load() <= 200


async def test_ready_replicas_without_series_are_counted_if_they_stay_so(world: World) -> None:
    """As with one shard of a Prometheus that is sharded: it has some of the pods, and the count is never lowered."""
    world.service(replicas=3)
    await world.look(4, signals={KEY: busy(0.05, pods=2)})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.measured, outlook.gap) == (None, None)
    await world.look(4)
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.measured, outlook.count) == ((2, 3), 3)
    await world.look(1, signals={KEY: busy(0.05, pods=3)})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.measured is None


async def test_a_new_service_has_a_number_before_the_loop_comes_around(world: World) -> None:
    world.service(replicas=2, serving=0)
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.count, outlook.gap) == (2, None)
    assert 100 < world.load() <= 200


async def test_series_may_come_a_window_after_the_first_replica_serves(world: World) -> None:
    world.service(serving=0)
    await world.look(signals={})
    world.service(serving=1)
    await world.look(6)
    assert world.load() <= 100
    await world.look(2)
    with pytest.raises(Unavailable):
        world.load()


async def test_the_hpa_shows_the_load_of_a_replica_in_whole_percents(world: World) -> None:
    world.service(replicas=3)
    await world.look(4, signals={KEY: busy(0.1777, pods=3)})
    assert world.load() / 3 == round(world.load() / 3)


async def test_an_api_that_somebody_else_serves_is_said_of_every_service(world: World) -> None:
    world.service()
    world.gap = MetricsUnavailable(metrics_unavailable.METRICS_API_TAKEN, "served by keda")
    await world.look(signals={KEY: busy(0.1)})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.gap == world.gap


async def test_a_count_that_a_hand_has_set_is_handed_back(world: World) -> None:
    world.service(replicas=2)
    await world.look(4, signals={KEY: busy(0.19, pods=2)})
    world.service(replicas=5, serving=2)
    await world.look(2)
    assert 100 < world.load() <= 200


async def test_a_sleeping_service_is_awake_as_soon_as_a_hand_wakes_it(world: World) -> None:
    world.service(least=0)
    await world.look(60, signals={KEY: IDLE})
    assert world.load() == 0
    await world.look(1)
    world.service(least=0, replicas=0)
    await world.look(2, signals={})
    assert world.load() == 0
    world.service(least=0, replicas=1, serving=0)
    assert world.load() == 100  # before the loop came around


async def test_a_service_that_was_noticed_at_zero_can_be_woken_before_the_next_decision(world: World) -> None:
    world.service(least=0)
    await world.look(60, signals={KEY: IDLE})
    await world.look(1)
    world.service(least=0, replicas=0)
    assert world.autoscaler.outlook(KEY) is not None  # the change is reconciled
    world.service(least=0, replicas=1, serving=0)
    assert 0 < world.load() <= 100
    await world.look(2, signals={})
    assert 0 < world.load() <= 100


async def test_a_loop_that_stands_still_offers_nothing(world: World) -> None:
    world.service()
    await world.look(signals={KEY: busy(0.1)})
    world.now += datetime.timedelta(seconds=80)
    with pytest.raises(Unavailable, match="no scaling decision"):
        world.load()
    assert list(world.board.exported()) == []


async def test_percentiles_can_be_read_and_are_exported(world: World) -> None:
    world.service()
    await world.look(signals={KEY: busy(0.412)})
    name = external_metrics.LATENCIES[Latency.TIME_TO_FIRST_TOKEN]
    (sample,) = world.samples(name, {external_metrics.PERCENTILE_LABEL: "p99"})
    assert (sample.milli, sample.labels) == (412, {"llmservice": "chat", "percentile": "p99"})
    labels = {"llmservice_namespace": "team-a", "llmservice": "chat", "percentile": "p99"}
    assert (name, labels, 0.412) in list(world.board.exported())


async def test_a_service_that_is_gone_or_scaled_no_more_is_forgotten(world: World) -> None:
    world.service()
    await world.look(signals={KEY: busy(0.1)})
    service = world.cache.service(KEY)
    assert service is not None
    world.cache.remove({**service, "metadata": {**service["metadata"], "resourceVersion": "99"}})
    await world.look()
    assert world.samples(external_metrics.LOAD, {}) == []
    assert world.autoscaler.outlook(KEY) is None


async def test_an_error_in_deciding_does_not_end_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service()
    world.reading = Reading({KEY: busy(0.1)})
    failures = iter([True, False])
    once = world.autoscaler.once

    async def failing() -> None:
        if next(failures, False):
            raise RuntimeError("a bug")
        await once()

    monkeypatch.setattr(world.autoscaler, "once", failing)
    monkeypatch.setattr(world.autoscaler, "_interval", 0.01)
    running = asyncio.create_task(world.autoscaler.run())
    while not world.readings:
        await asyncio.sleep(0)
        assert not running.done()
    running.cancel()


async def test_a_serving_service_that_is_new_to_scaling_does_not_wait_for_the_interval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscaler, "NEW_SECONDS", 0.01)
    world.reading = Reading({KEY: busy(0.1)})
    running = asyncio.create_task(world.autoscaler.run())
    await asyncio.sleep(0)
    world.service()
    assert world.autoscaler.outlook(KEY) is None
    while not world.added:
        await asyncio.sleep(0.001)
        assert not running.done()
    assert world.load() <= 100
    running.cancel()


@pytest.mark.parametrize("requests", [4, 0], ids=["busy", "idle"])
async def test_a_histogram_that_is_absent_scales_nothing_and_is_named(world: World, requests: int) -> None:
    world.service()
    signals = {KEY: Signals({}, requests, requests, requests, 1)}
    await world.look(40, signals=signals, absent=ABSENT)
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.count, outlook.gap) == (1, DROPPED)


async def test_a_histogram_that_nothing_is_decided_by_may_be_absent(world: World) -> None:
    world.service()
    await world.look(4, signals={KEY: busy(0.4)}, absent={KEY: {Latency.REQUEST_LATENCY: DROPPED}})
    assert world.load() == 200


async def test_percentiles_that_have_no_target_may_be_absent(world: World) -> None:
    """Some buckets are missing: of p50 it matters, of p99 it does not, and p99 has the target."""
    world.service()
    signals = Signals({Latency.TIME_TO_FIRST_TOKEN: {99: 0.4}}, 5.0, 8.0, 4.0, 1)
    await world.look(4, signals={KEY: signals}, absent=ABSENT)
    assert world.load() == 200


async def test_a_new_service_whose_buckets_are_absent_is_not_decided_by_what_is_there(world: World) -> None:
    """Its first samples may lack: nothing is said yet, and nothing is decided."""
    world.service(serving=0)
    await world.look(1)
    world.service(serving=1)
    await world.look(2, signals={KEY: NO_FIRST_TOKEN}, absent=ABSENT)
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.count, outlook.gap) == (1, None)


async def test_a_number_in_a_manifest_is_not_where_the_algorithm_begins(world: World) -> None:
    """The operator starts while a GitOps pipeline has just set spec.replicas: four replicas run, and four are kept."""
    world.service(replicas=4)
    service = world.cache.service(KEY)
    assert service is not None
    entry = {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    meta = {**service["metadata"], "resourceVersion": "99", "managedFields": [entry]}
    world.cache.put({**service, "metadata": meta, "spec": {**service["spec"], "replicas": 1}})
    await world.look(1, signals={KEY: busy(0.05, pods=4)})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert outlook.count == 4


async def test_labels_of_other_namespaces_are_told_to_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """They are the text of another program."""
    world.service()
    own = UnmatchedSeries("other", '{namespace="team-a", pod="vllm-x"}', "team-a")
    await world.look(2, signals={}, unmatched=(own,))
    found = reported(world, KEY)
    assert found is not None
    assert (found.reason, own.labels in found.message) == (metrics_unavailable.LABELS_MATCH_NO_POD, True)
    for words, namespace in (('{job="secret"}', ""), ('{namespace="team-b", job="secret"}', "team-b")):
        await world.look(2, signals={}, unmatched=(UnmatchedSeries("unlabelled", words, namespace),))
        found = reported(world, KEY)
        assert found is not None
        assert "secret" not in found.message
        assert found.reason == (metrics_unavailable.NO_SERIES if namespace else metrics_unavailable.LABELS_MATCH_NO_POD)
    assert sum("secret" in record.getMessage() for record in caplog.records) == 2, "the operator's log has them, once"


EVIL = ("team-a", "evil")


def reported(world: World, key: ServiceKey) -> MetricsUnavailable | None:
    """The gap that the status of a service tells."""
    outlook = world.autoscaler.outlook(key)
    assert outlook is not None
    return outlook.gap


@pytest.mark.parametrize(
    "senseless",
    [
        Signals({}, 0.0, 1.7e308, 1.7e308, 1),
        Signals({}, 1.7e308, 1.7e308, 1.7e308, 1),
        Signals({}, math.inf, math.nan, -math.inf, 1),
        Signals({Latency.TIME_TO_FIRST_TOKEN: {50: math.nan, 99: math.nan}}, 5.0, 8.0, 4.0, 1),
        Signals({Latency.TIME_TO_FIRST_TOKEN: {50: 1.7e308, 99: 1.7e308}}, 5.0, 8.0, 4.0, 1),
    ],
    ids=["huge", "all-huge", "no-numbers", "latency-nan", "latency-huge"],
)
async def test_senseless_numbers_of_one_service_stop_no_other(world: World, senseless: Signals) -> None:
    world.service("evil")
    world.service()
    await world.look(4, signals={EVIL: senseless, KEY: busy(0.4)})
    assert world.load() == 200
    assert reported(world, KEY) is None


async def test_a_decision_that_fails_is_a_gap_of_its_service_alone_and_passes(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step, broken = latency_algorithm.step, [True]

    def failing(state: latency_algorithm.AutoscalerState, inputs: ScalingInputs) -> Any:
        if broken[0] and inputs.signals == IDLE:
            raise OverflowError("cannot convert float infinity to integer")
        return step(state, inputs)

    monkeypatch.setattr(latency_algorithm, "step", failing)
    world.service("evil", replicas=3)
    world.service()
    await world.look(4, signals={EVIL: IDLE, KEY: busy(0.4)})
    assert world.load() == 200
    found = reported(world, EVIL)
    assert found is not None
    assert found.reason == metrics_unavailable.METRICS_INVALID
    assert "evil" in found.message and "OverflowError" in found.message
    with pytest.raises(Unavailable, match="can't compute a replica count"):
        world.load("evil")
    assert EVIL in world.added
    assert sum("could not compute a replica count" in each.message for each in caplog.records) == 1, "said once"
    assert "OverflowError" not in "".join(name + str(labels) for name, labels, _ in world.board.exported())
    broken[0] = False
    await world.look(1, signals={EVIL: busy(0.19, pods=3), KEY: busy(0.4)})
    assert reported(world, EVIL) is None
    assert 200 < world.load("evil") <= 300, "it goes on from the count that it has"


async def test_a_service_whose_replicas_cannot_be_counted_stops_no_other(world: World) -> None:
    world.service("evil")
    world.service()
    found = world.cache.get("StatefulSet", *EVIL)
    assert found is not None
    meta = {**found["metadata"], "resourceVersion": "1000"}
    world.cache.put({**found, "metadata": meta, "status": {"readyReplicas": "many"}})
    await world.look(4, signals={KEY: busy(0.4)})
    assert world.load() == 200
    reason = reported(world, EVIL)
    assert reason is not None
    assert reason.reason == metrics_unavailable.METRICS_INVALID


async def test_a_service_whose_scaling_cannot_be_read_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = request_of

    def failing(service: Any) -> Any:
        if service["metadata"]["name"] == "evil":
            raise RecursionError("maximum recursion depth exceeded")
        return read(service)

    monkeypatch.setattr("llmservice_operator.controller.scaling.autoscaler.request_of", failing)
    world.service("evil")
    world.service()
    await world.look(4, signals={KEY: busy(0.4)})
    assert world.load() == 200


class Fixed:
    """An algorithm that wants three replicas, and remembers how often it was asked."""

    def initial_state(self, count: int, now: datetime.datetime) -> int:
        """None so far."""
        return 0

    def step(self, state: int, inputs: ScalingInputs) -> tuple[int, ScalingDecision]:
        """Three."""
        return state + 1, ScalingDecision(3, 1.0, f"step {state + 1}", changed=state == 0)


async def test_any_algorithm_of_the_table_is_asked_with_its_own_state() -> None:
    world = World(algorithms={Algorithm.LATENCY: Fixed()})
    world.service()
    await world.look(2, signals={KEY: busy(0.4)})
    outlook = world.autoscaler.outlook(KEY)
    assert outlook is not None
    assert (outlook.count, outlook.why) == (3, "step 1"), "why is that of the last change"
    assert 200 < world.load() <= 300
