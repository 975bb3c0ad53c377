"""The metric of services by reason has a series for each reason that the operator knows, and no more."""

from llmservice_operator import metrics
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.report import reasons
from unit.controller.conftest import Shell, condition


def series() -> dict[tuple[str, str], float]:
    """Services by status and reason of Ready."""
    samples = [sample for family in metrics.SERVICES.collect() for sample in family.samples]
    return {(sample.labels["ready"], sample.labels["reason"]): sample.value for sample in samples}


def says(shell: Shell, status: str, reason: str) -> None:
    """What the next plans say of Ready."""
    shell.plan = lambda observed: Plan(objects=[], status={"conditions": [condition("Ready", status, reason)]})


async def test_made_up_reasons_are_one_series(shell: Shell) -> None:
    before = series()
    for number in range(20):
        says(shell, "False", f"Made{number}up")
        await shell.look()
        assert shell.condition("Ready")["reason"] == f"Made{number}up"
    assert series().keys() - before.keys() == {("False", "Other")}
    assert series()["False", "Other"] == 1


async def test_a_reason_without_a_service_has_no_series(shell: Shell) -> None:
    says(shell, "False", reasons.CRASHED)
    await shell.look()
    assert series()["False", reasons.CRASHED] == 1
    says(shell, "True", "Ready")
    await shell.look()
    assert ("False", reasons.CRASHED) not in series()
