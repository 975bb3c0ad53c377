"""What is released, deleted by force, and swept; and what is read of the nodes for it."""

import asyncio
import dataclasses
from typing import Any

import pytest

from llmservice_operator.controller import executor
from llmservice_operator.controller.executor import RECHECK_SECONDS, RELEASE_SECONDS
from llmservice_operator.controller.workqueue import WorkQueue
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Deletion, Plan
from llmservice_operator.resources import names
from unit.controller.conftest import KEY, Shell, config_map, fresh_service, one_config_map


def engine_pod(name: str = "chat-0", *, owned: bool = False) -> dict[str, Any]:
    """A pod of the service's engine."""
    owner = {"kind": "StatefulSet", "name": "chat", "uid": "uid-set", "controller": True}
    meta = {
        "namespace": "team-a",
        "name": name,
        "labels": names.labels("chat", names.ENGINE_COMPONENT),
        "ownerReferences": [owner] if owned else [],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {}}


async def test_a_set_that_is_made_anew_is_gone_before_and_keeps_its_pods(shell: Shell) -> None:
    await shell.settle()
    old = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    wanted = {**one_config_map(shell.observed[-1]).objects[0]}
    release = Deletion("v1", "ConfigMap", "team-a", "chat-env", old["metadata"]["uid"], "made anew")
    shell.plan = lambda observed: Plan(releases=[release], objects=[wanted])
    before = len(shell.api.calls)
    await shell.look()
    calls = [call for call in shell.api.calls[before:] if "ConfigMap" in call]
    assert calls[0] == "delete ConfigMap chat-env" and calls[-1] == "apply ConfigMap chat-env"
    assert shell.api.bodies["delete ConfigMap chat-env"]["propagationPolicy"] == "Orphan"
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_pod_on_its_way_out_is_deleted_again_only_by_force(shell: Shell) -> None:
    pod = engine_pod(owned=True)
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    seen = shell.api.put(pod)
    shell.see(seen)
    gentle = Deletion("v1", "Pod", "team-a", "chat-0", seen["metadata"]["uid"], "old")
    shell.plan = lambda observed: Plan(deletions=[gentle])
    await shell.look()
    assert "delete Pod chat-0" not in shell.api.calls
    shell.plan = lambda observed: Plan(deletions=[dataclasses.replace(gentle, force=True)])
    await shell.look()
    assert shell.api.bodies["delete Pod chat-0"]["gracePeriodSeconds"] == 0


async def test_which_nodes_answer_is_read_only_where_the_plan_asks(shell: Shell) -> None:
    await shell.look()
    conditions = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T12:00:00Z"}]
    shell.api.put({"kind": "Node", "metadata": {"name": "gpu-0"}, "status": {"conditions": conditions}})
    ready = [{"type": "Ready", "status": "True"}]
    shell.api.put({"kind": "Node", "metadata": {"name": "gpu-1"}, "status": {"conditions": ready}})
    assert "list Node" not in shell.api.calls
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.HEALTH))
    await shell.look()
    health = shell.observed[-1].health
    assert health is not None
    assert (health.total, list(health.unready)) == (2, ["gpu-0"])
    await shell.look()
    assert shell.api.calls.count("list Node") == 1


async def test_pods_that_a_deleted_service_left_are_swept_and_those_of_a_set_are_not(shell: Shell) -> None:
    service = shell.cache.service(KEY)
    assert service
    for pod in (engine_pod("chat-0"), engine_pod("chat-1", owned=True)):
        shell.see(shell.api.put(pod))
    shell.cache.remove(service)
    await shell.look()
    assert shell.api.calls == ["delete Pod chat-0"]


class Going:
    """A child that the shell releases, and that the API server still has until the test deletes it."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.old = dict(shell.api.objects["ConfigMap", "team-a", "chat-env"])
        self.release = Deletion("v1", "ConfigMap", "team-a", "chat-env", self.old["metadata"]["uid"], "made anew")
        self.first = config_map(shell.observed[-1].service, "with its record")
        shell.api.fail_once(self._leave)
        shell.plan = self.plan

    def plan(self, observed: Observed) -> Plan:
        """What releases it, as long as it is there; what comes after knows less of it."""
        if any(child["metadata"]["uid"] == self.release.uid for child in observed.children):
            return Plan(releases=[self.release], objects=[self.first], deletions=[], status={"conditions": []})
        return Plan(status={"conditions": []})

    def _leave(self, call: str) -> Any:
        if call != "delete ConfigMap chat-env":
            return None
        meta = {**self.old["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}
        return 200, self.shell.api.put({**self.old, "metadata": meta})

    def end(self) -> None:
        """It is gone."""
        del self.shell.api.objects["ConfigMap", "team-a", "chat-env"]

    @property
    def now(self) -> dict[str, Any] | None:
        """What has its name."""
        return self.shell.api.get("ConfigMap", "team-a", "chat-env")


async def test_while_a_released_set_goes_its_service_takes_no_worker(shell: Shell) -> None:
    await shell.settle()
    going = Going(shell)
    other = fresh_service()
    other["metadata"]["name"] = "other"
    shell.see(shell.api.put(other))
    queue: WorkQueue[tuple[str, str]] = WorkQueue(shell.reconciler.reconcile, workers=1)
    queue.add(KEY)
    queue.add(("team-a", "other"))
    working = asyncio.create_task(queue.run())
    async with asyncio.timeout(RELEASE_SECONDS / 2):
        while "status LLMService other" not in shell.api.calls:  # noqa: ASYNC110 - there is no event of it
            await asyncio.sleep(0.001)
    assert shell.api.calls.index("delete ConfigMap chat-env") < shell.api.calls.index("status LLMService other")
    assert going.now is not None and going.now["metadata"]["uid"] == going.release.uid
    queue.stop()
    await working


async def test_a_released_set_is_made_anew_as_the_plan_had_it_that_released_it(shell: Shell) -> None:
    """A later plan can't know any more how far its rollout is."""
    await shell.settle()
    going = Going(shell)
    for _ in range(3):
        assert await shell.look() == RECHECK_SECONDS
    assert "apply ConfigMap chat-env" not in shell.api.calls[shell.api.calls.index("delete ConfigMap chat-env") :]
    assert shell.api.calls.count("delete ConfigMap chat-env") == 1
    going.end()
    await shell.settle()
    assert going.now is not None and going.now["data"] == going.first["data"]


async def test_one_that_does_not_go_holds_up_the_rest_for_a_while_only(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shell.settle()
    going = Going(shell)
    assert await shell.look() == RECHECK_SECONDS
    monkeypatch.setattr(executor, "RELEASE_SECONDS", 0.0)
    shell.api.calls.clear()
    await shell.look()
    assert "status LLMService chat" in shell.api.calls
    going.end()
    await shell.look()
    assert going.now is not None and going.now["data"] == going.first["data"]


async def test_nothing_is_made_anew_for_another_service_of_that_name(shell: Shell) -> None:
    await shell.settle()
    going = Going(shell)
    await shell.look()
    going.end()
    shell.see(shell.api.put(fresh_service()))
    shell.plan = lambda observed: Plan(status={})
    await shell.settle()
    assert going.now is None
