"""Owners of changed fields are read from the API server once per version, and what is accepted is not written."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest

from llmservice_operator.controller.field_owners import entries
from llmservice_operator.planner.model.drift import Difference, Path
from llmservice_operator.planner.model.foreign_changes import MOST_CORRECTIONS, NO_MANAGER, ForeignChange, owners
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Plan
from unit.controller.conftest import KEY, Shell, config_map

NAME = ("ConfigMap", "chat-env")
PATH: Path = ("data", "value")


def planned(observed: Observed, **more: Any) -> Plan:
    """Asks who has changed the ConfigMap."""
    wanted = config_map(observed.service)
    live = next((each for each in observed.children if each["kind"] == "ConfigMap"), None)
    if live is None or live["data"] == wanted["data"]:
        return Plan(objects=[wanted], status={"conditions": []})
    version = live["metadata"]["resourceVersion"]
    fields = (Difference(PATH, wanted["data"]["value"], live["data"]["value"]),)
    change = ForeignChange("v1", *NAME[:1], "team-a", NAME[1], version, True, fields)
    requires = observed.missing(Input.FIELD_OWNERS)
    return Plan(objects=[wanted], status={"conditions": []}, foreign_changes=[change], requires=requires, **more)


def alter(shell: Shell, manager: str, operation: str) -> None:
    """The ConfigMap gets another value, which belongs to that manager."""
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    owned = [{"manager": manager, "operation": operation, "fieldsV1": {"f:data": {"f:value": {}}}}]
    meta = {**child["metadata"], "managedFields": owned}
    shell.see(shell.api.put({**child, "metadata": meta, "data": {"value": "altered"}}))


@pytest.mark.parametrize("operation", ["Apply", "Update"])
async def test_the_owner_of_a_changed_field_is_read_once_per_version(shell: Shell, operation: str) -> None:
    shell.plan = planned
    await shell.settle()
    alter(shell, "someone", operation)
    shell.plan = lambda observed: planned(observed, accepted=frozenset({NAME}))
    before = len(shell.api.calls)
    for _ in range(3):
        await shell.look()
    assert shell.observed[-1].field_owners == {NAME: {PATH: "someone"}}
    assert [call for call in shell.api.calls[before:] if "ConfigMap" in call] == ["get ConfigMap chat-env"]
    alter(shell, "other", operation)
    await shell.look()
    assert shell.observed[-1].field_owners == {NAME: {PATH: "other"}}


async def test_an_accepted_child_is_not_written_and_a_corrected_one_is_counted(shell: Shell) -> None:
    shell.plan = planned
    await shell.settle()
    for number in range(MOST_CORRECTIONS + 2):
        alter(shell, "someone", "Update")
        shell.plan = lambda observed: planned(observed, accepted=frozenset({NAME}))
        before = len(shell.api.writes)
        await shell.look()
        assert len(shell.api.writes) == before
        shell.plan = lambda observed: planned(observed, corrected={NAME: ("data.value",)})
        await shell.settle()
        assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"value": "1"}
        times = shell.observed[-1].corrections[NAME]["data.value"]
        assert len(times) == min(number + 1, MOST_CORRECTIONS)


async def test_corrections_of_a_deleted_service_are_forgotten(shell: Shell) -> None:
    shell.plan = planned
    await shell.settle()
    alter(shell, "someone", "Update")
    shell.plan = lambda observed: planned(observed, corrected={NAME: ("data.value",)})
    await shell.settle()
    executor = shell.reconciler._executor
    assert executor.history.corrections(KEY)
    service = shell.cache.service(KEY)
    assert service is not None
    gone = {**service, "metadata": {**service["metadata"], "resourceVersion": "100000"}}
    shell.cache.remove(gone)
    await shell.look()
    assert not executor.history.corrections(KEY)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"metadata": 1}',
        b'{"metadata": {"managedFields": 1}}',
        b'{"metadata": {"managedFields": [' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]}}",
        json.dumps(
            {"metadata": {"managedFields": [{"fieldsV1": json.loads('{"a":' * 100 + "1" + "}" * 100)}]}}
        ).encode(),
    ],
)
def test_what_can_not_be_read_has_no_entries(text: bytes) -> None:
    assert entries(text) == []


def managed(*trees: Any) -> bytes:
    """An object whose fields have these owners."""
    found = [{"manager": f"m{at}", "operation": "Update", "fieldsV1": tree} for at, tree in enumerate(trees)]
    return json.dumps({"metadata": {"managedFields": found}}).encode()


OWNED: dict[str, Any] = {"f:data": {"f:value": {}}}
DEEP = json.loads('{"a":' * 100 + "{}" + "}" * 100)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([{}] * 100, id="many-entries"),
        pytest.param([{"f:data": {f"f:{number}": {} for number in range(100_000)}}], id="many-fields"),
        pytest.param([DEEP], id="deep"),
    ],
)
def test_owners_beyond_the_bounds_are_all_unknown(others: list[Any]) -> None:
    """If some were left out, the others would seem to be the only ones: a change by the author of an entry that is too
    long would count as one by an admission webhook, which is accepted at once."""
    assert entries(managed(OWNED, *others)) == []
    assert len(entries(managed(OWNED))) == 1


def test_keys_of_list_items_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields have changed: a client that may write a child can make up 45,000 items in a MiB of
    managedFields, and each parse is work for the event loop."""
    items = {f'k:{{"name":"V{number}"}}': {} for number in range(1000)}
    read = entries(managed({"f:env": items}))
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    paths: list[Path] = [("env", (("name", f"V{number}"),), "value") for number in range(990, 1010)]
    found = owners(read, paths)
    assert [found[path] for path in paths] == ["m0"] * 10 + [NO_MANAGER] * 10
    assert len(parsed) == len(items)


def statefulset(observed: Observed, partition: int) -> dict[str, Any]:
    """A StatefulSet in a rollout."""
    made = config_map(observed.service, str(partition), "chat")
    made["metadata"]["annotations"]["llmservice.dev/rollout"] = '{"template":"t1"}'
    spec = {"template": {"metadata": {}, "spec": {"containers": [{"name": "engine"}]}}, "partition": partition}
    return {**made, "apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec}


@pytest.mark.parametrize(("stable", "expected"), [(True, 0), (False, 2)])
async def test_templates_that_change_with_each_write_are_counted(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, stable: bool, expected: int
) -> None:
    apply = shell.cluster.apply
    writes = itertools.count()

    async def admitted(desired: Any, **more: Any) -> Any:
        changed = copy.deepcopy(dict(desired))
        stamp = "same" if stable else str(next(writes))
        changed["spec"]["template"]["metadata"] = {"annotations": {"policy.example.com/at": stamp}}
        return await apply(changed, **more)

    monkeypatch.setattr(shell.cluster, "apply", admitted)
    for partition in range(3):
        shell.plan = lambda observed, at=partition: Plan(  # type: ignore[misc]
            objects=[statefulset(observed, at)], status={"conditions": []}
        )
        await shell.settle()
    found = shell.observed[-1].template_changes.get("chat", ())
    assert len(found) == expected
    assert all("policy.example.com/at" in each.field for each in found)
