"""What a reader gets from the board: the series that he selects, however he names them."""

import datetime

import pytest

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.signals import Signals
from llmservice_operator.controller.metrics_api import selectors
from llmservice_operator.controller.scaling.metrics_store import Entry, ScalingMetricsStore

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SERVICES = ("chat", "code", "draw")


@pytest.fixture
def board() -> ScalingMetricsStore:
    made = ScalingMetricsStore(fresh_seconds=60, window_seconds=60, now=lambda: NOW)
    latencies = {Latency.TIME_TO_FIRST_TOKEN: {50: 0.1, 99: 0.4}}
    signals = Signals(latencies=latencies, finished_per_second=1.0, running=1.0, waiting=0.0, pods=1)
    for name in SERVICES:
        made.post(("team-a", name), Entry(NOW, 95_000, None, signals))
    made.post(("team-b", "chat"), Entry(NOW, 40_000, None, signals))
    return made


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", ["chat", "code", "draw"]),
        ("llmservice=code", ["code"]),
        ("llmservice in (draw,chat,other)", ["chat", "draw"]),
        ("llmservice!=chat", ["code", "draw"]),
        ("llmservice notin (chat,draw)", ["code"]),
        ("llmservice", ["chat", "code", "draw"]),
        ("!llmservice", []),
        ("llmservice=", []),
        ("llmservice=chat,llmservice=code", []),
        ("llmservice=chat,llmservice!=chat", []),
        ("llmservice=other", []),
        ("app=chat", []),
    ],
)
def test_a_selector_gets_the_services_that_it_names(
    board: ScalingMetricsStore, selector: str, selected: list[str]
) -> None:
    wanted = selectors.parse(selector)
    loads = board.samples("team-a", external_metrics.LOAD, wanted)
    assert sorted(each.labels[external_metrics.SERVICE_LABEL] for each in loads) == selected
    latencies = board.samples("team-a", external_metrics.LATENCIES[Latency.TIME_TO_FIRST_TOKEN], wanted)
    assert sorted({each.labels[external_metrics.SERVICE_LABEL] for each in latencies}) == selected
    assert len(latencies) == 2 * len(selected)


def test_a_percentile_is_selected_by_its_label(board: ScalingMetricsStore) -> None:
    wanted = selectors.parse("llmservice=chat,percentile=p99")
    (sample,) = board.samples("team-a", external_metrics.LATENCIES[Latency.TIME_TO_FIRST_TOKEN], wanted)
    assert (sample.milli, sample.labels) == (400, {"llmservice": "chat", "percentile": "p99"})


def test_a_namespace_without_services_has_nothing(board: ScalingMetricsStore) -> None:
    assert board.samples("team-c", external_metrics.LOAD, selectors.parse("llmservice=chat")) == []
