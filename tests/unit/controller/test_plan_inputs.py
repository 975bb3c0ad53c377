"""What plans require is read by one reader for each input, once, and only if it can change the plan."""

import dataclasses

from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.controller.field_owners import FieldOwners
from llmservice_operator.controller.gateway_counts import GatewayCounts
from llmservice_operator.controller.informer.event_reader import NamespaceEvents
from llmservice_operator.controller.memory_estimates import Estimates
from llmservice_operator.controller.plan_inputs import Inputs
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Plan
from support.answering import Answering
from support.fake_api import refusal
from unit.controller.conftest import Shell


async def test_each_input_has_a_reader_and_a_field_of_what_is_observed(shell: Shell) -> None:
    inputs = Inputs(
        Capacity(shell.cluster),
        NamespaceEvents(shell.cluster),
        Estimates(Answering()),
        FieldOwners(shell.cluster),
        GatewayCounts(""),
    )
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


async def test_nodes_of_some_seconds_ago_are_not_sufficient_for_a_decision_that_is_made_once(shell: Shell) -> None:
    """The last look had them, and this one asks for those of now only after it has read others."""
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.NODES))
    await shell.look()
    shell.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new"}, "spec": {}, "status": {}})

    def plan(observed: Observed) -> Plan:
        first = observed.missing(Input.NODES, Input.HEALTH)
        return Plan(requires=first or observed.missing(Input.CURRENT_NODES))

    shell.plan = plan
    await shell.look()
    assert [node.name for node in shell.observed[-1].nodes or ()] == ["new"]
    assert not shell.observed[-1].missing(Input.CURRENT_NODES)


async def test_quotas_are_not_read_without_the_nodes(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(403, "forbidden") if call == "list Node" else None)
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.NODES, Input.QUOTAS))
    await shell.look()
    assert [call for call in shell.api.calls if call.startswith("list")] == ["list Node"]


async def test_the_access_modes_of_shared_claims_are_read_by_name(shell: Shell) -> None:
    meta = {"name": "models", "namespace": "team-a", "uid": "uid-models"}
    spec = {"accessModes": ["ReadWriteOnce"]}
    shell.api.put({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
    shell.plan = lambda observed: Plan(
        requires=observed.missing(Input.ACCESS_MODES), shared_claims=("models", "not-there")
    )
    await shell.look()
    assert shell.observed[-1].access_modes == {"models": frozenset({"ReadWriteOnce"})}


async def test_without_the_right_to_read_claims_their_modes_are_unknown(shell: Shell) -> None:
    shell.api.fail_once(
        lambda call: refusal(403, "forbidden") if call.startswith("get PersistentVolumeClaim") else None
    )
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.ACCESS_MODES), shared_claims=("models",))
    await shell.look()
    assert shell.observed[-1].access_modes is None
