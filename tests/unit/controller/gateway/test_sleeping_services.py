"""What the gateway reads of a service that may be at zero."""

from typing import Any

import pytest

from llmservice_operator.gateway.routes import Refusal, ServedService, read_service

SCALING = {"minReplicas": 0, "maxReplicas": 2}


def read(spec: dict[str, Any], *conditions: dict[str, Any], node_seconds: int | None = None) -> ServedService:
    """The service with this spec and these conditions."""
    obj = {
        "metadata": {"namespace": "team-a", "name": "chat"},
        "spec": spec,
        "status": {"conditions": list(conditions)},
    }
    found = read_service(obj, node_seconds)
    assert found is not None
    return found


def condition(kind: str, status: str, reason: Any, since: str = "1970-01-01T00:00:10Z") -> dict[str, Any]:
    """A condition."""
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": since}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": 0, "scaling": SCALING}, True),
        ({"replicas": 0}, False),
        ({"replicas": 0, "scaling": {"maxReplicas": 2}}, False),
        ({"replicas": 0, "scaling": {"minReplicas": 1, "maxReplicas": 2}}, False),
        ({"replicas": 0, "scaling": {"minReplicas": False, "maxReplicas": 2}}, False),
        ({"replicas": 0, "scaling": [0]}, False),
    ],
)
def test_requests_wait_for_services_whose_least_number_of_replicas_is_0(spec: dict[str, Any], expected: bool) -> None:
    assert read(spec).scales_to_zero is expected
    disabled = condition("ScalingActive", "False", "ScalingDisabled")
    assert not read(spec, disabled).scales_to_zero


@pytest.mark.parametrize(
    ("conditions", "own", "platform", "expected"),
    [
        ([], None, None, None),
        ([condition("Stalled", "False", "X")], None, None, None),
        ([condition("Scheduled", "Unknown", "AwaitingScheduler")], None, None, None),
        ([condition("Stalled", "True", "InvalidSpec")], None, None, Refusal("InvalidSpec", 0)),
        ([condition("Scheduled", "False", "NoFreeDevices")], None, None, Refusal("NoFreeDevices", 130)),
        ([condition("Scheduled", "False", "NoFreeDevices")], None, 0, Refusal("NoFreeDevices", 10)),
        ([condition("Scheduled", "False", "NoFreeDevices")], 900, 0, Refusal("NoFreeDevices", 910)),
        ([condition("Scheduled", "False", "NoFreeDevices")], 10**9, 5, Refusal("NoFreeDevices", 15)),
        ([condition("Scheduled", "False", 'no "word"', "no time")], None, 5, Refusal("Unknown", 5)),
    ],
)
def test_requests_end_if_a_person_has_to_act_or_a_pod_gets_no_node(
    conditions: list[dict[str, Any]], own: int | None, platform: int | None, expected: Refusal | None
) -> None:
    spec = {"scheduling": {"maxNodeProvisionSeconds": own}} if own is not None else {}
    assert read(spec, *conditions, node_seconds=platform).refusal == expected


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        ({}, ""),
        ({"apiKeys": {"secretRef": {"name": "chat-keys"}}}, "chat-keys"),
        ({"apiKeys": {"secretRef": {"name": "../../other"}}}, "-"),
        ({"apiKeys": "x"}, "-"),
    ],
)
def test_a_service_with_keys_names_their_secret(access: dict[str, Any], expected: str) -> None:
    assert read({"access": access}).keys_secret == expected
