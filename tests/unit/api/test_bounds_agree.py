"""The operator's types hold an object to the CRD's bounds too: it may have been stored under an older CRD."""

import pydantic
import pytest

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus
from support.probes import Probe, probes

ONLY_THE_API_SERVER = {"x-kubernetes-list-type", "format"}
"""Duplicates in a list, and the form of a time that the operator itself writes."""

PROBES = [probe for probe in probes() if probe.bound.node.path and probe.bound.keyword not in ONLY_THE_API_SERVER]


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_types_and_crd_agree(probe: Probe) -> None:
    part, api_type = ("status", LLMServiceStatus) if probe.on_status else ("spec", LLMServiceSpec)
    if probe.accepted:
        api_type.model_validate(probe.object[part])
    else:
        with pytest.raises(pydantic.ValidationError):
            api_type.model_validate(probe.object[part])
