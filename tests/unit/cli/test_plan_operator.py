"""What `kubectl llm plan` knows of the operator at work: the images that run, and what waits for consent."""

from __future__ import annotations

import json

from unit.cli.person import LONGER, Person


def test_the_images_are_those_that_run(person: Person) -> None:
    for child in person.api.around["statefulsets"]:  # type: ignore[index, union-attr]
        child["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/runtime:9"
    reported = person.json({"rollout": {"onFailure": "Pause"}})
    assert (reported["steps"], reported["children"], reported["pendingApproval"]) == ([], [], [])


def test_an_operator_that_makes_pods_otherwise_is_told_of(person: Person) -> None:
    for child in person.api.around["statefulsets"]:  # type: ignore[index, union-attr]
        child["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 7
        notes = child["metadata"]["annotations"]
        notes["llmservice.dev/rollout"] = json.dumps(
            {**json.loads(notes["llmservice.dev/rollout"]), "by": "another", "template": "another"}
        )
    reported = person.json({"rollout": {"onFailure": "Pause"}})
    assert reported["steps"] == []
    assert (
        "the operator renders other pods than this program: it has another version or other settings"
        in reported["notes"]
    )
    assert person.json(LONGER)["steps"], "what this program would make of them comes with the change"


def test_whoever_may_read_the_operator_is_told_what_waits_for_consent(person: Person) -> None:
    environment = [{"name": "LLMSERVICE_RUNTIME_IMAGE", "value": "registry.example.com/runtime:9"}]
    container = {"name": "operator", "env": [*environment, {"name": "POD", "valueFrom": {}}]}
    labels = {"app.kubernetes.io/name": "llmservice-operator", "app.kubernetes.io/version": "9.9.9"}
    meta = {"name": "llmservice-operator", "namespace": "llmservice-system", "labels": labels}
    deployment = {"metadata": meta, "spec": {"template": {"spec": {"containers": [container]}}}}
    person.api.around["deployments"] = [deployment]  # type: ignore[index]
    reported = person.json({"rollout": {"onFailure": "Pause"}})
    assert reported["steps"] == []
    assert any("registry.example.com/runtime:9" in line for line in reported["pendingApproval"])
    assert any("the operator has version 9.9.9" in note for note in reported["notes"])
    changed = person.json(LONGER)
    paths = [field["path"] for child in changed["children"] for field in child["fields"]]
    assert "spec.template.spec.containers[engine].image" in paths


def test_whoever_may_not_is_told_what_the_service_says_of_it(person: Person) -> None:
    offer = {"digest": "0a1b2c3d4e", "version": "0.3.1", "changes": ["spec.containers[engine].image: a:1 -> a:2"]}
    person.api.objects["LLMService", "team-a", "chat"]["status"]["upgrade"] = offer
    assert person.json({"rollout": {"onFailure": "Pause"}})["pendingApproval"] == offer["changes"]
    reported = person.json(LONGER)
    assert reported["pendingApproval"] == []
    assert f"includes the pending upgrade: {offer['changes'][0]}" in reported["notes"]
