"""The line that both sides agree on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.causes import BY_NAME, CAUSES, UNKNOWN, Cause
from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.diagnosis import Diagnosis, NotADiagnosis, diagnosis_from_json
from llmservice_contract.finding import Finding

OPERATIONS = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
TEXTS = st.text(max_size=3000)


FINDINGS = st.builds(Finding, TEXTS, TEXTS, alternative=TEXTS, field=TEXTS, fix=TEXTS)


@given(st.builds(Diagnosis, FINDINGS, st.integers(0, 255), TEXTS))
def test_it_is_one_line_that_the_kubelet_keeps_whole(diagnosis: Diagnosis) -> None:
    line = diagnosis.to_json()
    assert len(line.encode()) <= TERMINATION_MESSAGE_BYTES
    assert "\n" not in line
    read = diagnosis_from_json(line)
    assert read.exit_code == diagnosis.exit_code
    assert read == diagnosis or any(
        value.endswith("…") for value in json.loads(line).values() if isinstance(value, str)
    )


def test_of_a_long_one_the_longest_part_is_shortened() -> None:
    finding = Finding("Unknown", "what", field="spec.a", fix="do this", numbers={"tokens": "4096"})
    read = diagnosis_from_json(Diagnosis(finding, 7, "x" * 9000).to_json())
    assert (read.finding, read.exit_code) == (finding, 7)
    assert len(read.detail) > 2000


@pytest.mark.parametrize(
    "text",
    ["", "ValueError: x", "7", "[]", "{}", '{"error": "PathNotFound", "message": "x"}', '{"cause": 7, "message": "x"}'],
)
def test_other_texts_are_no_diagnosis(text: str) -> None:
    with pytest.raises(NotADiagnosis):
        diagnosis_from_json(text)


def test_a_later_version_may_add_keys_and_leave_some_out() -> None:
    numbers = {"a": 1, "B": "2", "c": "3"}
    parts = {"version": 3, "reason": "X", "message": "y", "more": 1, "field": None, "numbers": numbers}
    assert diagnosis_from_json(json.dumps(parts)) == Diagnosis(Finding("X", "y", numbers={"c": "3"}))


def test_what_a_runtime_of_0_2_leaves_is_read() -> None:
    text = (
        '{"cause":"ContextTooLong","message":"4096 tokens.","field":"spec.model.maxContextLength","fix":"Less.",'
        '"detail":"ValueError: x","exitCode":81}'
    )
    finding = Finding("ContextTooLong", "4096 tokens.", field="spec.model.maxContextLength", fix="Less.")
    assert diagnosis_from_json(text) == Diagnosis(finding, 81, "ValueError: x")
    assert diagnosis_from_json('{"cause": "X", "message": "y", "otherwise": "z"}').finding.certainty == "Likely"
    assert diagnosis_from_json('{"cause": "Killed", "message": "y"}').finding.certainty == "Likely"


def test_the_operator_of_0_2_knows_a_diagnosis_by_its_keys() -> None:
    text = Diagnosis(Finding("DiskFull", "A volume is full.", field="spec.cache.size", fix="More."), 106).to_json()
    old = {"cause": "DiskFull", "message": "A volume is full.", "field": "spec.cache.size", "fix": "More."}
    assert {**old, "exitCode": 106, "detail": ""}.items() <= json.loads(text).items()


def test_its_keys_are_the_agreed_ones() -> None:
    finding = Finding("X", "y", "chat-0", 1, {"a": "1"}, "Likely", "z", "spec.a", "Do.")
    assert sorted(json.loads(Diagnosis(finding, 7, "detail").to_json())) == [
        *("affectedPods", "alternative", "cause", "certainty", "detail", "exitCode", "field", "fix", "message"),
        *("numbers", "reason", "subject", "version"),
    ]


def test_each_cause_has_an_exit_code_of_its_own_that_nobody_else_gives() -> None:
    own = [cause.exit_code for cause in CAUSES if 79 <= cause.exit_code <= 125]
    assert len(own) == len(set(own)) == len(CAUSES) - 5, "all but the runtime's four refusals and Unknown"
    assert len(BY_NAME) == len(CAUSES)
    assert UNKNOWN.exit_code == 1


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_every_cause_is_explained_with_its_exit_code(cause: Cause) -> None:
    code = "vLLM's own" if cause is UNKNOWN else str(cause.exit_code)
    assert re.search(
        rf"^\| \[?`{cause.name}`(?:\]\(operations/{cause.name}\.md\))? \| {code} \| ", OPERATIONS, re.MULTILINE
    )
