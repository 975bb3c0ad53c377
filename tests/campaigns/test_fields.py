"""Every field that the operator owns is restored when a user changes or removes it; fields of other owners stay."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from campaigns.fields import Field, owned, spoiled
from campaigns.workload import STEPS
from campaigns.world import NAME, World, world
from llmservice_operator.resources import kinds
from support.cluster import Cluster, wait_until

MANAGER = "llmservice-operator"
KINDS = ("StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy")
FEW = 12
"""Fields of one object that are spoiled where the campaign is not full."""

Choose = Callable[[int, int], Sequence[int]]


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[World]:
    """A world with a Ready service."""
    with world(cluster) as made:
        STEPS[0].act(made)
        made.wait(lambda: STEPS[0].done(made), "a Ready service")
        made.wait_for_silence(2.0)
        yield made


def children(made: World) -> list[tuple[str, str]]:
    """Kind and name of all that the operator made."""
    pairs = [key.split(" ", 1) for key in made.snapshot()]
    return [(kind, name) for kind, name in pairs if kind in KINDS]


def spoil(made: World, kind: str, name: str, field: Field, operation: dict[str, Any]) -> bool:
    """One JSON patch by another user. False if the API server refuses it, or nothing changes by it."""
    path = kinds.named(kind).path(made.namespace, name)
    before = made.get(kind, name)
    answer = made.cluster.request(
        "PATCH",
        path,
        [{"path": field.json_pointer, **operation}],
        content_type="application/json-patch+json",
        fieldManager="other-user",
    )
    assert answer.status != 404, f"{kind} {name} is gone"
    return bool(answer.ok and field.of(answer.body) != field.of(before))


def comes_back(made: World, kind: str, name: str, field: Field, value: Any) -> bool:
    """Whether the field is what it was, within the time that a reconcile may take."""
    try:
        made.wait(lambda: _holds(made.get(kind, name), field, value), "", timeout=15)
    except AssertionError:
        return False
    return True


def take_out_what_is_left(made: World, kind: str, name: str, field: Field, value: Any) -> None:
    """If a user changed the key of a list item, the desired item is restored and the user's item stays; removes it."""
    places = [at for at, part in enumerate(field.pointer) if isinstance(part, int)]
    if not places:
        return
    before, after = field.pointer[: places[-1]], field.pointer[places[-1] + 1 :]
    items = Field(before).of(made.get(kind, name)) or []
    theirs = [index for index, item in enumerate(items) if after and Field(after).of(item) == value]
    if len(items) > 1 and theirs:
        assert spoil(made, kind, name, Field((*before, theirs[0])), {"op": "remove"})


def _settled(made: World) -> bool:
    """Whether no rollout is under way, in which the partition changes by itself."""
    statefulset, service = made.get("StatefulSet"), made.get("LLMService")
    status, size = statefulset["status"], statefulset["spec"]["replicas"]
    return bool(
        made.condition("Ready") == "True"
        and service["status"].get("observedGeneration") == service["metadata"]["generation"]
        and status.get("observedGeneration") == statefulset["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == size
        and not statefulset["spec"]["updateStrategy"]["rollingUpdate"].get("partition")
    )


def _holds(obj: dict[str, Any], field: Field, value: Any) -> bool:
    """The value at its place; as lists come back in another order, also at the same place of another item."""
    if field.of(obj) == value:
        return True
    places = [at for at, part in enumerate(field.pointer) if isinstance(part, int)]
    if not places:
        return False
    before, after = field.pointer[: places[-1]], field.pointer[places[-1] + 1 :]
    items = Field(before).of(obj)
    return isinstance(items, list) and any(Field(after).of(item) == value for item in items)


@pytest.mark.timeout(3600)
def test_every_owned_field_comes_back(running: World, choose: Choose) -> None:
    wrong, spoiled_fields = [], 0
    for kind, name in children(running):
        fields = owned(running.get(kind, name), MANAGER)
        assert fields, f"{kind} {name} has no field of {MANAGER}"
        for number in choose(len(fields), FEW):
            field = fields[number - 1]
            running.wait(lambda: _settled(running), "the pods of the last change to be replaced")
            value = field.of(running.get(kind, name))
            changes = [{"op": "add", "value": each} for each in spoiled(value)]
            accepted = False
            for operation in [*changes, {"op": "remove"}]:
                if operation["op"] == "add" and accepted:
                    continue
                if spoil(running, kind, name, field, operation):
                    accepted = True
                    if not comes_back(running, kind, name, field, value):
                        wrong.append(f"{kind} {name}: {field}: after {operation}")
                    if "value" in operation:
                        take_out_what_is_left(running, kind, name, field, operation["value"])
            spoiled_fields += accepted
    assert not wrong, "\n".join([*wrong, running.log()])
    assert spoiled_fields >= 10, f"the API server took changes of {spoiled_fields} fields only"
    running.wait_for_silence(3.0)


def test_what_others_own_stays(running: World) -> None:
    mine = {"metadata": {"annotations": {"other.example/note": "mine"}, "labels": {"other.example/team": "a"}}}
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    for kind, name in children(running):
        assert running.request("PATCH", kind, name, mine, fieldManager="other-user").ok
    template = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
    assert running.request("PATCH", "StatefulSet", NAME, template, fieldManager="kubectl-rollout").ok
    local = {"spec": {"internalTrafficPolicy": "Local"}}
    assert running.request("PATCH", "Service", NAME, local, fieldManager="other-user").ok

    change = {"spec": {"engine": {"maxNumSeqs": 23}}}
    assert running.request("PATCH", "LLMService", NAME, change).ok
    wait_until(lambda: running.condition("Ready") == "True", "the change rolled out", timeout=60)
    running.wait_for_silence(2.0)

    for kind, name in children(running):
        meta = running.get(kind, name)["metadata"]
        if kind != "ConfigMap":
            assert meta["annotations"].items() >= mine["metadata"]["annotations"].items(), f"{kind} {name}"
            assert meta["labels"].items() >= mine["metadata"]["labels"].items(), f"{kind} {name}"
    live = running.get("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert live.items() >= restarted.items()
    assert running.get("Service")["spec"]["internalTrafficPolicy"] == "Local"


def test_every_deleted_child_comes_back(running: World) -> None:
    wanted = running.snapshot()
    for kind, name in children(running):
        uid = running.get(kind, name)["metadata"]["uid"]
        assert running.request("DELETE", kind, name).ok
        running.wait(
            lambda kind=kind, name=name, uid=uid: (
                running.get(kind, name).get("metadata", {}).get("uid") not in (None, uid)
            ),
            f"{kind} {name} made again",
        )
    wait_until(lambda: running.condition("Ready") == "True", "Ready again", timeout=60)
    running.wait_for_silence(3.0)
    found = running.snapshot()
    assert {key for key in found if not key.startswith("Pod ")} == {key for key in wanted if not key.startswith("Pod ")}
