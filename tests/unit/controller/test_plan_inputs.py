"""What plans require is read by one reader for each input, once, and only if it can change the plan."""

import dataclasses

from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.controller.informer.event_reader import NamespaceEvents
from llmservice_operator.controller.memory_estimates import Estimates
from llmservice_operator.controller.plan_inputs import Inputs
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Plan
from support.answering import Answering
from support.fake_api import refusal
from unit.controller.conftest import Shell


async def test_each_input_has_a_reader_and_a_field_of_what_is_observed(shell: Shell) -> None:
    inputs = Inputs(Capacity(shell.cluster), NamespaceEvents(shell.cluster), Estimates(Answering()))
    assert set(inputs.readers) == set(Input)
    assert {each.field for each in Input} <= {field.name for field in dataclasses.fields(Observed)}


async def test_what_can_not_be_read_is_asked_for_once(shell: Shell) -> None:
    """Whatever goes on to be required: reading ends."""
    shell.api.fail_once(lambda call: refusal(403, "forbidden") if call == "list Event" else None)
    shell.plan = lambda observed: Plan(requires=frozenset({Input.EVENTS, Input.HEALTH}))
    await shell.look()
    assert [call for call in shell.api.calls if call.startswith("list")] == ["list Node", "list Event"]
    assert len(shell.observed) == 2 and shell.observed[-1].health is not None


async def test_an_input_that_is_required_only_once_another_is_known_is_read_too(shell: Shell) -> None:
    def plan(observed: Observed) -> Plan:
        first = observed.missing(Input.NODES)
        return Plan(requires=first or observed.missing(Input.EVENTS))

    shell.plan = plan
    await shell.look()
    assert shell.observed[-1].nodes is not None
    assert shell.observed[-1].events is not None


async def test_quotas_are_not_read_without_the_nodes(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(403, "forbidden") if call == "list Node" else None)
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.NODES, Input.QUOTAS))
    await shell.look()
    assert [call for call in shell.api.calls if call.startswith("list")] == ["list Node"]
