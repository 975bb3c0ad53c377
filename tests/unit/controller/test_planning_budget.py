"""Planning one service may take so much CPU: one that takes more is left alone for a while, and says so."""

from typing import Any

import pytest

from llmservice_operator import metrics
from llmservice_operator.controller.planning_budget import (
    IN_A_ROW,
    MOST_NAMED,
    PAUSE_SECONDS,
    SECONDS,
    SHARE,
    Budget,
    PlanFailed,
)
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.model.plan import Plan
from unit.controller.conftest import KEY, Shell, condition, config_map, one_config_map

LONG = 3 * SECONDS


class Costly:
    """Plans that take as much CPU as is set, at a time that is set."""

    def __init__(self) -> None:
        self.cost = 0.0
        self.cpu = 0.0
        self.now = 0.0
        self.budget = Budget(self._planned, cpu=lambda: self.cpu, clock=lambda: self.now)

    def _planned(self, observed: Observed) -> Plan:
        self.cpu += self.cost
        return Plan()

    def plan(self, service: Any, cost: float, times: int = 1, key: tuple[str, str] = KEY) -> None:
        self.cost = cost
        for _ in range(times):
            self.budget.plan(key, _Seen(service))  # type: ignore[arg-type]

    def pause(self, service: Any) -> float | None:
        return self.budget.pause(KEY, service)


class _Seen:
    def __init__(self, service: Any) -> None:
        self.service = service


def a_service(generation: int = 1, configuration: str = "") -> dict[str, Any]:
    return {"metadata": {"uid": "u", "generation": generation}, "status": {"model": {"configuration": configuration}}}


def over(key: tuple[str, str]) -> float:
    return metrics.PLANS_OVER_BUDGET.labels(*key)._value.get()


def test_one_plan_above_it_is_no_reason_and_two_in_a_row_are():
    costly = Costly()
    costly.plan(a_service(), LONG)
    costly.plan(a_service(), SECONDS / 2)
    costly.plan(a_service(), LONG)
    assert costly.pause(a_service()) is None
    assert costly.budget.excess(KEY) is None
    costly.plan(a_service(), LONG)
    assert costly.pause(a_service()) == pytest.approx(PAUSE_SECONDS)
    assert costly.budget.excess(KEY) == pytest.approx(LONG)


def test_after_the_pause_one_plan_decides():
    costly = Costly()
    costly.plan(a_service(), LONG, IN_A_ROW)
    costly.now = PAUSE_SECONDS + 1
    assert costly.pause(a_service()) is None
    costly.plan(a_service(), LONG)
    assert costly.pause(a_service()) == pytest.approx(PAUSE_SECONDS)
    costly.now += PAUSE_SECONDS + 1
    costly.plan(a_service(), SECONDS / 2)
    assert costly.pause(a_service()) is None
    assert costly.budget.excess(KEY) is None


@pytest.mark.parametrize("changed", [a_service(generation=2), a_service(configuration="other")])
def test_a_change_is_planned_soon_but_never_for_more_than_a_share_of_the_time(changed: dict[str, Any]):
    costly = Costly()
    costly.plan(a_service(), LONG, IN_A_ROW)
    assert costly.pause(changed) == pytest.approx(SHARE * LONG)
    costly.now = SHARE * LONG + 0.01
    assert costly.pause(changed) is None
    assert costly.pause(a_service()) is not None
    costly.plan(changed, LONG)
    assert costly.pause(a_service(generation=3)) == pytest.approx(SHARE * LONG)


def test_others_are_not_left_alone_and_what_is_gone_is_forgotten():
    costly = Costly()
    costly.plan(a_service(), LONG, IN_A_ROW)
    assert costly.budget.pause(("team-a", "other"), a_service()) is None
    costly.budget.forget(KEY)
    assert costly.pause(a_service()) is None


def test_a_plan_that_raises_counts_too():
    def raising(_: Observed) -> Plan:
        clock[0] += LONG
        raise ValueError

    clock = [0.0]
    budget = Budget(raising, cpu=lambda: clock[0], clock=lambda: 0.0)
    for _ in range(IN_A_ROW):
        with pytest.raises(PlanFailed):
            budget.plan(KEY, _Seen(a_service()))  # type: ignore[arg-type]
    assert budget.pause(KEY, a_service()) is not None


def test_the_metric_names_few_services():
    costly, before = Costly(), over(("", "others"))
    for number in range(MOST_NAMED + 3):
        costly.plan(a_service(), LONG, key=("named", f"chat-{number}"))
    assert over(("named", "chat-0")) == 1
    assert over(("", "others")) == before + 3


async def test_a_service_above_it_says_so_and_is_left_alone(shell: Shell) -> None:
    await shell.settle()
    shell.cpu = [LONG] * IN_A_ROW
    for _ in range(IN_A_ROW):
        await shell.look()
    stalled = shell.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "PlanOverBudget")
    assert "0.3 s" in stalled["message"]
    assert shell.condition("Ready")["status"] == "True"
    service = shell.api.get("LLMService", *KEY)
    assert [each["reason"] for each in service["status"]["findings"]] == ["PlanOverBudget"]
    planned, written = len(shell.observed), len(shell.api.writes)
    for _ in range(3):
        assert 0 < await shell.look() <= PAUSE_SECONDS
    assert (len(shell.observed), len(shell.api.writes)) == (planned, written)


async def test_one_that_is_not_ready_says_why_it_waits(shell: Shell) -> None:
    shell.plan = lambda observed: Plan(
        objects=[config_map(observed.service)],
        status={"conditions": [condition("Ready", "False"), condition("Reconciling", "True")]},
    )
    shell.cpu = [LONG] * 10
    await shell.look()
    await shell.look()
    assert shell.condition("Ready")["reason"] == "PlanOverBudget"
    assert shell.condition("Reconciling") == {}


async def test_a_changed_spec_is_planned_and_the_status_is_as_ever(shell: Shell) -> None:
    shell.cpu = [2 * SECONDS] * IN_A_ROW
    await shell.settle()
    assert shell.condition("Stalled")["reason"] == "PlanOverBudget"
    excess = shell.reconciler._budget._over[KEY]
    excess.at -= PAUSE_SECONDS
    await shell.settle()
    assert shell.condition("Stalled") == {}


def _raising(observed: Observed) -> Plan:
    raise RecursionError("too deep")


async def test_a_service_whose_plan_raises_has_a_status_that_says_so(shell: Shell) -> None:
    shell.plan = _raising
    for _ in range(3):
        with pytest.raises(PlanFailed):
            await shell.look()
    assert shell.condition("Ready")["reason"] == "PlanFailed"
    assert "RecursionError" in shell.condition("Stalled")["message"]
    assert shell.api.writes == ["status LLMService chat"]
    shell.plan = one_config_map
    await shell.settle()
    assert shell.condition("Stalled") == {}
    assert shell.condition("Ready")["status"] == "True"
