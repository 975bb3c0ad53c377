"""What the operator exports of costs, and what it reads for them: little, and nothing without prices."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from llmservice_operator import metrics
from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.signals import Reading, Signals
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.config.settings import Settings
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.controller.prometheus.client import Prometheus
from llmservice_operator.controller.scaling.composition import Scaling
from llmservice_operator.controller.scaling.cost_metrics import Costs
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.planner.model.plan import Plan
from support.fake_api import refusal
from support.prometheus import FakePrometheus
from unit.controller.conftest import Shell
from unit.controller.scaling.test_autoscaler import KEY, World, busy

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
LABELS = {
    external_metrics.NAMESPACE_LABEL: "team-a",
    external_metrics.SERVICE_LABEL: "chat",
    external_metrics.CURRENCY_LABEL: "EUR",
}
PER_HOUR = {"currency": "EUR", "perHour": "3.60", "gpus": []}


class Book:
    """Costs of one service, and a clock that the test moves."""

    def __init__(self, cost: dict[str, Any] | None = PER_HOUR) -> None:
        self.now, self.cache = NOON, Cache()
        meta = {"namespace": "team-a", "name": "chat", "uid": "u", "resourceVersion": "1"}
        status = {} if cost is None else {"cost": cost}
        self.cache.put({"kind": "LLMService", "metadata": meta, "spec": {}, "status": status})
        self.costs = Costs(self.cache, fresh=datetime.timedelta(seconds=75), now=lambda: self.now)

    def reported(self) -> dict[str, float]:
        series = list(self.costs.exported())
        assert all(labels == LABELS for _, labels, _ in series)
        return {name: value for name, _, value in series}


def generating(tokens: float | None) -> Reading:
    return Reading({KEY: Signals({}, 1.0, 1.0, 0.0, 1, tokens)})


def test_the_hour_is_told_without_a_reading_and_a_million_tokens_with_one() -> None:
    book = Book()
    assert book.reported() == {external_metrics.COST_PER_HOUR: 3.6}
    book.costs.take(generating(500.0))
    assert book.reported() == {
        external_metrics.COST_PER_HOUR: 3.6,
        external_metrics.COST_PER_MILLION_TOKENS: pytest.approx(2),
    }


@pytest.mark.parametrize("tokens", [0.0, None])
def test_without_throughput_there_is_no_figure(tokens: float | None) -> None:
    book = Book()
    book.costs.take(generating(tokens))
    assert book.reported() == {external_metrics.COST_PER_HOUR: 3.6}


def test_an_old_reading_is_none() -> None:
    book = Book()
    book.costs.take(generating(500.0))
    book.now += datetime.timedelta(seconds=76)
    assert book.reported() == {external_metrics.COST_PER_HOUR: 3.6}


@pytest.mark.parametrize("cost", [None, {"currency": "EUR", "gpus": [{"count": 2}], "message": "no price"}])
def test_a_service_without_a_known_price_has_no_series(cost: dict[str, Any] | None) -> None:
    book = Book(cost)
    book.costs.take(generating(500.0))
    assert book.reported() == {}


async def test_throughput_is_read_even_while_no_service_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    world, taken = World(), list[Reading]()
    await world.look()
    assert world.readings == 0, "without prices nothing is read"
    monkeypatch.setattr(world.autoscaler, "_throughput", taken.append)
    await world.look(signals={("team-b", "other"): busy(0.1)})
    assert world.readings == 1 and taken == [world.reading]
    assert world.targeted is None, "no latencies"
    world.service()
    await world.look()
    assert world.readings == 2 and len(taken) == 2, "one reading serves both"


async def test_prometheus_is_asked_for_no_latency_where_none_is_wanted() -> None:
    with FakePrometheus() as prometheus:
        prometheus.set("team-a", "chat", ttft=0.2, running=3, finished=2.5, generated=80)
        found = await Prometheus(PrometheusSettings(url=prometheus.url)).read(None)
        assert sorted(request.name for request in prometheus.requests) == ["ages", "flow", "unmatched"]
    assert found.signals["team-a", "chat"].generated_per_second == 80
    assert found.signals["team-a", "chat"].latencies == {}


async def test_costs_are_on_the_operator_s_page_while_it_runs_whoever_scales(shell: Shell) -> None:
    service = shell.api.get("LLMService", *KEY)
    assert service
    shell.see(shell.api.put({**service, "status": {"cost": PER_HOUR}}))
    settings = Settings()
    running = asyncio.create_task(Scaling(shell.cluster, shell.cache, settings, lambda: settings.platform).run(print))
    await asyncio.sleep(0)
    page = generate_latest(metrics.REGISTRY).decode()
    assert 'llmservice_cost_per_hour{currency="EUR",llmservice="chat",llmservice_namespace="team-a"} 3.6' in page
    running.cancel()
    await asyncio.wait([running])
    assert "llmservice_cost" not in generate_latest(metrics.REGISTRY).decode()


async def test_products_of_nodes_are_read_once_by_their_labels_alone(shell: Shell) -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A10"}
    shell.api.put({"kind": "Node", "metadata": {"name": "gpu-0", "labels": labels}})
    shell.api.put({"kind": "Node", "metadata": {"name": "amd-0", "labels": {"amd.com/gpu.product-name": "MI300X"}}})
    shell.api.put({"kind": "Node", "metadata": {"name": "cpu-0"}})
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.PRODUCTS))
    await shell.look()
    assert shell.observed[-1].products == {"gpu-0": "NVIDIA-A10", "amd-0": "MI300X", "cpu-0": ""}
    await shell.look()
    assert shell.api.calls.count("list Node") == 1
    assert len(shell.observed) == 3, "what is known is there at the first plan"


async def test_without_a_right_to_nodes_the_plan_goes_on_without_products(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(403, "nodes is forbidden") if call == "list Node" else None)
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.PRODUCTS), requeue_after=7)
    assert await shell.look() == 7
    assert await shell.look() == 7
    assert shell.api.calls.count("list Node") == 1
    assert len(shell.observed) == 2


@pytest.mark.parametrize("amount", ["free", "NaN", "Infinity", "-1", "1e999999", {"a": 1}, None])
def test_a_status_that_somebody_wrote_ends_no_others_series(amount: Any) -> None:
    book = Book({"perHour": amount})
    meta = {"namespace": "team-b", "name": "other", "uid": "v", "resourceVersion": "2"}
    book.cache.put({"kind": "LLMService", "metadata": meta, "spec": {}, "status": {"cost": PER_HOUR}})
    assert [labels[external_metrics.NAMESPACE_LABEL] for _, labels, _ in book.costs.exported()] == ["team-b"]


def test_an_error_in_one_source_of_series_leaves_the_rest_of_the_page() -> None:
    def failing() -> Any:
        yield "llmservice_good", {"llmservice": "good"}, 1.0
        raise KeyError("currency")

    registry = CollectorRegistry()
    registry.register(metrics.Exported(failing))
    Gauge("llmservice_other", "Another.", registry=registry).set(3)
    page = generate_latest(registry).decode()
    assert 'llmservice_good{llmservice="good"} 1.0' in page
    assert "llmservice_other 3.0" in page
