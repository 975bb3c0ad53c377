"""What Prometheus is asked: bounded in number, and about exactly the series that the platform names."""

import re

import pytest

from llmservice_operator.scaling.latency import Latency
from llmservice_operator.scaling.queries import FLOW, STALE, STRANGER, queries

SELECTOR = re.compile(r"vllm:\w+(\{[^}]*\})?")


def test_there_are_six() -> None:
    assert set(queries(60)) == {*(latency.value for latency in Latency), FLOW, STALE, STRANGER}


def test_every_selector_has_the_platforms_matchers() -> None:
    for query in queries(60, matchers='cluster="a", tenant!="b"').values():
        selectors = [match.group(1) or "" for match in SELECTOR.finditer(query)]
        assert selectors
        assert all(selector.endswith('cluster="a", tenant!="b"}') for selector in selectors)


@pytest.mark.parametrize("window", [15, 60, 300])
def test_rates_and_freshness_are_of_one_window(window: int) -> None:
    for query in queries(window).values():
        assert set(re.findall(r"\[(\w+)\]", query)) <= {f"{window}s"}
        assert set(re.findall(r"time\(\) - (\w+)", query)) <= {f"{window}"}


def test_labels_have_the_names_that_the_platform_gives_them() -> None:
    for query in queries(60, namespace_label="kube_namespace", pod_label="kube_pod").values():
        assert not re.search(r"\b(namespace|pod)\b", query)


@pytest.mark.parametrize("name", list(queries(60)))
def test_parentheses_close(name: str) -> None:
    query = queries(60)[name]
    assert query.count("(") == query.count(")")
    assert query.count('"') % 2 == 0
