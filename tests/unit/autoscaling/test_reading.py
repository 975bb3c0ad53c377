"""What follows from Prometheus' answers for each service: numbers, or a gap that says what is the matter."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.histogram import Histogram
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.prometheus_answers import Row
from llmservice_operator.autoscaling.prometheus_queries import BOUNDS, NATIVE, NO_BUCKETS, NO_WAITING
from llmservice_operator.autoscaling.reading import Answers, measured, read
from llmservice_operator.autoscaling.signals import Owned, Reading, ServiceName

CHAT = ("team", "chat")
FLOW = {"running": 2.0, "waiting": 1.0, "finished": 0.5, "pods": 1.0}
LABELS = {"namespace": "team", "llmservice": "chat"}


def flow(**values: float) -> list[Row]:
    return [Row({**LABELS, "signal": signal}, value) for signal, value in values.items()]


def reading(
    flow: list[Row],
    latencies: Mapping[Latency, Mapping[ServiceName, Histogram]] | None = None,
    ages: list[Row] | None = None,
    unmatched: list[Row] | None = None,
    kept: Mapping[Latency, Mapping[ServiceName, Histogram]] | None = None,
    owned: Owned | None = None,
) -> Reading:
    now, before = ({one: measured(by) for one, by in (found or {}).items()} for found in (latencies, kept))
    return read(Answers(now, flow, ages or [], unmatched or [], kept=before), 60, owned=owned)


def test_idle_is_zero_and_has_no_latencies() -> None:
    found = reading(flow(**{**FLOW, "running": 0, "waiting": 0, "finished": 0})).signals[CHAT]
    assert (found.running, found.waiting, found.finished_per_second, found.pods) == (0, 0, 0, 1)
    assert found.latencies == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_throughput_that_is_no_number_is_not_known_and_hides_nothing(value: float | None) -> None:
    found = reading(flow(**FLOW, **({} if value is None else {"generated": value})))
    assert found.gaps == {}
    assert found.signals[CHAT].generated_per_second is None
    assert found.signals[CHAT].running == 2


def test_throughput_is_taken_along() -> None:
    assert reading(flow(**FLOW, generated=80.5)).signals[CHAT].generated_per_second == 80.5


def test_means_are_taken_along_and_one_that_is_no_number_is_zero() -> None:
    found = reading(flow(**FLOW, **{"mean in flight": 5.4, "mean waiting": math.nan})).signals[CHAT]
    assert (found.mean_in_flight, found.mean_waiting, found.running) == (5.4, 0, 2)
    assert reading(flow(**FLOW, **{"mean in flight": -1.0})).signals[CHAT].mean_in_flight == 0


def test_no_series_are_in_neither_map() -> None:
    assert reading([]) == Reading({}, any_engine=False)


def test_latencies_of_a_service_without_fresh_pods_are_not_used() -> None:
    histogram = Histogram([1, math.inf], [1, 1])
    assert reading([], {Latency.REQUEST_LATENCY: {CHAT: histogram}}) == Reading({}, any_engine=False)


def test_a_stale_pod_beside_fresh_ones_is_only_not_counted() -> None:
    found = reading(flow(**FLOW), ages=[Row({"namespace": "team", "pod": "chat-1"}, 90.0)])
    assert found.signals[CHAT].pods == 1
    assert found.gaps == {}


def test_stale_pods_alone_are_a_gap_that_names_one_always_the_same() -> None:
    rows = [Row({"namespace": "team", "pod": f"chat-{ordinal}"}, 90.0) for ordinal in (2, 0, 1)]
    forth, back = reading([], ages=rows), reading([], ages=rows[::-1])
    assert forth == back
    assert forth.gaps[CHAT].reason == metrics_unavailable.STALE_SERIES
    assert "team/chat-0 in Prometheus is older than 60 s" in forth.gaps[CHAT].message


def test_stale_pods_of_others_are_nobodys_gap() -> None:
    others = [{"namespace": "team", "pod": "vllm-7d9f-x2"}, {"pod": "chat-0"}, {"namespace": "team"}]
    assert reading([], ages=[Row(labels, 90.0) for labels in others]).gaps == {}


@pytest.mark.parametrize("signal", ["running", "waiting", "finished", "pods"])
@pytest.mark.parametrize("value", [1.7e308, 1.1e9, -1.0])
def test_numbers_that_no_service_has_are_a_gap_of_that_service_alone(signal: str, value: float) -> None:
    others = [Row({**LABELS, "llmservice": "good", "signal": name}, number) for name, number in FLOW.items()]
    found = reading([*flow(**{**FLOW, signal: value}), *others])
    assert found.gaps[CHAT].reason == metrics_unavailable.METRICS_INVALID
    assert f"{signal} {value:g}" in found.gaps[CHAT].message
    assert set(found.signals) == {("team", "good")}


@pytest.mark.parametrize("value", [-1.0, 1.7e308])
def test_throughput_that_no_service_has_is_not_known(value: float) -> None:
    assert reading(flow(**FLOW, generated=value)).signals[CHAT].generated_per_second is None


@pytest.mark.parametrize("missing", ["running", "waiting", "finished"])
def test_part_of_the_series_is_a_gap_not_a_zero(missing: str) -> None:
    found = reading(flow(**{signal: value for signal, value in FLOW.items() if signal != missing}))
    assert found.signals == {}
    assert found.gaps[CHAT].reason == metrics_unavailable.NO_SERIES


def test_one_sample_makes_no_rate_and_the_window_to_set_is_named() -> None:
    found = reading(flow(running=0, waiting=0, pods=1))
    assert "fewer than two samples" in found.gaps[CHAT].message
    assert "scaling.prometheus.windowSeconds" in found.gaps[CHAT].message


def test_a_broken_histogram_is_a_gap_that_names_it() -> None:
    found = reading(flow(**FLOW), {Latency.INTER_TOKEN_LATENCY: {CHAT: Histogram([1, 2], [1, 1])}})
    assert found.gaps[CHAT].reason == metrics_unavailable.NOT_A_NUMBER
    assert "vllm:inter_token_latency_seconds" in found.gaps[CHAT].message


def test_a_latency_of_an_earlier_look_counts_only_beside_requests_of_now() -> None:
    second = {CHAT: Histogram([1, math.inf], [1, 1])}
    nothing = {CHAT: Histogram([1, math.inf], [0, 0])}
    busy = reading(flow(**FLOW), {Latency.TIME_TO_FIRST_TOKEN: second}, kept={Latency.REQUEST_LATENCY: second})
    assert set(busy.signals[CHAT].latencies) == {Latency.TIME_TO_FIRST_TOKEN, Latency.REQUEST_LATENCY}
    for now in ({}, {Latency.TIME_TO_FIRST_TOKEN: nothing}):
        assert reading(flow(**FLOW), now, kept={Latency.REQUEST_LATENCY: second}).signals[CHAT].latencies == {}


def test_an_unmatched_series_is_written_as_promql_does() -> None:
    labels = {"pod": "", "job": 'a "b"', "__name__": "vllm:num_requests_running", "instance": "10.0.0.1:8000"}
    (found,) = reading([], unmatched=[Row(labels, 0.0)]).unmatched
    assert found.labels == r'{instance="10.0.0.1:8000", job="a \"b\"", pod=""}'
    assert (found.kind, found.absent, found.namespace) == ("unlabelled", ("namespace", "pod"), "")


FIRST = Latency.TIME_TO_FIRST_TOKEN


def test_a_histogram_without_buckets_is_absent_and_never_no_latency() -> None:
    found = reading(flow(**FLOW, **{NO_BUCKETS[FIRST]: 1.0}))
    assert set(found.absent[CHAT]) == {FIRST}
    gap = found.absent[CHAT][FIRST]
    assert gap.reason == metrics_unavailable.NO_SERIES
    assert "vllm:time_to_first_token_seconds_bucket" in gap.message
    assert "metric_relabel_configs" in gap.message


def test_buckets_that_one_pod_of_several_lacks_leave_no_percentiles_of_the_others() -> None:
    histogram = {CHAT: Histogram([1, math.inf], [1, 1])}
    found = reading(flow(**FLOW, **{NO_BUCKETS[FIRST]: 1.0}), {FIRST: histogram, Latency.REQUEST_LATENCY: histogram})
    assert set(found.signals[CHAT].latencies) == {Latency.REQUEST_LATENCY}
    assert set(found.absent[CHAT]) == {FIRST}


def test_a_native_histogram_is_named_and_the_setting_that_keeps_the_buckets() -> None:
    found = reading(flow(**FLOW, **{NO_BUCKETS[FIRST]: 1.0, NATIVE[FIRST]: 1.0})).absent[CHAT][FIRST]
    assert "native histogram" in found.message
    assert "convert_classic_histograms_to_nhcb" in found.message


def test_a_percentile_between_buckets_that_are_missing_is_not_told() -> None:
    """Of all the engines' buckets only 0.04, 5 and +Inf are kept: half of the requests took less than 5 s."""
    few = {CHAT: Histogram([0.04, 5.0, math.inf], [50, 99, 100])}
    now = {FIRST: measured(few, BOUNDS[FIRST])}
    found = read(Answers(now, flow(**FLOW), [], []), 60)
    assert set(found.signals[CHAT].latencies.get(FIRST, {})) == set()
    message = found.absent[CHAT][FIRST].message
    assert 'le="0.05"' in message and 'le="0.04"' not in message
    assert len(message) < 1000


def test_missing_buckets_that_no_percentile_lies_between_change_nothing() -> None:
    kept = [bound for bound in BOUNDS[FIRST] if bound <= 1.0]
    whole = {CHAT: Histogram([*kept, math.inf], [*range(len(kept)), len(kept) - 1])}
    found = read(Answers({FIRST: measured(whole, BOUNDS[FIRST])}, flow(**FLOW), [], []), 60)
    assert set(found.signals[CHAT].latencies[FIRST]) == {50, 90, 95, 99}
    assert found.absent == {}


def test_a_pod_without_its_queue_is_a_gap_though_others_have_theirs() -> None:
    found = reading(flow(**FLOW, **{NO_WAITING: 1.0}))
    assert found.signals == {}
    assert "vllm:num_requests_waiting" in found.gaps[CHAT].message


OWN: Owned = {CHAT: {"chat-0": frozenset({"10.0.0.1"}), "chat-1": frozenset()}}


def age(pod: str, seconds: float = 1.0, **labels: str) -> Row:
    return Row({"namespace": "team", "pod": pod, **labels}, seconds)


@pytest.mark.parametrize(
    "row",
    [
        age("chat-0"),
        age("chat-0", instance="10.0.0.1:8000"),
        age("chat-0", instance="chat-0.chat-headless:8000"),
        age("chat-1", instance="10.0.0.9:8000"),
        age("chat-9", 90.0),
        age("other-0"),
    ],
    ids=["own", "own-address", "no-address", "address-not-known-yet", "foreign-and-stale", "of-no-service"],
)
def test_series_of_the_services_own_pods_count(row: Row) -> None:
    assert set(reading(flow(**FLOW), ages=[age("chat-0"), row], owned=OWN).signals) == {CHAT}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (age("chat-9"), "pod team/chat-9, which the operator did not create"),
        (age("chat-0", instance="10.0.0.7:8000"), "scraped at 10.0.0.7, which is not that pod's address (10.0.0.1)"),
        (age("chat-0", instance="[fd00:0::7]:8000"), "scraped at fd00::7"),
        (age("chat-0", math.nan, instance="10.0.0.7"), "scraped at 10.0.0.7"),
    ],
)
def test_series_of_another_pod_are_a_gap_of_that_service_alone(row: Row, says: str) -> None:
    good = [Row({**LABELS, "llmservice": "good", "signal": signal}, value) for signal, value in FLOW.items()]
    owned = {**OWN, ("team", "good"): {"good-0": frozenset[str]()}}
    found = reading([*flow(**FLOW), *good], ages=[age("chat-0"), age("good-0"), row], owned=owned)
    assert set(found.signals) == {("team", "good")}
    assert found.gaps[CHAT].reason == metrics_unavailable.METRICS_INVALID
    assert says in found.gaps[CHAT].message


def test_services_that_the_operator_does_not_know_are_in_no_map() -> None:
    others = [Row({"namespace": "team", "llmservice": f"x{number}", "signal": "running"}, 1.0) for number in range(99)]
    stale = [age(f"y{number}-0", 90.0) for number in range(99)]
    assert reading(others, ages=stale, owned=OWN) == Reading({})


def test_a_namespace_with_more_pods_than_are_answered_is_a_gap_there_alone() -> None:
    many = [age(f"x{number}-0") for number in range(5000)]
    good = [Row({"namespace": "b", "llmservice": "good", "signal": signal}, value) for signal, value in FLOW.items()]
    owned = {**OWN, ("b", "good"): {"good-0": frozenset[str]()}}
    found = reading([*flow(**FLOW), *good], ages=[*many, Row({"namespace": "b", "pod": "good-0"}, 1.0)], owned=owned)
    assert set(found.signals) == {("b", "good")}
    assert found.gaps[CHAT].reason == metrics_unavailable.METRICS_INVALID
    assert "5000" in found.gaps[CHAT].message


LABEL = st.sampled_from(["namespace", "llmservice", "pod", "signal", "other"])
VALUES = st.sampled_from(["", "é\n", '"', "-0", "team", "chat", "chat-0", "running", "waiting", "finished", "pods"])
ROWS = st.lists(st.builds(Row, st.dictionaries(LABEL, VALUES), st.floats()), max_size=12)
OWNED = st.none() | st.just({CHAT: {"chat-0": frozenset({"10.0.0.1"})}})
HISTOGRAMS = st.lists(st.tuples(st.floats(), st.floats()), max_size=6).map(
    lambda buckets: Histogram([bound for bound, _ in buckets], [count for _, count in buckets])
)


@given(ROWS, ROWS, ROWS, HISTOGRAMS, OWNED)
def test_whatever_comes_back_each_service_is_in_one_map_at_most_and_holds_numbers(
    flow: list[Row], ages: list[Row], unmatched: list[Row], histogram: Histogram, owned: Owned | None
) -> None:
    found = reading(flow, {Latency.REQUEST_LATENCY: {CHAT: histogram}}, ages, unmatched, owned=owned)
    assert owned is None or {*found.signals, *found.gaps} <= owned.keys()
    assert not found.signals.keys() & found.gaps.keys()
    for signals in found.signals.values():
        numbers = [signals.running, signals.waiting, signals.finished_per_second]
        numbers += [seconds for by in signals.latencies.values() for seconds in by.values()]
        assert all(0 <= number <= 1e9 for number in numbers)
