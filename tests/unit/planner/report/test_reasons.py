"""Every reason that the code uses has a row, and the rows hold together."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmservice_operator
from llmservice_contract import causes
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.gpu_memory.ledger import Reason as Estimate
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.reasons import ConditionType, EventType
from llmservice_operator.planner.status import conditions

PACKAGE = Path(llmservice_operator.__file__).parent
POSITIONS = {"no": 0, "yes": 0, "unknown": 0, "Finding": 0, "problem": 0, "a_problem": 0, "Verdict": 1, "Event": 1}
"""Where the calls that make verdicts, findings, problems and Events take their reason."""


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """The calls of the operator and kubectl llm, with the name of what is called."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield file, node, called


def test_no_code_writes_a_reason_out() -> None:
    found = [
        f"{file.name}:{call.lineno}"
        for file, call, called in calls()
        for argument in (
            *call.args[POSITIONS.get(called, 99) :][:1],
            *(each.value for each in call.keywords if called in POSITIONS and each.arg in ("reason", "cause", "kind")),
        )
        if isinstance(argument, ast.Constant) and argument.value
    ]
    assert not found, f"take these reasons from core/reasons.py: {found}"


def test_every_problem_of_a_pod_has_a_category_with_a_severity() -> None:
    named = {
        argument.attr
        for file, call, called in calls()
        if called == "problem"
        and file.parent.name == "diagnosis"
        and isinstance(argument := call.args[0], ast.Attribute)
        and ast.unparse(argument.value) == "reasons"
    }
    assert len(named) > 5
    for name in named:
        row = reasons.of(getattr(reasons, name))
        assert row.severity > 0, f"{row.name} has no severity, so it can't be compared with other pods' problems"
        assert row.category == row.name


@pytest.mark.parametrize(
    "name",
    [
        *(cause.name for cause in causes.CAUSES),
        *(each.value for each in Estimate),
        *(value for key, value in vars(metrics_unavailable).items() if key.isupper() and isinstance(value, str)),
    ],
)
def test_what_others_name_has_a_row(name: str) -> None:
    assert name in reasons.TABLE


def test_every_constant_is_the_name_of_a_row() -> None:
    names = {**vars(reasons), **vars(conditions)}
    constants = {value for key, value in names.items() if key.isupper() and type(value) is str}
    assert constants == reasons.TABLE.keys()


@pytest.mark.parametrize("row", reasons.TABLE.values(), ids=lambda row: row.name)
def test_a_row_holds_together(row: reasons.Reason) -> None:
    category = reasons.TABLE[row.category]
    assert category.category == category.name, "a category has no category"
    assert row.name.isalnum() and row.name[0].isupper()
    assert row.conditions and row.reported_as in reasons.TABLE
    assert not (row.good and (row.expected or row.needs_person or row.severity))
    assert row.name not in causes.BY_NAME or (category.engine_ended and ConditionType.SERVING in row.conditions)
    assert (row.name in {each.value for each in Estimate} | {reasons.FITS_SOME_GPUS}) == row.estimated
    if row.severity:
        assert category is row, "only categories are compared"


def test_severities_decide() -> None:
    severities = [row.severity for row in reasons.TABLE.values() if row.severity]
    assert len(severities) == len(set(severities))


def test_a_reason_of_another_version_has_no_special_facts() -> None:
    row = reasons.of("FromTheFuture")
    assert row.category == "FromTheFuture"
    assert row.event is EventType.WARNING
    assert not (row.expected or row.needs_person or row.root_cause or row.transient or row.engine_ended)
