"""After a downgrade of the operator the number of replicas is written, and nothing else of a spec that is newer."""

from typing import Any

import pytest

from llmservice_operator.controller.scaling.scaling_request import request_of
from llmservice_operator.planner.model.plan import Plan, Resize
from unit.controller.conftest import KEY, Shell, fresh_service

TARGETS = {"timeToFirstToken": {"p99": "200ms"}}


def statefulset(shell: Shell, owner: str) -> dict[str, Any]:
    """A StatefulSet as the API server has it."""
    owners = [{"kind": "LLMService", "name": "chat", "uid": owner, "controller": True}]
    meta = {"namespace": "team-a", "name": "chat", "ownerReferences": owners}
    spec = {"replicas": 2, "template": {"spec": {"containers": []}}}
    return shell.api.put({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec})


async def test_the_number_alone_is_written_and_once(shell: Shell) -> None:
    service = shell.cache.service(KEY)
    assert service is not None
    seen = statefulset(shell, service["metadata"]["uid"])
    shell.see(seen)
    resize = Resize("team-a", "chat", seen["metadata"]["uid"], 5)
    shell.plan = lambda observed: Plan(resizes=[resize] if observed.children[0]["spec"]["replicas"] != 5 else [])
    await shell.look()
    await shell.look()
    assert [call for call in shell.api.writes if "StatefulSet" in call] == ["patch StatefulSet chat"]
    body = shell.api.bodies["patch StatefulSet chat"]
    assert body == {"metadata": {"uid": seen["metadata"]["uid"]}, "spec": {"replicas": 5}}
    live = shell.api.get("StatefulSet", *KEY)
    assert live is not None
    assert live["spec"] == {**seen["spec"], "replicas": 5}


async def test_a_statefulset_of_somebody_else_is_not_written(shell: Shell) -> None:
    seen = statefulset(shell, "uid-of-another")
    shell.see({**seen, "metadata": {**seen["metadata"], "labels": {"app.kubernetes.io/instance": "chat"}}})
    shell.plan = lambda observed: Plan(resizes=[Resize("team-a", "chat", seen["metadata"]["uid"], 5)])
    await shell.look()
    assert not any("StatefulSet" in call for call in shell.api.writes)


@pytest.mark.parametrize(
    "more",
    [{"future": 1}, {"targets": {**TARGETS, "future": {"p99": "1s"}}}, {"behavior": {"scaleUp": {"future": []}}}],
)
def test_scaling_goes_by_the_fields_that_are_known(more: dict[str, Any]) -> None:
    service = fresh_service(scaling={"maxReplicas": 8, "targets": TARGETS, **more}, gateway={"type": "NGINX"})
    service["metadata"]["uid"] = "u"
    wish = request_of(service)
    assert wish.scaling is not None
    assert (wish.scaling.max_replicas, [target.name for target in wish.targets]) == (8, ["p99 timeToFirstToken"])
    assert "future" in str(service), "what was read is not changed"


@pytest.mark.parametrize("more", [{"maxReplicas": 0, "future": 1}, {"targets": {"future": {}}}])
def test_scaling_that_is_wrong_besides_is_none(more: dict[str, Any]) -> None:
    service = fresh_service(scaling={"maxReplicas": 8, "targets": TARGETS, **more})
    service["metadata"]["uid"] = "u"
    assert request_of(service).scaling is None
