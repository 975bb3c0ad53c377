"""What Prometheus gets of each service: conditions, replicas, and targets with the bucket that counts them."""

from typing import Any

import pytest

from llmservice_contract.metrics import BUCKETS
from llmservice_operator import metrics
from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.controller.scaling.service_series import ServiceSeries, bound_of
from llmservice_operator.resources.kinds import CONFIGMAP
from unit.controller.conftest import Shell
from unit.controller.scaling.test_autoscaler import KEY, World, busy

READY = {"type": "Ready", "status": "False", "reason": "GPUOutOfMemory"}


def series_of(spec: dict[str, Any], status: Any, statefulset: dict[str, Any] | None = None) -> dict[str, float]:
    """The series by name and labels in the order of their names, without the service's own labels."""
    cache = Cache()
    meta = {"namespace": "team-a", "name": "chat", "uid": "u", "resourceVersion": "1", "generation": 2}
    cache.put({"kind": "LLMService", "metadata": meta, "spec": spec, "status": status})
    if statefulset is not None:
        cache.put({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {**meta, "uid": "s"}, **statefulset})
    found = {}
    for name, labels, value in ServiceSeries(cache).exported():
        assert (labels["llmservice_namespace"], labels["llmservice"]) == ("team-a", "chat")
        rest = sorted(f"{key}={each}" for key, each in labels.items() if not key.startswith("llmservice"))
        found[" ".join([name, *rest])] = value
    return found


def test_conditions_have_a_series_each() -> None:
    found = series_of({}, {"conditions": [READY, {"type": "Stalled", "status": "True", "reason": "GPUOutOfMemory"}]})
    assert found["llmservice_condition reason=GPUOutOfMemory status=False type=Ready"] == 1
    assert found["llmservice_condition reason=GPUOutOfMemory status=True type=Stalled"] == 1


def test_a_status_that_another_client_wrote_adds_no_series_of_its_own() -> None:
    odd = [{"type": "Mine", "status": "True", "reason": "X"}, {"type": "Ready", "status": "Maybe", "reason": "X"}]
    found = series_of({}, {"conditions": [*odd, {**READY, "reason": "Invented"}, READY, {"type": ["Ready"]}]})
    assert not [each for each in found if each.startswith("llmservice_condition")], "a type that is no text"
    found = series_of({}, {"conditions": [*odd, {**READY, "reason": "Invented"}, READY]})
    assert [each for each in found if each.startswith("llmservice_condition")] == [
        "llmservice_condition reason=Other status=False type=Ready"
    ]


@pytest.mark.parametrize("status", [None, {"conditions": "none"}, {"conditions": [7]}, {"replicas": "many"}])
def test_a_broken_status_raises_nothing(status: Any) -> None:
    series_of({}, status)


def test_replicas_are_desired_current_and_ready() -> None:
    statefulset = {"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}
    found = series_of({"replicas": 3}, {"replicas": 4}, statefulset)
    assert {each.rpartition("=")[2]: value for each, value in found.items()} == {"desired": 3, "current": 4, "ready": 2}


def test_a_target_has_its_seconds_its_share_and_its_bucket() -> None:
    targets = {"timeToFirstToken": {"p99": "200ms"}, "interTokenLatency": {"p95": "33ms"}}
    found = series_of({"scaling": {"maxReplicas": 2, "targets": targets}}, {})
    assert found["llmservice_latency_target_seconds latency=timeToFirstToken percentile=p99"] == 0.2
    assert found["llmservice_latency_objective_ratio latency=timeToFirstToken le=0.2 percentile=p99"] == 0.99
    assert found["llmservice_latency_target_seconds latency=interTokenLatency percentile=p95"] == 0.033
    assert found["llmservice_latency_objective_ratio latency=interTokenLatency le=0.04 percentile=p95"] == 0.95


def test_the_bucket_is_one_that_engines_have() -> None:
    for latency, family in zip(Latency, ("time_to_first_token", "inter_token_latency", "request_latency"), strict=True):
        printed = {repr(float(each)) for each in BUCKETS[family]}
        for seconds in (0.001, 0.0123, 0.2, 1.0, 59.0, 600.0):
            bound = bound_of(Target(latency, 99, seconds))
            assert bound in printed and float(bound) >= seconds


def counted(name: str, **labels: str) -> float:
    """The operator's counter now."""
    return metrics.REGISTRY.get_sample_value(f"llmservice_operator_{name}", labels) or 0.0


async def test_decisions_are_counted_by_what_they_did() -> None:
    world = World()
    world.service()
    before = {each: counted("scaling_decisions_total", decision=each) for each in ("up", "hold", "unavailable")}
    await world.look()
    await world.look(signals={KEY: busy(0.9)})
    await world.look(signals={KEY: busy(0.2)})
    after = {each: counted("scaling_decisions_total", decision=each) - value for each, value in before.items()}
    assert after["up"] >= 1 and sum(after.values()) == 3


async def test_requests_to_the_api_server_are_counted_by_method_and_status(shell: Shell) -> None:
    found = counted("api_requests_total", method="GET", code="200")
    absent = counted("api_requests_total", method="GET", code="404")
    timed = counted("api_seconds_count", method="GET")
    await shell.cluster.get(CONFIGMAP, "team-a", "none")
    assert counted("api_requests_total", method="GET", code="404") == absent + 1
    assert counted("api_requests_total", method="GET", code="200") == found
    assert counted("api_seconds_count", method="GET") == timed + 1
