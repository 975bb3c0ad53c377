"""ScalingActive: what a person reads about the count, and that nothing of it is written again while nothing changes."""

import dataclasses

import msgspec
import pytest

from builders.observed import NOON, Scene, a_scene, condition
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.resources.platform import Adapter, Platform

OWN = Platform(adapter=Adapter.OWN, tolerance_is_settable=True, scales_to_zero=True)
OLD = Platform(adapter=Adapter.OWN)
RISEN = ScalingOutcome(2, "1 -> 2: p99 timeToFirstToken 412 ms, target 200 ms, 1 replica serving")


def scene(least: int = 1, replicas: int = 2, platform: Platform = OWN) -> Scene:
    return a_scene(a_service().with_replicas(replicas).scaled(least)).on(platform).settled().settled().foreseeing(RISEN)


def scaling(of: Scene) -> tuple[str, str, str]:
    found = condition(of.plan(), "ScalingActive")
    return found["status"], found["reason"], found["message"]


def with_complaint(of: Scene, since: str, **fields: str) -> Scene:
    complaint = {"type": "ScalingActive", "status": "False", "lastTransitionTime": since, **fields}
    hpa = {**of.child("HorizontalPodAutoscaler"), "status": {"conditions": [complaint]}}
    return of.without("HorizontalPodAutoscaler", "chat").with_children(hpa)


def test_the_condition_says_why_the_count_is_what_it_is() -> None:
    assert scaling(scene()) == (
        "True",
        "FollowsLatency",
        f"2 desired replicas (1 to 8 allowed); last change {RISEN.why}",
    )


def test_a_service_that_is_not_scaled_has_no_such_condition() -> None:
    made = a_scene(a_service()).on(OWN).settled().plan()
    assert condition(made, "ScalingActive") == {}
    assert not [each for each in made.objects if each["kind"] == "HorizontalPodAutoscaler"]


def test_a_load_beyond_the_most_replicas_is_said() -> None:
    status, reason, message = scaling(scene().foreseeing(msgspec.structs.replace(RISEN, count=8, limited="maximum")))
    assert (status, reason) == ("True", "AtMaximum")
    assert "more than maxReplicas allows" in message


@pytest.mark.parametrize(
    "reason",
    [metrics_unavailable.PROMETHEUS_UNREACHABLE, metrics_unavailable.NO_SERIES, metrics_unavailable.METRICS_API_TAKEN],
)
def test_what_is_missing_is_named_and_the_count_stays(reason: str) -> None:
    made = (
        scene().foreseeing(msgspec.structs.replace(RISEN, gap=MetricsUnavailable(reason, "what is the matter"))).plan()
    )
    found = condition(made, "ScalingActive")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert found["message"] == "what is the matter. Until then the operator does not scale down"
    assert made.scale is None
    (statefulset,) = (each for each in made.objects if each["kind"] == "StatefulSet")
    assert statefulset["spec"]["replicas"] == 2


def test_a_restart_of_the_operator_changes_no_status() -> None:
    before = scene()
    reported = dataclasses.replace(before, service={**before.service, "status": before.plan().status}).settled()
    for outlook in (None, ScalingOutcome(2, "")):
        after = reported.foreseeing(outlook)
        assert condition(after.plan(), "ScalingActive") == condition(before.plan(), "ScalingActive")
        assert not after.plan().events


def test_why_the_count_changed_last_outlives_the_operator_as_a_fact() -> None:
    before = scene().plan().status
    assert before is not None
    assert before["scaling"] == {"desiredReplicas": 2, "lastChange": RISEN.why}
    for each in before["conditions"]:
        each["message"] = "in the words of another version"
    reported = dataclasses.replace(scene(), service={**scene().service, "status": before}).settled()
    assert reported.foreseeing(ScalingOutcome(2, "")).plan().status["scaling"] == before["scaling"]  # type: ignore[index]
    assert RISEN.why in scaling(reported.foreseeing(ScalingOutcome(2, "")))[2]
    assert reported.foreseeing(ScalingOutcome(3, "")).plan().status["scaling"] == {"desiredReplicas": 3}  # type: ignore[index]


def test_a_decision_is_an_event_and_a_repeated_one_is_none() -> None:
    first = scene().foreseeing(ScalingOutcome(2, ""))
    reported = dataclasses.replace(first, service={**first.service, "status": first.plan().status})
    decided = reported.foreseeing(
        ScalingOutcome(3, "2 -> 3: p99 timeToFirstToken 260 ms, target 200 ms, 2 replicas serving")
    )
    (event,) = decided.plan().events
    assert (event.type, event.reason) == ("Normal", "FollowsLatency")
    assert "2 -> 3" in event.message
    assert not dataclasses.replace(decided, service={**decided.service, "status": decided.plan().status}).plan().events


def test_replicas_at_zero_by_hand_switch_the_autoscaler_off_and_the_way_back_is_told() -> None:
    status, reason, message = scaling(scene(least=2, replicas=0))
    assert (status, reason) == ("False", "ScalingDisabled")
    assert "kubectl scale llms/chat --replicas=2" in message


def test_zero_is_no_obstacle_where_it_is_allowed() -> None:
    assert (
        scaling(scene(least=0, replicas=0).foreseeing(ScalingOutcome(0, "1 -> 0: no requests for 300 s")))[0] == "True"
    )


def test_a_zero_by_hand_switches_it_off_where_zero_is_allowed_too() -> None:
    by_hand = scene(least=0, replicas=0)
    off = with_complaint(by_hand, "2026-01-01T12:00:00Z", reason="ScalingDisabled", message="replicas is 0")
    assert scaling(off)[1] == "ScalingDisabled"
    assert "--replicas=1" in scaling(off)[2]
    assert scaling(off.foreseeing(ScalingOutcome(0, "1 -> 0: no requests for 60 s")))[0] == "True"


def test_without_an_adapter_the_condition_names_the_chart_value() -> None:
    status, reason, message = scaling(scene(platform=Platform()))
    assert (status, reason) == ("False", "NoAdapter")
    assert "scaling.adapter" in message


def test_least_replicas_that_find_no_node_are_named() -> None:
    refused = scene(least=2).with_pods(a_pod().unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))
    status, reason, message = scaling(refused)
    assert (status, reason) == ("False", "MinReplicasNotPlaceable")
    assert "Insufficient nvidia.com/gpu" in message


def test_a_target_out_of_reach_is_said() -> None:
    found = scaling(scene().foreseeing(msgspec.structs.replace(RISEN, unreachable="more replicas can't mend that")))
    assert found == ("False", "TargetUnreachable", "more replicas can't mend that")


def test_ready_replicas_without_series_are_named_because_they_keep_the_count_up() -> None:
    status, reason, message = scaling(scene().foreseeing(msgspec.structs.replace(RISEN, measured=(2, 3))))
    assert (status, reason) == ("True", "FollowsLatency")
    assert "2 of 3 ready replicas" in message
    assert "not scale down" in message


def test_the_autoscaler_s_own_complaint_becomes_ours_once_it_lasts() -> None:
    complaint = {"reason": "FailedGetExternalMetric", "message": "no metrics"}
    fresh = with_complaint(scene(), "2026-01-01T11:59:50Z", **complaint)
    assert scaling(fresh)[0] == "True"
    both = (a_pod("chat-0").ready(), a_pod("chat-1").ready())
    assert fresh.with_pods(*both).plan().requeue_after == 35
    status, reason, message = scaling(fresh.at(36))
    assert (status, reason) == ("False", "AutoscalerFails")
    assert "FailedGetExternalMetric: no metrics" in message


def test_a_complaint_about_a_gap_of_before_is_no_news_once_the_load_is_offered_again() -> None:
    complaint = {"reason": "FailedGetExternalMetric", "message": "Prometheus gives no answer"}
    back = with_complaint(scene(), "2026-01-01T11:50:00Z", **complaint).foreseeing(
        msgspec.structs.replace(RISEN, offered_since=NOON)
    )
    assert scaling(back.at(5))[0] == "True"
    both = (a_pod("chat-0").ready(), a_pod("chat-1").ready())
    assert back.at(5).with_pods(*both).plan().requeue_after == 40
    assert scaling(back.at(46))[1] == "AutoscalerFails"


def test_an_older_cluster_s_step_to_zero_is_the_operator_s_own() -> None:
    idle = scene(least=0, replicas=1, platform=OLD).foreseeing(ScalingOutcome(0, "1 -> 0: no requests for 300 s"))
    assert idle.plan().scale == 0
    assert idle.on(OWN).plan().scale is None
    awake = scene(least=0, replicas=0, platform=OLD).foreseeing(ScalingOutcome(1, "0 -> 1: woken"))
    assert awake.plan().scale == 1
    blind = idle.foreseeing(ScalingOutcome(0, "", gap=MetricsUnavailable(metrics_unavailable.NO_SERIES, "none")))
    assert blind.plan().scale is None
    assert scene(least=0, replicas=2, platform=OLD).plan().scale is None


def test_a_new_service_starts_with_its_least_replicas() -> None:
    assert a_scene(a_service().scaled(least=3)).on(OWN).plan().replicas == 3
    assert a_scene(a_service().scaled(least=0)).on(OWN).plan().replicas == 1


def test_handing_the_count_to_the_autoscaler_keeps_it() -> None:
    by_hand = a_scene(a_service().with_replicas(5)).on(OWN).settled()
    handed = by_hand.with_spec(scaling=a_service().scaled().spec["scaling"])
    del handed.service["spec"]["replicas"]
    assert handed.plan().replicas == 5


def test_the_autoscaler_is_made_once_the_scale_subresource_has_a_selector() -> None:
    new = a_scene(a_service().scaled()).on(OWN)
    assert "HorizontalPodAutoscaler" not in [each["kind"] for each in new.plan().objects]
    assert "HorizontalPodAutoscaler" in [each["kind"] for each in new.settled().plan().objects]


def test_the_autoscaler_goes_when_scaling_is_taken_out() -> None:
    before = scene()
    del before.service["spec"]["scaling"]
    assert [each.kind for each in before.plan().deletions] == ["HorizontalPodAutoscaler"]
