"""The conditions as a list: each once, in the order in which people read them, whatever is evaluated first."""

import pytest

from builders.observed import Scene, a_scene
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.planner.model.result import earliest, required
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.reasons import ConditionType
from llmservice_operator.planner.status import conditions
from llmservice_operator.planner.status.conditions import CONDITIONS

SCENES = {
    "new": a_scene(a_service().scaled(1, 4)),
    "unschedulable": a_scene(a_service().scaled(1, 4)).settled().with_pods(a_pod().unschedulable("no nodes")),
    "crashed": a_scene().settled().with_pods(a_pod().ended(1, "boom")),
    "serving": a_scene().settled().with_pods(a_pod().ready()).settled(),
    "asleep": a_scene(a_service().with_replicas(0)).settled(),
}


def test_each_type_is_one_condition():
    types = [each.type for each in CONDITIONS]
    assert len(types) == len(set(types))
    named = {kind for row in reasons.TABLE.values() for kind in row.conditions}
    assert set(ConditionType) | named == set(types)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_the_order_of_evaluation_changes_nothing(scene: Scene):
    backwards = ServiceState.of(scene.build())
    for each in reversed(CONDITIONS):
        backwards.once(each.evaluate)
    assert conditions.all_conditions(backwards) == conditions.all_conditions(ServiceState.of(scene.build()))


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_status_has_them_in_the_order_of_the_list_and_one_at_most_of_reconciling_and_stalled(scene: Scene):
    status = scene.plan().status
    assert status is not None
    types = [each["type"] for each in status["conditions"]]
    assert types == [each.type for each in CONDITIONS if each.type in types]
    assert {"Ready", "Accepted", "Scheduled", "Serving"} <= set(types)
    assert not {"Reconciling", "Stalled"} <= set(types)


def test_a_plan_requires_what_its_conditions_do_and_is_made_again_when_the_first_of_them_asks_for_it():
    scene = SCENES["unschedulable"]
    state, made = ServiceState.of(scene.build()), scene.plan()
    results = conditions.all_results(state)
    assert required(results) <= made.requires
    assert Input.NODES in conditions.result(state, ConditionType.SCHEDULED).requires
    first = earliest(*(each.recheck_at for each in results))
    assert first is not None and made.requeue_after is not None
    assert 1 <= made.requeue_after <= max(1, (first - state.observed.now).total_seconds())
