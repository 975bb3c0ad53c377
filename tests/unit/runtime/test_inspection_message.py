"""The inspection's message is one bounded JSON object, read back as it was written."""

from __future__ import annotations

import json

import pytest

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts, NotAnInspection, failure_to_json, inspection_from_json


@pytest.mark.parametrize(
    "message",
    [
        ModelFacts(),
        ModelFacts("LlamaForCausalLM", 32, 8, 16, 8192, "awq", 16_060_522_496, "eJw="),
    ],
)
def test_it_comes_back_as_it_was_written(message: ModelFacts) -> None:
    assert inspection_from_json(message.to_json()) == message


def test_a_failure_comes_back_as_it_was_written() -> None:
    failure = Finding(
        "HubRefused", "/models/é", alternative="it is private", field="spec.x", fix="Do.", numbers={"a": "1"}
    )
    assert inspection_from_json(failure_to_json(failure)) == failure


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("HubRefused", "HubRefused"),
        ("BucketUnreadable", "StoreRefused"),
        ("NoSafetensors", "NoWeights"),
        ("PathNotFound", "ModelUnreadable"),
        ("Ready", "ModelUnreadable"),
    ],
)
def test_what_a_runtime_of_0_2_leaves_is_read(error: str, reason: str) -> None:
    text = json.dumps(
        {"error": error, "message": "It is gated.", "field": "spec.model.credentialsRef", "fix": "Accept."}
    )
    assert inspection_from_json(text) == Finding(
        reason, "It is gated.", field="spec.model.credentialsRef", fix="Accept."
    )


def test_its_keys_are_the_agreed_ones() -> None:
    assert list(json.loads(ModelFacts().to_json())) == [
        *("architecture", "attentionHeads", "keyValueHeads", "layers", "maxContextLength", "quantization"),
        *("weightBytes", "configuration", "revision", "remoteCode", "draftRevision", "digest"),
    ]


@pytest.mark.parametrize("character", ["x", '"', "é", "🦙"])
def test_a_failure_stays_within_what_the_kubelet_keeps(character: str) -> None:
    text = failure_to_json(Finding("HubUnreachable", character * 10_000))
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    read = inspection_from_json(text)
    assert isinstance(read, Finding)
    assert read.message.startswith(character * 300)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Killed",
        "[]",
        "null",
        '{"version": 2, "error": "X"}',
        '{"version": 2, "error": "X", "reason": 7, "message": "y"}',
        '{"layers": "two"}',
        '{"layers": true}',
        '{"layers": 2',
    ],
)
def test_anything_else_is_no_inspection(text: str) -> None:
    with pytest.raises(NotAnInspection):
        inspection_from_json(text)


def test_the_operator_of_0_2_knows_a_failure_by_its_keys() -> None:
    text = failure_to_json(Finding("HubRefused", "It is gated.", field="spec.model.credentialsRef", fix="Accept."))
    old = {"error": "HubRefused", "message": "It is gated.", "field": "spec.model.credentialsRef", "fix": "Accept."}
    assert old.items() <= json.loads(text).items()
