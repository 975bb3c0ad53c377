"""hack/bench/hostile.py: the same cases each time, as many as stated, and figures that no missing case makes better."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from hostile_parts import configs_run, metrics_cases, requests_cases, requests_run
from hostile_parts.configs_run import message_of
from hostile_parts.figures import (
    WANTED,
    Case,
    missed,
    most_in_window,
    not_run,
    overrun_percent,
    percentile,
    plain,
    worst,
)
from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_operator.autoscaling import prometheus_queries

STALL, AFFECTED = "operator_longest_stall_ms", "other_services_affected"


def a_case(name: str, **figures: float) -> Case:
    return Case("configs", name, "sizes", "Fits", 1.0, figures)


def test_configurations_are_the_same_each_time_and_no_two_alike() -> None:
    first, second = configs_run.all_cases(), configs_run.all_cases()
    assert first == second
    assert len(first) == configs_run.COUNT == 200
    contents = Counter((case.text, case.message, case.services, case.changes, case.restart) for case in first)
    assert contents.most_common(1)[0][1] == 1
    assert {case.family for case in first} == {"patterns", "sizes", "types", "depth", "words", "messages", "many"}


def test_what_reaches_the_operator_is_as_long_as_the_kubelet_keeps() -> None:
    messages = {case.name: message_of(case) for case in configs_run.all_cases() if case.services == 1}
    assert max(len(text.encode()) for text in messages.values()) <= TERMINATION_MESSAGE_BYTES
    hostile = json.loads(messages["pattern-exponential-words"])
    assert hostile["configuration"], "the pattern reaches the operator"
    assert messages["message-brackets"] == "[" * 4000


def test_metrics_are_the_same_each_time_and_each_says_something() -> None:
    first, second = metrics_cases.all_cases(), metrics_cases.all_cases()
    assert [case.name for case in first] == [case.name for case in second]
    assert len(first) == metrics_cases.COUNT == 50
    names = (prometheus_queries.FLOW, prometheus_queries.AGES, prometheus_queries.UNMATCHED, metrics_cases.TTFT)
    for case in first:
        assert case.series or (case.answers and any(case.answers(name) for name in names)), case.name


def test_requests_are_as_many_as_stated_and_those_past_limits_have_a_limited_key() -> None:
    cases = requests_run.all_cases()
    assert len(cases) == requests_cases.COUNT == 50
    assert {case.tier for case in cases if case.family == "limits"} == {"limited"}
    assert {case.tier for case in cases} <= requests_run.TIERS.keys()


def test_the_worst_case_is_the_figure() -> None:
    cases = [a_case("a", **{STALL: 10.0, AFFECTED: 0.0}), a_case("b", **{STALL: 251.0, AFFECTED: 0.0})]
    found = worst(cases, {"rss_growth_mib": 64.0})
    assert found == {
        STALL: 251.0,
        AFFECTED: 0.0,
        "limit_overrun_percent": None,
        "health_p99_ms": None,
        "rss_growth_mib": 64.0,
        "other_clients_failed": None,
    }
    assert missed(found) == {STALL: 251.0}
    assert [case.missed for case in cases] == [(), (STALL,)]


def test_what_did_not_run_is_missed_and_is_json() -> None:
    case = not_run("configs", "a", "sizes", (STALL, AFFECTED), "no time left")
    assert set(missed(worst([case], {}))) == {STALL, AFFECTED}
    assert plain(case)["figures"] == {STALL: None, AFFECTED: None}
    json.dumps(plain(case), allow_nan=False)


@pytest.mark.parametrize("name", WANTED)
def test_a_figure_that_is_no_number_is_missed(name: str) -> None:
    assert a_case("a", **{name: math.nan}).missed == (name,)


def test_percentiles() -> None:
    assert percentile([*range(1, 101)], 0.99) == 99
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([], 0.99) == math.inf


def test_the_most_of_any_minute_is_found_wherever_it_begins() -> None:
    events = [(0.0, 10), (50.0, 10), (59.9, 10), (60.0, 10), (109.9, 10), (110.0, 1)]
    assert most_in_window(events) == 40 - 10 + 10
    assert most_in_window(reversed(events)) == 40
    assert most_in_window([]) == 0
    assert overrun_percent(102, 100) == pytest.approx(2)
    assert overrun_percent(50, 100) == 0
