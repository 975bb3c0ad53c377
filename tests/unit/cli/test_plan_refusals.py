"""`kubectl llm plan` reports what the API server would reject, and missing permissions."""

from __future__ import annotations

from support.fake_api import refusal
from unit.cli.person import FAILS, LONGER, Person
from unit.cli.planning import forbidden


def test_what_the_api_server_refuses_is_told_in_its_own_words(person: Person) -> None:
    said = 'LLMService.llmservice.dev "chat" is invalid: spec.engine: Invalid value: "object": take it out'
    person.api.says = lambda call, body: refusal(422, said, "Invalid") if "/llmservices/" in call else None
    done = person.plan(person.manifest(LONGER))
    assert done.status == FAILS
    assert done.out.splitlines()[0] == "team-a/chat: can't succeed: the API server would refuse the LLMService chat."
    assert f"  LLMService chat: {said}" in done.out.splitlines()


def test_so_is_what_admission_says_of_a_pod(person: Person) -> None:
    said = 'pods "chat-plan" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    person.api.says = lambda call, body: refusal(403, said, "Forbidden") if call.endswith("/pods") else None
    reported = person.json(LONGER)
    assert reported["refusals"] == [{"by": "API server", "object": "a pod of chat", "message": said}]
    assert reported["outcome"] == "CannotSucceed"
    assert person.json({"access": {"caps": {"maxTokens": 7}}})["refusals"] == [], "no pod is made for it"


def test_a_pod_is_tried_under_a_name_that_none_has_and_without_an_owner(person: Person) -> None:
    person.plan(person.manifest(LONGER))
    (pod,) = (body for method, target, body in person.api.dry_runs if method == "POST")
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "chat-plan")
    assert "ownerReferences" not in pod["metadata"]


def test_without_a_right_to_nodes_both_ways_are_told(person: Person) -> None:
    person.api.around["nodes"] = forbidden("nodes")  # type: ignore[index]
    reported = person.json(LONGER)
    assert (reported["leastReady"], reported["peakDevices"]) == (2, 3)
    assert reported["strategies"] == [{"strategy": "InPlace", "reason": "the operator can't read the nodes"}]
    assert any("at least 3 stay ready, and at most 4 devices are held" in note for note in reported["notes"])
    spared = person.json(LONGER, options="--spare 1")
    assert (spared["leastReady"], spared["peakDevices"]) == (3, 4)
    assert person.json({"replicas": 9})["outcome"] == "Change", "what is unknown prevents nothing"
    assert person.json({"replicas": 9}, options="--spare 2")["outcome"] == "CannotSucceed"


def test_without_a_right_to_see_what_runs_a_service_at_rest_is_assumed(person: Person) -> None:
    for plural in ("statefulsets", "pods"):
        person.api.around[plural] = forbidden(plural)  # type: ignore[index]
    reported = person.json(LONGER)
    assert [step["pods"] for step in reported["steps"]] == [["chat-2"], ["chat-1"], ["chat-0"]]
    assert any("running pods can't be read" in note for note in reported["notes"])


def test_without_a_right_to_change_it_the_plan_is_the_same_and_says_so(person: Person) -> None:
    said = 'llmservices.llmservice.dev "chat" is forbidden: User "me" cannot patch resource "llmservices"'
    person.api.says = lambda call, body: refusal(403, said, "Forbidden")
    reported = person.json(LONGER)
    assert (reported["outcome"], len(reported["steps"])) == ("Change", 3)
    assert any("you may not patch the LLMService chat" in note for note in reported["notes"])
    assert any("you may not write" in note and "statefulsets" in note for note in reported["notes"])
    wrong = person.json({"engine": {"kvCacheMemory": "4Gi"}})
    assert [each["by"] for each in wrong["refusals"]] == ["rules"]
