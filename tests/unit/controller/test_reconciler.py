"""One look at a service: what is written, in which order, and above all what is not."""

import dataclasses

import pytest

from llmservice_operator.controller.client.errors import RequestRefused
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Deletion, Event, Plan
from llmservice_operator.planner.status.apply_error import status_with_apply_error
from llmservice_operator.resources.kinds import CONFIGMAP, HTTP_ROUTE, INFERENCE_POOL
from support.fake_api import refusal
from unit.controller.conftest import KEY, NOW, Shell, condition, config_map, fresh_service, one_config_map


async def test_children_come_first_and_the_status_last_and_then_there_is_silence(shell: Shell) -> None:
    await shell.look()
    assert shell.api.writes == ["apply ConfigMap chat-env", "status LLMService chat"]
    await shell.look()
    await shell.look()
    assert len(shell.api.writes) == 2


async def test_a_look_that_wrote_is_followed_by_another_at_once(shell: Shell) -> None:
    """The answer to a write may contain what another client wrote just before, and no further event reports it."""
    assert await shell.look() == 0
    assert await shell.look() is None


async def test_a_new_operator_writes_nothing_where_all_is_as_it_should_be(shell: Shell) -> None:
    await shell.settle()
    before = len(shell.api.calls)
    for obj in shell.api.objects.values():
        shell.see(obj)
    await shell.look()
    assert shell.api.calls[before:] == []


async def test_a_child_changed_by_hand_comes_back(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.get("ConfigMap", "team-a", "chat-env")
    assert child
    shell.see(shell.api.put({**child, "metadata": {**child["metadata"]}, "data": {"value": "by hand"}}))
    await shell.settle()
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"value": "1"}


async def test_a_child_deleted_by_hand_comes_back(shell: Shell) -> None:
    await shell.settle()
    gone = shell.api.objects.pop(("ConfigMap", "team-a", "chat-env"))
    shell.cache.remove(gone)
    await shell.settle()
    assert shell.api.get("ConfigMap", "team-a", "chat-env")


async def test_a_child_that_lost_its_labels_gets_them_back(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    bare = shell.api.put({**child, "metadata": {**child["metadata"], "labels": {}}})
    shell.cache.remove(bare)
    await shell.settle()
    labels = shell.api.objects["ConfigMap", "team-a", "chat-env"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "chat"


async def test_an_object_of_somebody_else_is_never_written_and_the_plan_is_told(shell: Shell) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team-a", "name": "chat-env"}}
    shell.api.put({**theirs, "data": {"mine": "yes"}})

    def plan(observed: Observed) -> Plan:
        return Plan() if observed.children else one_config_map(observed)

    shell.plan = plan
    assert await shell.look() == 30
    assert shell.api.writes == []
    assert [child["metadata"]["name"] for child in shell.observed[-1].children] == ["chat-env"]
    del shell.api.objects["ConfigMap", "team-a", "chat-env"]
    await shell.settle()
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"value": "1"}


async def test_even_a_plan_that_insists_does_not_overwrite_an_object_of_somebody_else(shell: Shell) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team-a", "name": "chat-env"}}
    shell.api.put({**theirs, "data": {"mine": "yes"}})
    await shell.look()
    labelled = config_map({"metadata": {"name": "chat", "uid": "another"}})
    shell.see(shell.api.put({**labelled, "data": {"mine": "yes"}}))
    await shell.look()
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"mine": "yes"}


async def test_a_child_on_its_way_out_is_left_alone(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    leaving = {**child["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    shell.see(shell.api.put({**child, "metadata": leaving, "data": {}}))
    before = len(shell.api.writes)
    await shell.look()
    assert len(shell.api.writes) == before


async def test_an_apply_that_changes_nothing_is_not_repeated(shell: Shell) -> None:
    """Where defaults or a webhook always make the object differ, once per version is enough."""

    def plan(observed: Observed) -> Plan:
        wanted = config_map(observed.service)
        wanted["data"]["dropped-by-a-webhook"] = None
        return Plan(objects=[wanted], status={"conditions": []})

    shell.plan = plan
    shell.reconciler._executor._differs = lambda desired, actual: True
    await shell.settle()
    before = len(shell.api.writes)
    for _ in range(3):
        await shell.look()
    assert len(shell.api.writes) == before


async def test_what_is_deleted_is_that_very_object(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]

    def plan(observed: Observed) -> Plan:
        if not observed.children:
            return Plan()
        seen = observed.children[0]["metadata"]
        return Plan(deletions=[Deletion("v1", "ConfigMap", "team-a", "chat-env", seen["uid"], "obsolete")])

    shell.plan = plan
    successor = {**child, "metadata": {**child["metadata"], "uid": "successor"}}
    shell.api.put(successor)
    with pytest.raises(Exception, match="UID in precondition"):
        await shell.look()
    assert shell.api.get("ConfigMap", "team-a", "chat-env") == successor
    await shell.settle()
    assert shell.api.get("ConfigMap", "team-a", "chat-env") is None


async def test_absent_replicas_are_set_and_owned_no_longer_than_that_takes(shell: Shell) -> None:
    service = fresh_service()
    del service["spec"]["replicas"]
    service["metadata"]["uid"] = shell.api.objects["LLMService", "team-a", "chat"]["metadata"]["uid"]
    shell.see(shell.api.put(service))
    shell.plan = lambda observed: Plan(replicas=None if "replicas" in observed.service["spec"] else 5)
    await shell.settle()
    stored = shell.api.objects["LLMService", "team-a", "chat"]
    assert stored["spec"]["replicas"] == 5
    assert stored["metadata"]["managedFields"] == []
    assert shell.api.writes == ["apply LLMService chat", "patch LLMService chat"]


async def test_ownership_of_replicas_that_a_crash_left_is_given_up(shell: Shell) -> None:
    service = fresh_service()
    service["metadata"] |= {
        "uid": shell.api.objects["LLMService", "team-a", "chat"]["metadata"]["uid"],
        "managedFields": [{"manager": "kubectl"}, {"manager": "llmservice-operator-replicas"}],
    }
    shell.see(shell.api.put(service))
    await shell.settle()
    managers = shell.api.objects["LLMService", "team-a", "chat"]["metadata"]["managedFields"]
    assert managers == [{"manager": "kubectl"}]


async def test_a_refusal_is_told_in_the_api_server_s_words_and_once(shell: Shell) -> None:
    message = "exceeded quota: compute, requested: requests.nvidia.com/gpu=8, used: 0, limited: 4"
    for _ in range(2):
        shell.api.fail_once(lambda call: refusal(403, message) if call.startswith("apply") else None)
        with pytest.raises(RequestRefused):
            await shell.look()
    assert shell.condition("Reconciling")["reason"] == "ApplyFailed"
    assert shell.condition("Reconciling")["message"] == message
    service = shell.api.get("LLMService", *KEY)
    assert service is not None
    (found,) = service["status"]["findings"]
    assert (found["reason"], found["field"]) == ("QuotaExceeded", "spec.replicas")
    assert shell.condition("Ready")["status"] == "True", "what runs goes on, so Ready stays"
    assert shell.api.writes.count("status LLMService chat") == 1
    await shell.settle()
    assert shell.condition("Reconciling") == {}


async def test_a_refusal_where_nothing_runs_is_the_reason_that_it_is_not_ready(shell: Shell) -> None:
    plain = one_config_map
    not_ready = {"conditions": [condition("Ready", "False", "Starting")]}
    shell.plan = lambda observed: dataclasses.replace(plain(observed), status=not_ready)
    shell.api.fail_once(lambda call: refusal(422, "denied by a policy") if call.startswith("apply") else None)
    with pytest.raises(RequestRefused):
        await shell.look()
    assert shell.condition("Ready")["reason"] == "ApplyFailed"
    assert shell.condition("Ready")["message"] == "denied by a policy"


def test_a_refusal_takes_the_place_of_stalled_because_the_operator_goes_on_trying() -> None:
    status = {"conditions": [condition("Ready", "False"), condition("Stalled", "True")]}
    failed = status_with_apply_error(status, "denied", NOW, 7)
    kinds = {each["type"]: each for each in failed["conditions"]}
    assert set(kinds) == {"Ready", "Reconciling"}
    assert kinds["Reconciling"]["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert kinds["Reconciling"]["observedGeneration"] == 7
    assert kinds["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z", "it was False before"


async def test_equal_events_are_sent_once(shell: Shell) -> None:
    shell.plan = lambda observed: Plan(status={}, events=[Event("Warning", "ImagePull", "no such image")])
    for _ in range(3):
        await shell.look()
    assert len([call for call in shell.api.writes if call.startswith("create Event")]) == 1
    event = next(obj for key, obj in shell.api.objects.items() if key[0] == "Event")
    assert event["note"] == "no such image"
    assert event["regarding"]["name"] == "chat"


async def test_nodes_are_read_only_where_the_plan_asks_and_then_shared(shell: Shell) -> None:
    await shell.look()
    assert not any("Node" in call for call in shell.api.calls)
    shell.api.put(
        {
            "kind": "Node",
            "metadata": {"name": "gpu-0"},
            "status": {
                "allocatable": {"nvidia.com/gpu": "8", "cpu": "64"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )
    container = {
        "name": "engine",
        "resources": {"limits": {"nvidia.com/gpu": "3"}, "requests": {"nvidia.com/gpu": "3"}},
    }
    shell.api.put(
        {
            "kind": "Pod",
            "metadata": {"namespace": "team-b", "name": "p"},
            "spec": {"nodeName": "gpu-0", "containers": [container]},
        }
    )
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.NODES))
    await shell.look()
    nodes = shell.observed[-1].nodes
    assert nodes is not None
    assert [(node.name, node.ready, node.allocatable, node.requested) for node in nodes] == [
        ("gpu-0", True, {"nvidia.com/gpu": 8}, {"nvidia.com/gpu": 3})
    ]
    await shell.look()
    assert shell.api.calls.count("list Node") == 1


async def test_without_permission_for_nodes_the_plan_goes_on_without_them(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(403, "nodes is forbidden") if call == "list Node" else None)
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.NODES), requeue_after=7)
    assert await shell.look() == 7
    assert await shell.look() == 7
    assert shell.api.calls.count("list Node") == 1


async def test_a_service_that_is_gone_is_no_work(shell: Shell) -> None:
    service = shell.cache.service(KEY)
    assert service
    shell.cache.remove(service)
    assert await shell.look() is None
    assert shell.api.calls == []


async def test_nothing_is_kept_of_objects_that_went(shell: Shell) -> None:
    """How objects were when they were applied is remembered for those of the last plan alone."""
    for number in range(10):
        shell.plan = lambda observed, number=number: Plan(
            objects=[config_map(observed.service, str(number), f"chat-env-{number}")], status={}
        )
        await shell.look()
    settled = shell.reconciler._executor._settled
    assert {key: list(kept) for key, kept in settled.items()} == {KEY: [("ConfigMap", "team-a", "chat-env-9")]}
    service = shell.cache.service(KEY)
    assert service is not None
    shell.cache.remove({**service, "metadata": {**service["metadata"], "resourceVersion": "99999"}})
    await shell.look()
    assert settled == {}


def _of_gateways(observed: Observed) -> Plan:
    """A route that leads to the Service, after one that led to a pool."""
    meta = config_map(observed.service)["metadata"]
    route = {**HTTP_ROUTE.header, "metadata": {**meta, "name": "chat.service"}, "spec": {"hostnames": ["a"]}}
    objects = [route, config_map(observed.service)]
    gone = [Deletion(kind.api_version, kind.kind, "team-a", name, f"uid-{name}", "") for kind, name in GONE]
    return Plan(objects=objects, deletions=gone, status={"conditions": [condition("Ready", "True")]})


GONE = ((INFERENCE_POOL, "chat"), (CONFIGMAP, "older"))


def _leave(shell: Shell) -> None:
    for kind, name in GONE:
        meta = {"namespace": "team-a", "name": name, "uid": f"uid-{name}"}
        shell.see(shell.api.put({**kind.header, "metadata": meta}))


async def test_a_route_leads_elsewhere_before_its_pool_goes(shell: Shell) -> None:
    _leave(shell)
    shell.plan = _of_gateways
    await shell.look()
    assert shell.api.writes[:4] == [
        "apply ConfigMap chat-env",
        "delete ConfigMap older",
        "apply HTTPRoute chat.service",
        "delete InferencePool chat",
    ]


async def test_a_route_that_is_refused_holds_nothing_else_back(shell: Shell) -> None:
    _leave(shell)
    shell.plan = _of_gateways
    shell.api.faults.append(lambda call: refusal(403, "no") if call.startswith("apply HTTPRoute") else None)
    with pytest.raises(RequestRefused):
        await shell.look()
    assert {"apply ConfigMap chat-env", "delete ConfigMap older"} <= set(shell.api.writes)
    assert shell.condition("Ready")["status"] == "True"
