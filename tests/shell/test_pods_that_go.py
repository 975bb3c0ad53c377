"""What is released, deleted by force, and swept; and what is read of the nodes for it."""

import dataclasses
from typing import Any

from llmservice_operator.core.observed import Input
from llmservice_operator.core.plan import Deletion, Plan
from llmservice_operator.render import names
from shell.conftest import KEY, Shell, one_config_map


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
