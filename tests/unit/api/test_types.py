"""The types as the operator reads objects by them."""

from typing import Any

import pydantic
import pytest
import yaml

from builders.services import FIVE_LINES, a_service
from llmservice_contract.choices import AcceleratorType, QuantizationMethod
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus


def parsed(**fragment: Any) -> LLMServiceSpec:
    return LLMServiceSpec.model_validate(a_service().with_spec(**fragment).build()["spec"])


def test_five_lines_leave_everything_else_to_its_default() -> None:
    spec = LLMServiceSpec.model_validate(yaml.safe_load(FIVE_LINES)["spec"])
    assert spec.model.source == "pvc://models/chat"
    assert spec.accelerator.type is AcceleratorType.NVIDIA
    assert spec.quantization.method is QuantizationMethod.AUTO
    assert (spec.parallelism.tensor, spec.parallelism.pipeline) == (1, 1)
    assert spec.replicas is None, "absent: the operator may not take it for 1"


def test_a_bare_number_is_a_quantity() -> None:
    resources = parsed(resources={"cpu": 4, "memory": 17179869184}).resources
    assert (resources.cpu, resources.memory) == ("4", "17179869184")


@pytest.mark.parametrize("value", [True, 1.5, None.__class__, {}])
def test_what_is_no_number_and_no_text_is_no_quantity(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        parsed(resources={"cpu": value})


def test_whole_numbers_with_a_fraction_of_zero_are_read_as_the_api_server_accepts_them() -> None:
    assert parsed(replicas=2.0).replicas == 2


def test_an_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(pydantic.ValidationError, match="scalling"):
        parsed(engine={"scalling": 1})


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        parsed().replicas = 3  # type: ignore[misc]


def test_a_status_is_written_in_camel_case_and_read_back() -> None:
    written = {"observedGeneration": 3, "readyReplicas": 1, "model": {"source": "pvc://m", "attentionHeads": 32}}
    status = LLMServiceStatus.model_validate(written)
    assert status.model_dump(by_alias=True, exclude_unset=True) == written
