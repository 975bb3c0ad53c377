"""Routed: what the controllers of Gateways report on a service's HTTPRoute and InferencePool."""

import dataclasses
import datetime
from typing import Any

import pytest

from builders.observed import NOON, Scene, a_scene, condition, findings
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.planner.conditions import routed
from llmservice_operator.planner.model import timestamps
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef, Platform

INFERENCE = {"name": "inference", "namespace": "gateway-system", "sectionName": "https"}
SETTINGS = GatewayAPI((ParentRef("inference", "gateway-system", "https"),), domain="llm.example.com")
PICKED = dataclasses.replace(SETTINGS, endpoint_picker=EndpointPicker("{service}-epp"))
TWO = dataclasses.replace(SETTINGS, parents=(*SETTINGS.parents, ParentRef("own")))
ROUTE, POOL = ("HTTPRoute", "chat.service"), ("InferencePool", "chat")


def scene(settings: GatewayAPI = SETTINGS, **platform: bool) -> Scene:
    made = a_scene(a_service()).on(Platform(gateway_api=settings, **platform)).settled().settled()
    return made.with_pods(a_pod("chat", 0))


def says(kind: str, status: str, reason: str = "", message: str = "", generation: int | None = 1) -> dict[str, Any]:
    observed = {} if generation is None else {"observedGeneration": generation}
    return {"type": kind, "status": status, "reason": reason or kind, "message": message, **observed}


ACCEPTED, RESOLVED = says("Accepted", "True"), says("ResolvedRefs", "True")


def reported(of: Scene, *parents: Any, child: tuple[str, str] = ROUTE, age: float = 0) -> Scene:
    """With these entries of status.parents, for an object that is so many seconds old at noon."""
    live = of.child(*child)
    meta = {**live["metadata"], "creationTimestamp": timestamps.show(NOON - datetime.timedelta(seconds=age))}
    return of.without(*child).with_children({**live, "metadata": meta, "status": {"parents": list(parents)}})


def parent(*conditions: Any, ref: Any = INFERENCE) -> dict[str, Any]:
    return {"parentRef": ref, "controllerName": "example.com/gateway", "conditions": list(conditions)}


def result(of: Scene) -> tuple[str, str, str]:
    found = condition(of.plan(), "Routed")
    return found["status"], found["reason"], found["message"]


def test_without_gateways_there_is_no_such_condition() -> None:
    assert condition(a_scene(a_service()).settled().plan(), "Routed") == {}


def test_a_route_that_is_accepted_shows_its_address() -> None:
    status, reason, message = result(reported(scene(), parent(ACCEPTED, RESOLVED)))
    assert (status, reason) == ("True", "Routed")
    assert "gateway-system/inference (listener https)" in message
    assert "chat.team-a.llm.example.com" in message and "Service chat" in message


@pytest.mark.parametrize(
    ("conditions", "reason", "words"),
    [
        (
            [says("Accepted", "False", "NotAllowedByListeners", "no route of team-a"), RESOLVED],
            "RouteNotAccepted",
            "NotAllowedByListeners: no route of team-a",
        ),
        ([ACCEPTED, says("ResolvedRefs", "False", "InvalidKind", "")], "BackendNotResolved", "InvalidKind"),
        ([says("Accepted", "False", "Pending", generation=None)], "RouteNotAccepted", "Pending"),
    ],
)
def test_what_a_gateway_objects_to_is_said_with_its_words(conditions: list[Any], reason: str, words: str) -> None:
    made = reported(scene(), parent(*conditions)).plan()
    found = condition(made, "Routed")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert words in found["message"] and "gateway-system/inference" in found["message"]
    assert reason in [each["reason"] for each in findings(made)]


def test_ready_does_not_depend_on_it() -> None:
    without = a_scene(a_service()).settled().settled().with_pods(a_pod("chat", 0))
    refused = reported(scene(), parent(says("Accepted", "False")))
    assert condition(refused.plan(), "Ready")["reason"] == condition(without.plan(), "Ready")["reason"]
    assert condition(refused.plan(), "Ready")["status"] == condition(without.plan(), "Ready")["status"]


@pytest.mark.parametrize("conditions", [[], [says("Accepted", "Unknown")], [RESOLVED]])
def test_a_report_without_a_verdict_is_awaited(conditions: list[Any]) -> None:
    assert result(reported(scene(), parent(*conditions), age=600))[:2] == ("Unknown", "AwaitingGateway")


def test_a_report_on_an_older_route_does_not_count() -> None:
    of = scene()
    live = of.child(*ROUTE)
    live["metadata"]["generation"] = 2
    for status in ("True", "False"):
        old = says("Accepted", status, generation=1)
        assert result(reported(of, parent(old, RESOLVED), age=600))[:2] == ("Unknown", "AwaitingGateway")
    assert result(reported(of, parent(says("Accepted", "True", generation=2))))[0] == "True"


def test_a_gateway_that_says_nothing_is_named_after_a_minute() -> None:
    young = reported(scene(), age=10)
    assert result(young)[:2] == ("Unknown", "AwaitingGateway")
    rest = routed.PATIENCE.total_seconds() - 10
    requeue_after = young.plan().requeue_after
    assert requeue_after is not None and requeue_after <= rest
    old = young.at(rest)
    status, reason, message = result(old)
    assert (status, reason) == ("False", "NoGateway") and "gateway-system/inference" in message


def test_each_gateway_has_to_accept_it() -> None:
    one = parent(ACCEPTED, RESOLVED)
    assert result(reported(scene(TWO), one, age=600))[:2] == ("False", "NoGateway")
    assert "team-a/own" in result(reported(scene(TWO), one, age=600))[2]
    for ref in ({"name": "own"}, {"name": "own", "namespace": "team-a", "kind": "Gateway"}):
        assert result(reported(scene(TWO), one, parent(ACCEPTED, ref=ref), age=600))[0] == "True"
    for ref in ({"name": "own", "namespace": "team-b"}, {"name": "own", "port": 80}, {"name": "owner"}):
        assert result(reported(scene(TWO), one, parent(ACCEPTED, ref=ref), age=600))[1] == "NoGateway"


def test_without_the_crd_this_is_said_and_everything_else_is_as_before() -> None:
    made = scene(http_routes=False).plan()
    found = condition(made, "Routed")
    assert (found["status"], found["reason"]) == ("False", "GatewayAPIMissing")
    assert "gateway.networking.k8s.io/v1" in found["message"]
    assert not [each for each in made.objects if each["kind"] in ("HTTPRoute", "InferencePool")]
    assert condition(made, "Accepted")["status"] == "True"


def test_before_there_is_a_route_it_is_unknown() -> None:
    assert result(scene().without(*ROUTE))[:2] == ("Unknown", "AwaitingGateway")
    unowned = scene().child(*ROUTE)
    unowned["metadata"]["ownerReferences"] = []
    assert condition(scene().without(*ROUTE).with_children(unowned).plan(), "Routed")["status"] == "Unknown"


def test_the_pool_is_read_too() -> None:
    of = reported(scene(PICKED), parent(ACCEPTED, RESOLVED))
    assert "InferencePool chat" in result(of)[2]
    status = parent(says("Accepted", "Unknown", "Pending"), ref={"kind": "Status", "name": "default"})
    assert result(reported(of, status, child=POOL))[0] == "True", "the entry before any Gateway has reported"
    no_picker = says("ResolvedRefs", "False", "InvalidExtensionRef", "Service chat-epp not found")
    found = result(reported(of, parent(ACCEPTED, no_picker), child=POOL))
    assert found[:2] == ("False", "PoolNotAccepted") and "Service chat-epp not found" in found[2]
    fell_back = reported(scene(PICKED, inference_pools=False), parent(ACCEPTED, RESOLVED))
    assert "inference.networking.k8s.io/v1" in result(fell_back)[2]


@pytest.mark.parametrize(
    "status",
    [
        None,
        "text",
        {"parents": "text"},
        {"parents": [None, 5, {"parentRef": "text", "conditions": "text"}]},
        {"parents": [{"parentRef": INFERENCE, "conditions": [None, 5, {"type": "Accepted", "status": 5}]}]},
        {"parents": [parent(ACCEPTED)] * 100_000},
    ],
    ids=range(6),
)
def test_a_status_of_another_form_is_no_error(status: Any) -> None:
    live = {**scene().child(*ROUTE), "status": status}
    assert result(scene().without(*ROUTE).with_children(live))[1] in ("AwaitingGateway", "NoGateway", "Routed")


def test_a_long_report_is_cut() -> None:
    long = says("Accepted", "False", "Long", "x" * 32_768)
    assert len(result(reported(scene(), parent(long)))[2]) < routed.LONGEST_REPORT + 200


@pytest.mark.parametrize(("kind", "name"), [POOL, ROUTE])
def test_a_name_of_another_owner_keeps_the_service_from_gateways_alone(kind: str, name: str) -> None:
    before = scene(PICKED)
    theirs = {**before.child(kind, name), "metadata": {"name": name, "namespace": "team-a", "uid": "theirs"}}
    made = before.without(kind, name).with_children(theirs).with_spec(engine={"maxNumSeqs": 7}).plan()
    found = condition(made, "Routed")
    assert (found["status"], found["reason"]) == ("False", "NameTaken")
    assert f"{kind} {name} already exists" in found["message"]
    assert condition(made, "Accepted")["status"] == "True"
    assert (kind, name) not in [(each["kind"], each["metadata"]["name"]) for each in made.objects]
    assert [each for each in made.objects if each["kind"] == "StatefulSet"]
    if kind == "InferencePool":
        (route,) = (each for each in made.objects if each["kind"] == "HTTPRoute")
        assert route["spec"]["rules"][0]["backendRefs"][0]["kind"] == "Service"
