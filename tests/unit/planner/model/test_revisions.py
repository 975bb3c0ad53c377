"""The commit that a service is served from: found once, used by all replicas, and left only when the user says so."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from builders.observed import Scene, a_scene, condition
from builders.pods import a_pod, an_inspection_pod
from builders.services import ServiceBuilder, a_service
from llmservice_contract.engine_settings import MODEL_REVISION, SETTINGS, SPECULATIVE_REVISION
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import revisions
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources import environment as rendering
from llmservice_operator.resources.platform import NOTHING_ALLOWED, Allowed

FIRST, SECOND = "a" * 40, "b" * 40
HUB = a_service().on_cpu().from_source("hf://org/tiny")


def facts(commit: str | None) -> ModelFacts:
    return ModelFacts("LlamaForCausalLM", 4, 2, 4, 4096, None, 1000, revision=commit)


def environment(scene: Scene) -> dict[str, str]:
    """That of the pods that the plan wants."""
    (found,) = [each for each in scene.plan().objects if each["kind"] == "ConfigMap" and each.get("immutable")]
    return dict(found["data"])


def read_at(commit: str | None, service: ServiceBuilder = HUB) -> Scene:
    """After the Job has reported, and its report is in the status."""
    scene = a_scene(service).applied()
    job = scene.child("Job")
    return scene.with_pods(an_inspection_pod(job).ended(0, facts(commit).to_json(), reason="Completed")).applied()


@pytest.mark.parametrize("service", [HUB, a_service().from_source("hf://org/tiny", "main")])
def test_pods_wait_for_the_commit(service: ServiceBuilder) -> None:
    made = a_scene(service).plan()
    assert [each["kind"] for each in made.objects] == ["Job"]
    assert condition(made, "Accepted")["reason"] == "InspectingModel"


@pytest.mark.parametrize("service", [a_service().on_cpu(), HUB.from_source("hf://org/tiny", FIRST)])
def test_what_can_not_move_waits_for_nothing(service: ServiceBuilder) -> None:
    assert "StatefulSet" in [each["kind"] for each in a_scene(service).plan().objects]


def test_the_commit_is_recorded_and_used_by_every_replica() -> None:
    scene = read_at(FIRST)
    assert scene.service["status"]["model"]["revision"] == FIRST
    assert environment(scene)["MODEL_REVISION"] == FIRST
    assert environment(scene.with_pods(a_pod().ready()).applied().at(100_000))["MODEL_REVISION"] == FIRST


def test_another_revision_in_the_spec_is_the_way_forward() -> None:
    scene = read_at(FIRST).with_pods(a_pod().ready()).applied().with_spec(model={"revision": "v2"})
    made = scene.plan()
    assert [each["kind"] for each in made.objects] == ["Job"], "what runs stays until the commit of v2 is known"
    scene = scene.applied()
    job = scene.child("Job")
    scene = scene.with_pods(an_inspection_pod(job).ended(0, facts(SECOND).to_json(), reason="Completed")).applied()
    assert environment(scene)["MODEL_REVISION"] == SECOND


def without_pin(scene: Scene) -> Scene:
    """As an earlier version of the operator left it: pods at the branch, no commit in the status."""
    children: list[Any] = [
        {**each, "data": {k: v for k, v in each["data"].items() if k != "MODEL_REVISION"}}
        if each["kind"] == "ConfigMap" and each.get("immutable")
        else each
        for each in scene.children
    ]
    service: Any = {**scene.service, "status": {**scene.service["status"]}}
    service["status"].pop("model", None)
    return Scene(service, tuple(children), scene.pods, platform=scene.platform)


def test_a_service_of_an_earlier_version_goes_on_at_its_branch() -> None:
    scene = without_pin(read_at(FIRST))
    made = scene.plan()
    assert "Job" not in [each["kind"] for each in made.objects]
    assert condition(made, "Accepted")["status"] == "True"
    assert "MODEL_REVISION" not in environment(scene)
    changed = scene.with_spec(engine={"maxNumSeqs": 7})
    assert "MODEL_REVISION" not in environment(changed)
    assert [each["kind"] for each in scene.with_spec(model={"revision": "main"}).plan().objects] == ["Job"]


def with_old_names(scene: Scene) -> Scene:
    """As an earlier version of the operator named the variables."""
    old = {row.name: row.aliases[0] for row in SETTINGS if row.aliases}
    children: list[Any] = [
        {**each, "data": {old.get(name, name): text for name, text in each["data"].items()}}
        if each["kind"] == "ConfigMap" and each.get("immutable")
        else each
        for each in scene.children
    ]
    return dataclasses.replace(scene, children=tuple(children))


def test_a_service_of_an_earlier_version_is_known_by_the_variables_of_that_version() -> None:
    scene = with_old_names(without_pin(read_at(FIRST)))
    assert any("MODEL_NAME" in each.get("data", {}) for each in scene.children)
    assert "Job" not in [each["kind"] for each in scene.plan().objects], "the running pods would wait for a commit"


def test_an_image_that_reports_no_commit_is_served_at_the_branch() -> None:
    scene = read_at(None)
    assert "MODEL_REVISION" not in environment(scene)
    assert condition(scene.plan(), "Accepted")["status"] == "True"


LARGE = a_service().from_source("hf://org/large", FIRST)
WITH_DRAFT = LARGE.with_spec(engine={"speculative": {"method": "draft", "model": "hf://org/small"}})


def read_with_draft(commit: str | None, service: ServiceBuilder = WITH_DRAFT) -> Scene:
    scene = a_scene(service).applied()
    reported = msgspec.structs.replace(facts(FIRST), draft_revision=commit).to_json()
    return scene.with_pods(an_inspection_pod(scene.child("Job")).ended(0, reported, reason="Completed")).applied()


@pytest.mark.parametrize("revision", [None, "main"])
def test_pods_wait_for_the_commit_of_the_draft_model_and_use_it(revision: str | None) -> None:
    draft = {"method": "draft", "model": "hf://org/small", **({"revision": revision} if revision else {})}
    service = LARGE.with_spec(engine={"speculative": draft})
    made = a_scene(service).plan()
    assert [each["kind"] for each in made.objects] == ["Job"]
    (job,) = made.objects
    reported = {each["name"]: each.get("value") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert reported["ENGINE_SPECULATIVE_MODEL"] == "org/small"
    scene = read_with_draft(SECOND, service)
    assert scene.service["status"]["model"]["draftRevision"] == SECOND
    assert environment(scene)["ENGINE_SPECULATIVE_REVISION"] == SECOND
    assert environment(scene)["MODEL_REVISION"] == FIRST
    assert environment(scene.with_pods(a_pod().ready()).applied().at(100_000))["ENGINE_SPECULATIVE_REVISION"] == SECOND


@pytest.mark.parametrize(
    "draft",
    [
        {"method": "ngram"},
        {"method": "draft", "model": "hf://org/small", "revision": SECOND},
    ],
)
def test_a_draft_model_that_can_not_move_waits_for_nothing(draft: dict[str, Any]) -> None:
    scene = a_scene(LARGE.with_spec(engine={"speculative": draft}))
    assert environment(scene).get("ENGINE_SPECULATIVE_REVISION") == draft.get("revision")


def test_a_new_draft_model_leaves_the_commit_of_the_model() -> None:
    moving = a_service().from_source("hf://org/large")
    scene = read_at(FIRST, moving).with_pods(a_pod().ready()).applied()
    scene = scene.with_spec(engine={"speculative": {"method": "draft", "model": "hf://org/small"}})
    made = scene.plan()
    assert [each["kind"] for each in made.objects] == ["Job"], "what runs stays until the draft's commit is known"
    assert made.status is not None and made.status["model"]["revision"] == FIRST
    scene = scene.applied()
    reported = msgspec.structs.replace(facts(SECOND), draft_revision="c" * 40).to_json()
    job = scene.child("Job")
    scene = scene.with_pods(an_inspection_pod(job).ended(0, reported, reason="Completed")).applied()
    assert environment(scene)["MODEL_REVISION"] == FIRST
    assert environment(scene)["ENGINE_SPECULATIVE_REVISION"] == "c" * 40


def test_a_service_of_an_earlier_version_goes_on_with_its_draft_model() -> None:
    scene = read_with_draft(SECOND)
    children: list[Any] = [
        {**each, "data": {k: v for k, v in each["data"].items() if k != "ENGINE_SPECULATIVE_REVISION"}}
        if each["kind"] == "ConfigMap" and each.get("immutable")
        else each
        for each in scene.children
    ]
    service: Any = {**scene.service, "status": {**scene.service["status"]}}
    service["status"].pop("model", None)
    before = Scene(service, tuple(children), scene.pods, platform=scene.platform)
    made = before.plan()
    assert "Job" not in [each["kind"] for each in made.objects]
    assert condition(made, "Accepted")["status"] == "True"
    assert "ENGINE_SPECULATIVE_REVISION" not in environment(before)
    assert "ENGINE_SPECULATIVE_REVISION" not in environment(before.with_spec(engine={"maxNumSeqs": 7}))


def test_a_model_that_needs_its_own_code_gets_no_pod() -> None:
    scene = a_scene(HUB).applied()
    reported = ModelFacts("Evil", revision=FIRST, remote_code=True)
    made = scene.with_pods(
        an_inspection_pod(scene.child("Job")).ended(0, reported.to_json(), reason="Completed")
    ).plan()
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "RemoteCode")
    assert "StatefulSet" not in [each["kind"] for each in made.objects]


SCENES = {"hub": a_scene(HUB), "pinned": a_scene(LARGE), "draft": read_with_draft(SECOND)}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_the_environment_is_rendered_once_for_each_plan(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    before = plan(scene.build())
    whole, asked = rendering.engine, list[LLMServiceSpec]()

    def counted(service: str, spec: LLMServiceSpec, allowed: Allowed = NOTHING_ALLOWED) -> dict[str, str]:
        asked.append(spec)
        return whole(service, spec, allowed)

    monkeypatch.setattr(rendering, "engine", counted)
    assert plan(scene.build()) == before
    assert len(asked) == 1


def test_commits_are_put_into_the_environment_as_if_the_spec_stated_them() -> None:
    spec = LLMServiceSpec.model_validate(WITH_DRAFT.from_source("hf://org/large").build()["spec"])
    found = msgspec.structs.replace(facts(FIRST), draft_revision=SECOND)
    known = {"revision": found.revision, "draftRevision": found.draft_revision, "source": "hf://org/large"}
    pinned = revisions.pinned_by_status(spec, {"model": {**known, "draft": "hf://org/small"}})
    assert pinned != spec
    whole = rendering.engine("chat", pinned)
    assert (whole[MODEL_REVISION.name], whole[SPECULATIVE_REVISION.name]) == (FIRST, SECOND)
    assert rendering.engine("chat", spec) | rendering.revisions(pinned) == whole
    assert rendering.revisions(LLMServiceSpec.model_validate(a_service().build()["spec"])) == {}
