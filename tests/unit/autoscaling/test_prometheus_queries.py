"""What Prometheus is asked: bounded in number, and about exactly the series that the platform names."""

import math
import re

import pytest

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.prometheus_queries import AGES, FLOW, UNMATCHED, queries

SELECTOR = re.compile(r"vllm:\w+(\{[^}]*\})?")


def test_there_are_six() -> None:
    assert set(queries(60)) == {*(latency.value for latency in Latency), FLOW, AGES, UNMATCHED}


def test_every_selector_has_the_platforms_matchers() -> None:
    for query in queries(60, matchers='cluster="a", tenant!="b"').values():
        selectors = [match.group(1) or "" for match in SELECTOR.finditer(query)]
        assert selectors
        assert all(selector.endswith('cluster="a", tenant!="b"}') for selector in selectors)


@pytest.mark.parametrize("window", [15, 60, 300])
def test_rates_and_freshness_are_of_one_window(window: int) -> None:
    for query in queries(window).values():
        assert set(re.findall(r"\[(\w+)\]", query)) <= {f"{window}s"}
        assert set(re.findall(r">= time\(\) - (\w+)", query)) <= {f"{window}"}


def test_labels_have_the_names_that_the_platform_gives_them() -> None:
    for query in queries(60, namespace_label="kube_namespace", pod_label="kube_pod").values():
        assert not re.search(r"\b(namespace|pod)\b", query)


def test_series_with_a_label_of_the_operator_s_own_do_not_become_the_same_series() -> None:
    """Prometheus refuses a query if label_replace makes two series the same."""
    query = queries(60)[UNMATCHED]
    replaced = re.findall(r"label_replace\((.{0,40})", query)
    assert replaced
    assert all("max without (llmservice_kind) (" in each for each in replaced)


@pytest.mark.parametrize("name", list(queries(60)))
def test_parentheses_close(name: str) -> None:
    query = queries(60)[name]
    assert query.count("(") == query.count(")")
    assert query.count('"') % 2 == 0


@pytest.mark.parametrize("latency", list(Latency))
def test_only_buckets_that_engines_have_are_asked_for(latency: Latency) -> None:
    query = queries(60)[latency.value]
    (asked,) = re.findall(r'_bucket\{le=~"([^"]+)"', query)
    family = {"timeToFirstToken": "time_to_first_token", "interTokenLatency": "inter_token_latency"}
    bounds = BUCKETS[family.get(latency.value, "request_latency")]
    for bound in (*bounds, math.inf):
        for text in ("+Inf",) if math.isinf(bound) else (repr(bound), f"{bound:g}"):
            assert re.fullmatch(asked, text), f"{text} is a bound of the engines"
    for forged in ("0.0123", "11", "1000.00", "", "-1", "1e9", "x1", "00.1"):
        assert not re.fullmatch(asked, forged)
    assert len(asked.split("|")) <= 2 * len(bounds) + 1


def test_rows_keep_no_label_that_a_pod_writes() -> None:
    """Prometheus adds namespace, pod and instance; le is one of few; the others are the operator's own."""
    ours = {"namespace", "llmservice", "pod", "instance", "le", "signal"}
    for name, query in queries(60).items():
        if name == UNMATCHED:
            assert query.startswith("topk by (llmservice_kind) (1, ")
            continue
        outermost = re.findall(r"by \(([^)]*)\)", query)
        assert set(outermost[0].split(", ")) <= ours
        if name == AGES:
            assert query.startswith("bottomk by (namespace) (5000, ")
            assert outermost[1] == "namespace, pod, instance"
