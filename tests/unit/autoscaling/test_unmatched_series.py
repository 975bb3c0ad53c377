"""What a ready service without series is reported: the series and the label that is missing, and what to set."""

import pytest

from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.prometheus_answers import Row
from llmservice_operator.autoscaling.signals import SeriesLabels
from llmservice_operator.autoscaling.unmatched_series import no_series, unmatched_series

CHAT = ("team", "chat")
USUAL = SeriesLabels()


def reported(
    *rows: dict[str, str], any_engine: bool = True, labels: SeriesLabels = USUAL, name: tuple[str, str] = CHAT
) -> MetricsUnavailable:
    found = unmatched_series([Row(row, 0.0) for row in rows], labels.namespace, labels.pod)
    return no_series(name, found, any_engine, labels)


def test_the_series_is_named_with_its_labels_and_the_platforms_matchers() -> None:
    found = reported(labels=SeriesLabels("ns", "pod_name", 'cluster="a"'))
    assert found.reason == metrics_unavailable.NO_SERIES
    assert 'vllm:num_requests_running{ns="team", pod_name="chat-0", cluster="a"}' in found.message


def test_a_prometheus_without_any_engine_may_be_the_wrong_one() -> None:
    """As with the wrong tenant, or a label of remote systems in the matchers: the answer is empty, and no error."""
    found = reported(any_engine=False, labels=SeriesLabels(matchers='cluster="a"'))
    assert found.reason == metrics_unavailable.NO_SERIES
    for field in ("scaling.prometheus.url", "headers", "matchers"):
        assert field in found.message


@pytest.mark.parametrize(
    ("scraped", "says"),
    [
        (False, ("up is 0", "networkPolicy.prometheus")),
        (True, ("up is 1", "metric_relabel_configs")),
        (None, ("scrapes",)),
    ],
)
def test_pods_that_are_scraped_are_told_apart(scraped: bool | None, says: tuple[str, ...]) -> None:
    found = no_series(CHAT, (), True, USUAL, scraped)
    assert found.reason == metrics_unavailable.NO_SERIES
    for each in (*says, "vllm:num_requests_running" if scraped is not False else "chat"):
        assert each in found.message


@pytest.mark.parametrize(
    ("row", "missing", "present", "setting"),
    [
        ({"namespace": "team", "pod_name": "chat-0"}, "pod", "pod_name", "scaling.prometheus.labels.pod"),
        (
            {"kubernetes_namespace": "team", "kubernetes_pod_name": "chat-0"},
            "namespace and pod",
            "kubernetes_namespace, kubernetes_pod_name",
            "scaling.prometheus.labels.namespace and scaling.prometheus.labels.pod",
        ),
        ({"k8s_namespace_name": "team", "pod": "chat-0"}, "namespace", "k8s_namespace_name", "labels.namespace"),
    ],
)
def test_the_missing_label_is_named_and_the_one_to_set(
    row: dict[str, str], missing: str, present: str, setting: str
) -> None:
    found = reported(row)
    assert found.reason == metrics_unavailable.LABELS_MATCH_NO_POD
    assert f"no label {missing} " in found.message
    assert present in found.message
    assert setting in found.message


def test_labels_that_a_pod_says_of_itself_are_not_proposed() -> None:
    found = reported(
        {"exported_namespace": "team", "exported_pod": "chat-0", "namespace": "monitoring"}, name=("monitoring", "x")
    )
    assert found.reason == metrics_unavailable.LABELS_MATCH_NO_POD
    assert "scaling.prometheus.labels" not in found.message
    assert "exported_pod" in found.message


def test_values_of_labels_are_only_told_to_their_namespace() -> None:
    secret = {"job": "secret", "pod_name": "secret-0"}
    assert "secret" not in reported(secret).message
    assert "secret" not in reported({**secret, "namespace": "other"}).message
    assert "secret" in reported({**secret, "namespace": "team"}).message


def test_series_that_were_renamed_are_named_with_both_names() -> None:
    found = reported({"namespace": "team", "pod": "chat-0", "llmservice_kind": "renamed"})
    assert found.reason == metrics_unavailable.NO_SERIES
    assert "vllm:num_requests_running" in found.message and "vllm_num_requests_running" in found.message
    assert "llmservice_kind" not in found.message


def test_engines_of_others_in_the_namespace_are_not_taken_for_a_wrong_label() -> None:
    found = reported({"namespace": "team", "pod": "vllm-7d4f-x2abc", "llmservice_kind": "other"})
    assert "vllm-7d4f-x2abc" in found.message
    assert "scrapes pod chat-0" in found.message
    assert (
        reported({"namespace": "else", "pod": "vllm-x", "llmservice_kind": "other"}).reason
        == metrics_unavailable.NO_SERIES
    )


def test_a_label_as_long_as_an_answer_is_clipped() -> None:
    assert len(reported({"namespace": "team", **{f"x{number}": "y" * 9000 for number in range(99)}}).message) < 1500
