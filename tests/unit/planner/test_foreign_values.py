"""Numbers, times and texts that others write, each by itself."""

import datetime
from typing import Any

import pytest

from llmservice_contract.diagnosis import NotADiagnosis, diagnosis_from_json
from llmservice_contract.inspection import NotAnInspection, inspection_from_json
from llmservice_operator.planner.conditions import gang_scheduling
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.report import phrases
from llmservice_operator.resources import names, quantity


def _pod(labels: dict[str, str] | None = None, admitted: str = "", name: str = "chat-0") -> dict[str, Any]:
    made = {"name": name, "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": {**made, "labels": labels or {}, "annotations": {names.ADMITTED_ANNOTATION: admitted}}}


@pytest.mark.parametrize(
    "text",
    [None, "", "garbage", "2026-01-01", "2026-01-01T12:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z",
     "2026-01-01T12:00:00Z" + " " * 1000, 7, ["2026"]],
)  # fmt: skip
def test_what_is_no_time_is_none(text: Any):
    assert timestamps.parse(text) is None


@pytest.mark.parametrize("text", ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.123456Z", "2026-01-01T14:00:00+02:00"])
def test_times_of_the_api_server_are_read(text: str):
    found = timestamps.parse(text)
    assert found is not None
    assert found.replace(microsecond=0) == datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def test_an_annotation_that_is_no_time_is_as_absent():
    assert gang_scheduling.admitted_at(_pod(admitted="[[[")) == gang_scheduling.made_at(_pod())


@pytest.mark.parametrize("text", ["9" * 63, "", "x", "-1", "1.0", "٣"])
def test_a_label_that_is_no_number_is_as_absent(text: str):
    pod = _pod({names.RANK_LABEL: text, names.NODES_LABEL: text})
    assert (pods.rank(pod), pods.nodes(pod)) == (0, 1)


def test_numbers_of_pods():
    assert pods.ordinal(_pod(name="chat-17")) == 17
    assert pods.ordinal(_pod(name="chat-" + "9" * 200)) == -1
    assert pods.rank(_pod({names.RANK_LABEL: "3"})) == 3


@pytest.mark.parametrize("text", ["9" * 100_000, "1" * 65, "1Zi", "", "1e999"])
def test_what_is_no_quantity_is_said(text: str):
    with pytest.raises(ValueError, match="quantity"):
        quantity.parse(text)


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 1000, '{"message": "' + "x" * 100_000, "9" * 5000])
def test_a_termination_message_of_others_is_no_report(text: str):
    with pytest.raises(NotADiagnosis):
        diagnosis_from_json(text)
    with pytest.raises(NotAnInspection):
        inspection_from_json(text)


def test_half_a_character_can_be_told():
    found = diagnosis_from_json('{"cause": "Unknown", "message": "x\\ud83d", "exitCode": -99999}')
    assert (found.finding.message, found.exit_code) == ("x?", 1)
    assert phrases.within_bytes("x\ud83d", 100) == "x?"
