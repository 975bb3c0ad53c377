"""Reading a model's configuration before GPUs are taken: the Job's life, and what it makes of failure."""

import pytest

from builders.observed import Scene, a_scene, condition, findings, leader
from builders.pods import PodBuilder, a_pod, an_inspection_pod
from builders.services import a_service
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts, failure_to_json
from llmservice_operator.planner.model.observed import Input

TWO_GPUS = a_service().spread_over(tensor=2).with_replicas(1)
FACTS = ModelFacts("LlamaForCausalLM", 4, 2, 4, 4096, None, 1000)
MISSING = Finding("ModelUnreadable", "/models/chat does not exist; /models holds: lama")


def inspecting() -> Scene:
    """A service on two GPUs whose Job was made."""
    return a_scene(TWO_GPUS).applied()


def the_pod(scene: Scene) -> PodBuilder:
    return an_inspection_pod(scene.child("Job"))


def failed(at: str = "2026-01-01T12:00:00Z") -> Scene:
    scene = inspecting()
    return scene.with_pods(the_pod(scene).ended(66, failure_to_json(MISSING), finishedAt=at))


def test_a_model_on_one_gpu_is_not_read() -> None:
    assert "Job" not in [obj["kind"] for obj in a_scene().plan().objects]


@pytest.mark.parametrize("spread", [{"tensor": 2}, {"pipeline": 2}])
def test_a_model_on_several_gpus_is_read_first(spread: dict[str, int]) -> None:
    made = a_scene(a_service().with_spec(parallelism=spread)).plan()
    (job,) = made.objects
    assert job["kind"] == "Job"
    assert "nvidia.com/gpu" not in job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert made.replicas is None
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("Unknown", "InspectingModel")
    assert "pvc://models/chat" in accepted["message"]
    assert condition(made, "Reconciling")["reason"] == "InspectingModel"


def test_what_runs_is_not_changed_while_a_model_is_read() -> None:
    scene = a_scene().settled().with_pods(a_pod().ready()).settled()
    made = scene.with_spec(parallelism={"tensor": 2}).plan()
    assert [obj["kind"] for obj in made.objects] == ["Job"]
    assert made.deletions == ()
    assert condition(made, "Serving")["status"] == "True"


def test_facts_lead_to_children_and_then_the_job_goes() -> None:
    scene = inspecting()
    scene = scene.with_pods(the_pod(scene).ended(0, FACTS.to_json(), reason="Completed"))
    made = scene.plan()
    assert made.status is not None and made.status["model"]["attentionHeads"] == 4
    assert leader(made)
    assert made.deletions == (), "the Job holds the facts until they are in the status"
    after = scene.applied()
    (gone,) = after.plan().deletions
    assert (gone.kind, gone.uid) == ("Job", scene.child("Job")["metadata"]["uid"])
    again = after.applied().plan()
    assert "Job" not in [obj["kind"] for obj in again.objects]
    assert again.deletions == ()


def test_facts_that_do_not_fit_refuse_the_spec_and_are_kept() -> None:
    scene = a_scene(a_service().spread_over(tensor=3)).applied()
    scene = scene.with_pods(the_pod(scene).ended(0, FACTS.to_json(), reason="Completed"))
    refused = scene.applied()
    assert condition(refused.plan(), "Accepted")["reason"] == "HeadsNotDivisible"
    assert "StatefulSet" not in [child["kind"] for child in refused.children]
    corrected = refused.with_spec(parallelism={"tensor": 2}).plan()
    assert condition(corrected, "Accepted")["status"] == "True"
    assert leader(corrected)


def test_an_unreadable_model_is_refused_in_its_own_words() -> None:
    made = failed().plan()
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "ModelUnreadable")
    said = f"the configuration of pvc://models/chat can't be read: {MISSING.message}; next try at 2026-01-01T12:01:00Z"
    assert accepted["message"].startswith(f"{said}, and at once if the annotation llmservice.dev/refresh")
    assert made.requeue_after == 60
    assert made.deletions == ()


def test_an_unreadable_model_is_tried_again_without_a_change_of_the_verdict() -> None:
    scene = failed().applied().at(60)
    (gone,) = scene.plan().deletions
    assert gone.kind == "Job"
    retried = scene.applied()
    assert [child["kind"] for child in retried.children] == []
    assert [obj["kind"] for obj in retried.plan().objects] == ["Job"]
    assert retried.plan().status == scene.plan().status
    assert retried.applied().with_pods().plan().status == scene.plan().status


@pytest.mark.parametrize(
    ("failure", "reason", "certainty", "field"),
    [
        (MISSING, "ModelUnreadable", "Certain", "spec.model.source"),
        (
            Finding("HubRefused", "it is gated", field="spec.model.credentialsRef", fix="Accept its licence."),
            "HubRefused",
            "Certain",
            "spec.model.credentialsRef",
        ),
        (
            Finding("HubRefused", "404", alternative="it is private", field="spec.model.source", fix="Check the name."),
            "HubRefused",
            "Likely",
            "spec.model.source",
        ),
        (Finding("HubUnreachable", "no such host"), "HubUnreachable", "Certain", "spec.model.source"),
        (Finding("BadConfig", "no JSON"), "BadConfig", "Certain", "spec.model.source"),
    ],
)
def test_what_a_model_can_not_be_read_for_is_the_reason_also_while_it_is_tried_again(
    failure: Finding, reason: str, certainty: str, field: str
) -> None:
    scene = inspecting()
    first = scene.with_pods(the_pod(scene).ended(66, failure_to_json(failure), finishedAt="2026-01-01T12:00:00Z"))
    (found,) = findings(first.plan())
    assert (found["reason"], found["certainty"], found["field"]) == (reason, certainty, field)
    assert condition(first.plan(), "Ready")["reason"] == condition(first.plan(), "Stalled")["reason"] == reason
    again = first.applied().at(60).applied()
    assert again.plan().status == first.plan().status


HANGS: dict[str, tuple[str, str, str]] = {
    "an image": ("ErrImagePull", "x: not found", "ImageNotFound"),
    "a Secret": ("CreateContainerConfigError", 'secret "hub" not found', "SecretMissing"),
}


@pytest.mark.parametrize("name", HANGS)
def test_what_keeps_the_reading_from_starting_is_the_reason(name: str) -> None:
    waits, said, reason = HANGS[name]
    scene = inspecting()
    made = scene.with_pods(the_pod(scene).waiting(waits, said)).plan()
    assert [each["reason"] for each in findings(made)] == [reason]
    assert condition(made, "Ready")["reason"] == reason


def test_a_quota_that_keeps_the_reading_from_starting_is_the_reason() -> None:
    scene = inspecting()
    job = scene.child("Job")["metadata"]["name"]
    assert Input.EVENTS in scene.plan().requires
    note = "Error creating: pods is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"
    made = scene.reporting("Job", job, "FailedCreate", note).plan()
    assert [each["reason"] for each in findings(made)] == ["QuotaExceeded"]


def test_tries_get_rarer_the_longer_it_lasts() -> None:
    scene = failed().applied().at(400)
    again = scene.applied().applied()
    pod = the_pod(again).ended(66, failure_to_json(MISSING), finishedAt="2026-01-01T12:06:40Z")
    failed_again = again.with_pods(pod)
    assert failed_again.plan().requeue_after == 400
    assert failed_again.at(700).plan().requeue_after == 100
    assert [gone.kind for gone in failed_again.at(800).plan().deletions] == ["Job"]


def test_tries_go_on_for_ever_ten_minutes_apart() -> None:
    scene = failed().applied().at(86_400)
    again = scene.applied().applied()
    pod = the_pod(again).ended(66, failure_to_json(MISSING), finishedAt="2026-01-02T12:00:00Z")
    assert again.with_pods(pod).plan().requeue_after == 600


def test_another_source_is_read_at_once_and_the_old_job_goes() -> None:
    scene = failed().applied().with_spec(model={"source": "pvc://models/llama"})
    made = scene.plan()
    assert [obj["kind"] for obj in made.objects] == ["Job"]
    assert [gone.name for gone in made.deletions] == [scene.child("Job")["metadata"]["name"]]
    assert condition(made, "Accepted")["reason"] == "InspectingModel"


def test_facts_of_another_model_do_not_count() -> None:
    status = {"model": {"source": "pvc://models/old", "attentionHeads": 3}}
    made = a_scene(TWO_GPUS.with_status(status)).plan()
    assert [obj["kind"] for obj in made.objects] == ["Job"]
    assert made.status is not None and "model" not in made.status


def test_another_revision_is_another_model() -> None:
    service = a_service().from_source("hf://org/model", revision="v2").spread_over(tensor=2)
    old = {"model": {"source": "hf://org/model@v1", "attentionHeads": 4}}
    assert [obj["kind"] for obj in a_scene(service.with_status(old)).plan().objects] == ["Job"]
    known = {"model": {"source": "hf://org/model@v2", "attentionHeads": 4}}
    assert "Job" not in [obj["kind"] for obj in a_scene(service.with_status(known)).plan().objects]


def test_a_model_in_s3_is_read_with_the_keys_of_its_secret() -> None:
    service = a_service().from_source("s3://models/chat").with_spec(model={"credentialsRef": {"name": "store"}})
    (job,) = a_scene(service.spread_over(tensor=3)).plan().objects
    variables = {each["name"]: each for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables["MODEL_SOURCE"]["value"] == "s3://models/chat"
    reference = variables["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]
    assert (reference["name"], reference["key"]) == ("store", "AWS_ACCESS_KEY_ID")


def test_a_job_that_hangs_says_why() -> None:
    scene = inspecting()
    pulled = scene.with_pods(the_pod(scene).waiting("ErrImagePull", "no such host"))
    assert "no such host" in condition(pulled.plan(), "Accepted")["message"]
    waiting = scene.with_pods(the_pod(scene).unschedulable('persistentvolumeclaim "models" not found'))
    assert "models" in condition(waiting.plan(), "Accepted")["message"]


def test_a_job_that_ran_out_of_time_counts_as_failed() -> None:
    scene = inspecting()
    scene.child("Job")["status"] = {
        "conditions": [
            {
                "type": "Failed",
                "status": "True",
                "message": "Job was active longer than specified deadline",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
            }
        ]
    }
    accepted = condition(scene.plan(), "Accepted")
    assert accepted["reason"] == "ModelUnreadable"
    assert "deadline" in accepted["message"]


def test_words_that_are_no_report_are_passed_on() -> None:
    scene = inspecting()
    scene = scene.with_pods(the_pod(scene).ended(1, "Traceback: boom", finishedAt="2026-01-01T12:00:00Z"))
    assert "Traceback: boom" in condition(scene.plan(), "Accepted")["message"]


DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def pinned(digest: str = DIGEST, facts: dict[str, str] | None = None) -> Scene:
    """A service of one CPU that pins the digest of its weights; ``facts``: what its status has of the model."""
    source = {"source": "s3://models/chat"}
    service = a_service().on_cpu().with_spec(model={**source, "digest": digest})
    return a_scene(service.with_status({"model": {**source, **facts}}) if facts else service)


def test_a_pinned_digest_is_compared_before_a_pod_exists_and_at_each_start() -> None:
    (job,) = pinned().plan().objects
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "MODEL_DIGEST", "value": DIGEST} in container["env"]
    made = pinned().applied()
    made = made.with_pods(the_pod(made).ended(0, ModelFacts(digest=DIGEST).to_json(), reason="Completed"))
    plan = made.plan()
    assert plan.status is not None and plan.status["model"]["digest"] == DIGEST
    assert [each["data"]["MODEL_DIGEST"] for each in plan.objects if "MODEL_DIGEST" in each.get("data", {})] == [DIGEST]


def test_other_weights_are_refused_with_both_digests() -> None:
    scene = pinned().applied()
    said = Finding("DigestMismatch", f"The weights must have {DIGEST}, but have {OTHER}.", field="spec.model.digest")
    made = scene.with_pods(the_pod(scene).ended(66, failure_to_json(said), finishedAt="2026-01-01T12:00:00Z")).plan()
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "DigestMismatch")
    assert DIGEST in accepted["message"] and OTHER in accepted["message"]
    assert not [each for each in made.objects if each["kind"] == "StatefulSet"]


def test_a_digest_that_is_pinned_later_is_compared_with_what_was_read() -> None:
    assert condition(pinned(DIGEST, {"quantization": "awq"}).plan(), "Accepted")["reason"] == "InspectingModel"
    assert condition(pinned(DIGEST, {"digest": OTHER}).plan(), "Accepted")["reason"] == "InspectingModel"
    assert condition(pinned(DIGEST, {"digest": DIGEST}).plan(), "Accepted")["status"] == "True"
