"""From a new service to a ready one and back: what a plan writes, and what it tells."""

import dataclasses

import pytest

from builders.observed import Scene, a_scene, condition, leader
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.planner.model.drift import differs

TRANSITION = "2026-01-01T12:00:00Z"


def kinds(scene: Scene) -> list[str]:
    return [obj["kind"] for obj in scene.plan().objects]


def serving(replicas: int = 1) -> Scene:
    """A service all of whose replicas are ready."""
    scene = a_scene(a_service().with_replicas(replicas)).settled()
    ready = scene.with_pods(*(a_pod(f"chat-{number}").ready() for number in range(replicas)))
    return ready.settled()


def test_a_new_service_gets_all_children_before_the_statefulset() -> None:
    assert kinds(a_scene()) == ["ConfigMap", "ConfigMap", "Service", "Service", "PodDisruptionBudget", "StatefulSet"]


def test_a_plan_carried_out_asks_for_nothing_more() -> None:
    scene = a_scene().settled().settled()
    made = scene.plan()
    assert not any(differs(obj, scene.child(obj["kind"], obj["metadata"]["name"])) for obj in made.objects)
    assert made.deletions == ()
    assert made.status == scene.service["status"]
    assert made.events == ()


def test_a_service_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    made = a_scene(a_service().being_deleted()).plan()
    assert (made.objects, made.deletions, made.status, made.replicas) == ((), (), None, None)


def test_ready_tells_how_many_answer_and_where() -> None:
    made = serving(2).plan()
    ready = condition(made, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Ready")
    assert ready["message"] == "2 of 2 replicas answering at http://chat.team-a.svc.cluster.local"
    assert condition(made, "Reconciling") == condition(made, "Stalled") == {}
    assert made.status is not None
    assert made.status["readyReplicas"] == made.status["replicas"] == made.status["gpus"] == 2


def test_the_selector_and_the_address_are_there_from_the_first_visit() -> None:
    status = a_scene().plan().status
    assert status is not None
    assert status["address"] == "http://chat.team-a.svc.cluster.local"
    assert status["selector"].split(",") == [
        "app.kubernetes.io/name=llmservice",
        "app.kubernetes.io/instance=chat",
        "app.kubernetes.io/component=engine",
    ]


def test_gpus_are_replicas_times_devices() -> None:
    status = a_scene(a_service().with_replicas(3).with_spec(parallelism={"pipeline": 2})).plan().status
    assert status is not None and status["gpus"] == 0, "nothing is asked for until the model is read"
    status = a_scene(a_service().from_source("s3://bucket/m").read().with_replicas(3).spread_over(2, 2)).plan().status
    assert status is not None and status["gpus"] == 12
    status = a_scene(a_service().on_cpu().with_replicas(3)).plan().status
    assert status is not None and status["gpus"] == 0


def test_a_new_service_without_replicas_starts_with_one_and_writes_it() -> None:
    made = a_scene().plan()
    assert made.replicas == 1
    assert leader(made)["spec"]["replicas"] == 1


def test_taking_replicas_out_of_the_manifest_leaves_what_runs() -> None:
    scene = serving(5)
    spec = {key: value for key, value in scene.service["spec"].items() if key != "replicas"}
    made = dataclasses.replace(scene, service={**scene.service, "spec": spec}).plan()
    assert made.replicas == 5
    assert leader(made)["spec"]["replicas"] == 5


def test_replicas_in_the_spec_are_not_written_again() -> None:
    assert a_scene(a_service().with_replicas(2)).plan().replicas is None


def test_a_scaled_service_says_partly_ready_until_all_are() -> None:
    scene = serving(1).with_spec(replicas=2).settled()
    made = scene.with_pods(a_pod("chat-0").ready(), a_pod("chat-1").loading()).plan()
    assert condition(made, "Serving")["status"] == "True"
    ready = condition(made, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PartlyReady")
    assert ready["message"].startswith("1 of 2 replicas answering; chat-1: it has been loading the model")
    assert condition(made, "Reconciling")["reason"] == "PartlyReady"


def test_scaled_to_zero_is_neither_reconciling_nor_stalled() -> None:
    made = serving(1).with_spec(replicas=0).settled().with_pods().plan()
    assert condition(made, "Ready")["reason"] == "ScaledToZero"
    assert condition(made, "Serving")["status"] == "False"
    assert condition(made, "Scheduled")["status"] == "True"
    assert condition(made, "Reconciling") == condition(made, "Stalled") == {}


def test_a_changed_spec_is_not_ready_before_its_pods_are() -> None:
    scene = serving(2).with_spec(engine={"maxNumSeqs": 7})
    made = scene.plan()
    assert condition(made, "Ready")["reason"] == "Updating"
    assert condition(made, "Ready")["observedGeneration"] == 2
    rolling = scene.settled("r2", before="r1")
    assert condition(rolling.plan(), "Ready")["reason"] == "Updating"
    done = rolling.settled("r2").with_pods(*(a_pod(f"chat-{n}").of_revision("r2").ready() for n in range(2)))
    assert condition(done.plan(), "Ready")["status"] == "True"


def test_transition_times_change_with_the_status_alone() -> None:
    scene = a_scene().settled().at(100).with_pods(a_pod().loading()).settled().at(200)
    made = scene.plan()
    assert condition(made, "Accepted")["lastTransitionTime"] == TRANSITION
    assert condition(made, "Serving")["lastTransitionTime"] == TRANSITION
    assert condition(made, "Scheduled")["lastTransitionTime"] == "2026-01-01T12:01:40Z"


def test_events_tell_changes_once() -> None:
    scene = a_scene().settled().with_pods(a_pod().loading())
    crashed = scene.settled().with_pods(a_pod().ended(1, "ValueError: no such model"))
    (event,) = crashed.plan().events
    assert (event.type, event.reason) == ("Warning", "Crashed")
    assert "no such model" in event.message
    assert crashed.settled().plan().events == ()


def test_an_event_on_loading_is_no_warning() -> None:
    (event,) = a_scene().settled().with_pods(a_pod().loading()).plan().events
    assert (event.type, event.reason) == ("Normal", "Loading")


def test_what_every_start_passes_through_is_no_event() -> None:
    (event,) = a_scene().plan().events
    assert event.reason == "Accepted"
    assert a_scene().settled().with_pods(a_pod().waiting("ContainerCreating")).plan().events == ()


@pytest.mark.parametrize(
    ("kind", "name"), [("StatefulSet", "chat"), ("ConfigMap", "chat-access"), ("PodDisruptionBudget", "chat")]
)
def test_a_child_deleted_by_hand_is_planned_again(kind: str, name: str) -> None:
    planned = serving().without(kind, name).plan().objects
    assert (kind, name) in [(obj["kind"], obj["metadata"]["name"]) for obj in planned]


def test_it_is_told_where_limits_count_per_replica() -> None:
    alone = a_service().with_keys()
    together = alone.with_keys(rateLimits={"store": {"address": "redis:6379"}})
    unlimited = alone.with_keys(rateLimits={"mode": "Disabled"})
    reported = [
        "Each replica counts rate limits" in condition(a_scene(service).plan(), "Accepted")["message"]
        for service in (a_service(), alone, together, unlimited)
    ]
    assert reported == [False, True, False, False]


def test_the_template_follows_from_the_spec_alone() -> None:
    fresh = leader(a_scene().plan())["spec"]["template"]
    later = leader(serving().at(100_000).with_pods(a_pod().ended(1)).plan())["spec"]["template"]
    assert fresh == later
