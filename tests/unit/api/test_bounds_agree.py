"""The operator's types hold an object to the CRD's bounds too: it may have been stored under an older CRD."""

import pydantic

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus
from support.probes import Probe, probes

ONLY_THE_API_SERVER = {"x-kubernetes-list-type", "format"}
"""Duplicates in a list, and the form of a time that the operator itself writes."""


def agree(probe: Probe) -> bool:
    part, api_type = ("status", LLMServiceStatus) if probe.on_status else ("spec", LLMServiceSpec)
    try:
        api_type.model_validate(probe.object[part])
    except pydantic.ValidationError:
        return not probe.accepted
    return probe.accepted


def test_types_and_crd_agree() -> None:
    """One test: two thousand of them cost more than what they test."""
    compared = [each for each in probes() if each.bound.node.path and each.bound.keyword not in ONLY_THE_API_SERVER]
    assert {each.on_status for each in compared} == {True, False}
    assert {each.accepted for each in compared} == {True, False}
    assert not [str(each) for each in compared if not agree(each)]
