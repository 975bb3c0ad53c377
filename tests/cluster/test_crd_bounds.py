"""Every bound of the CRD on a real API server: at the bound accepted, beyond it refused.

The probes are walked from the schema, so a new field is tested as soon as it exists. What the API server accepts, the
operator's types read.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus
from support.cluster import MERGE, Answer, Cluster
from support.probes import Probe, probes
from support.schema import bounds

PROBES = probes()

SAYS = {
    "pattern": "should match",
    "minLength": "at least",
    "maxLength": "Too long",
    "minimum": "should be greater than or equal to",
    "maximum": "should be less than or equal to",
    "minItems": "at least",
    "maxItems": "Too many",
    "minProperties": "at least",
    "maxProperties": "Too many",
    "enum": "Unsupported value",
    "required": "Required value",
    "format": "must be of type date-time",
    "type": "must be of type",
    "anyOf": "must be of type integer",
    "x-kubernetes-list-type": "Duplicate value",
}
"""What the API server says of each kind of bound."""


@pytest.fixture(scope="module")
def standing(cluster: Cluster, shared_namespace: str) -> Iterator[str]:
    """A service that exists, for the bounds of the status."""
    made = cluster.create(shared_namespace, a_service("standing").build())
    assert made.ok, made.message
    yield "standing"


def send(cluster: Cluster, namespace: str, name: str, probe: Probe) -> Answer:
    """Offers the probe to the API server, which keeps nothing of it."""
    if not probe.on_status:
        return cluster.create(namespace, probe.object, dry_run=True)
    path = cluster.services(namespace, name, "status")
    return cluster.request("PATCH", path, probe.object, content_type=MERGE, dryRun="All", fieldValidation="Strict")


def test_every_bound_is_tried_both_ways() -> None:
    tried = {(str(probe.bound), probe.accepted) for probe in PROBES}
    missing = [(str(bound), way) for bound in bounds() for way in (True, False) if (str(bound), way) not in tried]
    assert not missing


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_bound(cluster: Cluster, shared_namespace: str, standing: str, probe: Probe) -> None:
    answer = send(cluster, shared_namespace, standing, probe)
    if probe.accepted:
        assert answer.ok, answer.message
        read(answer.body)
    else:
        assert answer.status in (400, 422), "accepted, beyond the bound"
        assert SAYS[probe.bound.keyword] in answer.message
        assert field_name(probe) in answer.message


def read(service: dict[str, Any]) -> None:
    """Raises where the operator's types don't read what the API server accepted."""
    LLMServiceSpec.model_validate(service["spec"])
    if "status" in service:
        LLMServiceStatus.model_validate(service["status"])


def field_name(probe: Probe) -> str:
    """The last named step of the place, which the refusal must name."""
    if probe.bound.keyword == "required":
        return str(probe.bound.value)
    return [step for step in probe.bound.node.path if step[0].isalpha()][-1]
