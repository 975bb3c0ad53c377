"""What the front counts: each request where it belongs, and no more series than bounded, whatever comes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract import metrics
from llmservice_runtime.gateway.meter import LATENCY_BUCKETS, Meter

ROUTE = "/v1/completions"


def metered() -> tuple[Meter, CollectorRegistry]:
    registry = CollectorRegistry()
    return Meter(registry), registry


def tokens(registry: CollectorRegistry) -> dict[tuple[str, str, str], float]:
    """By key id, tier and kind, as the page tells."""
    return {
        (sample.labels["key_id"], sample.labels["tier"], sample.labels["kind"]): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name == metrics.TOKENS
    }


def test_a_request_is_active_until_it_has_finished() -> None:
    meter, registry = metered()
    meter.admitted(ROUTE, "default")
    meter.admitted(ROUTE, "premium")
    assert registry.get_sample_value(metrics.ACTIVE) == 2
    meter.finished(ROUTE, "default", "key1", 0.5, 3, 4)
    assert registry.get_sample_value(metrics.ACTIVE) == 1


def test_a_finished_request_counts_for_its_route_its_tier_and_its_key() -> None:
    meter, registry = metered()
    meter.admitted(ROUTE, "premium")
    meter.finished(ROUTE, "premium", "key1", 0.5, 3, 4)
    labels = {"route": ROUTE, "tier": "premium"}
    assert registry.get_sample_value(f"{metrics.LATENCY}_count", labels) == 1
    assert registry.get_sample_value(f"{metrics.LATENCY}_sum", labels) == 0.5
    assert tokens(registry) == {("key1", "premium", "prompt"): 3, ("key1", "premium", "completion"): 4}


def test_first_tokens_count_by_tier() -> None:
    meter, registry = metered()
    meter.first_token("premium", 0.5)
    meter.first_token("premium", 1.5)
    meter.first_token("default", 0.1)
    assert registry.get_sample_value(f"{metrics.FIRST_TOKEN}_sum", {"tier": "premium"}) == 2.0
    assert registry.get_sample_value(f"{metrics.FIRST_TOKEN}_count", {"tier": "default"}) == 1


def test_refusals_count_by_reason_and_tier() -> None:
    meter, registry = metered()
    for tier in ("default", "default", ""):
        meter.rejected("requests_per_minute", tier)
    assert registry.get_sample_value(metrics.REJECTIONS, {"reason": "requests_per_minute", "tier": "default"}) == 2
    assert registry.get_sample_value(metrics.REJECTIONS, {"reason": "requests_per_minute", "tier": ""}) == 1


def test_failures_of_the_store_count_from_zero() -> None:
    meter, registry = metered()
    assert registry.get_sample_value(metrics.STORE_FAILURES) == 0
    meter.store_failed()
    assert registry.get_sample_value(metrics.STORE_FAILURES) == 1


def test_a_target_of_10_ms_is_decided_exactly() -> None:
    meter, registry = metered()
    for seconds in (0.0099, 0.01, 0.0101):
        meter.finished(ROUTE, "default", "key1", seconds, 1, 1)
    labels = {"route": ROUTE, "tier": "default", "le": "0.01"}
    assert registry.get_sample_value(f"{metrics.LATENCY}_bucket", labels) == 2


def test_bounds_are_near_each_other_where_targets_lie() -> None:
    assert all(low < high for low, high in pairwise(LATENCY_BUCKETS))
    steps = [(low, high / low) for low, high in pairwise(LATENCY_BUCKETS)]
    assert max(ratio for low, ratio in steps if 0.005 <= low < 0.1) <= 1.28
    assert max(ratio for low, ratio in steps if 0.1 <= low < 100) <= 1.67
    assert LATENCY_BUCKETS[-1] > 600, "an answer that takes longer than the longest deadline is seen"


def test_the_tokens_of_keys_beyond_the_most_are_counted_together() -> None:
    meter, registry = metered()
    for number in range(metrics.MOST_KEY_IDS + 5):
        meter.finished(ROUTE, "default", f"key{number}", 0.1, 1, 2)
    counted = tokens(registry)
    assert counted[f"key{metrics.MOST_KEY_IDS - 1}", "default", "prompt"] == 1
    assert counted[metrics.OTHER, "default", "prompt"] == 5
    assert counted[metrics.OTHER, "default", "completion"] == 10
    assert len(counted) == 2 * (metrics.MOST_KEY_IDS + 1)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2 * metrics.MOST_TIERS), st.integers(0, 50)), max_size=200)
)
def test_no_names_make_more_series_than_bounded_and_no_token_is_lost(requests: list[tuple[int, int, int]]) -> None:
    meter, registry = metered()
    for key, number, used in requests:
        tier = f"tier{number}"
        meter.rejected("body_bytes", tier)
        meter.finished(ROUTE, tier, f"key{key}", 0.1, used, 1)
    counted = tokens(registry)
    assert len({tier for _, tier, _ in counted}) <= metrics.MOST_TIERS + 1
    for kind, total in (("prompt", sum(used for *_, used in requests)), ("completion", len(requests))):
        assert sum(value for (*_, each), value in counted.items() if each == kind) == total
