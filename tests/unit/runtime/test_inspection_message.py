"""The inspection's message is one bounded JSON object, read back as it was written."""

from __future__ import annotations

import json

import pytest

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.inspection import InspectionFailure, ModelFacts, NotAnInspection, inspection_from_json


@pytest.mark.parametrize(
    "message",
    [
        ModelFacts(),
        ModelFacts("LlamaForCausalLM", 32, 8, 16, 8192, "awq", 16_060_522_496, "eJw="),
        InspectionFailure("PathNotFound", "The model's directory /models/é does not exist."),
    ],
)
def test_it_comes_back_as_it_was_written(message: ModelFacts | InspectionFailure) -> None:
    assert inspection_from_json(message.to_json()) == message


def test_its_keys_are_the_agreed_ones() -> None:
    assert list(json.loads(ModelFacts().to_json())) == [
        *("architecture", "attentionHeads", "keyValueHeads", "layers", "maxContextLength", "quantization"),
        *("weightBytes", "configuration", "revision", "remoteCode"),
    ]


@pytest.mark.parametrize("character", ["x", '"', "é", "🦙"])
def test_a_failure_stays_within_what_the_kubelet_keeps(character: str) -> None:
    text = InspectionFailure("HubUnreachable", character * 10_000).to_json()
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    read = inspection_from_json(text)
    assert isinstance(read, InspectionFailure)
    assert read.message.startswith(character * 300)


@pytest.mark.parametrize("text", ["", "Killed", "[]", "null", '{"layers": "two"}', '{"layers": true}', '{"layers": 2'])
def test_anything_else_is_no_inspection(text: str) -> None:
    with pytest.raises(NotAnInspection):
        inspection_from_json(text)
