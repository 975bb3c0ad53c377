"""Rollouts from their beginning to their end, on a simulated cluster."""

from __future__ import annotations

from builders.rolling import BAD, NEW, OLD, serving
from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome


def test_without_a_spare_gpu_replicas_are_replaced_in_place_one_at_a_time(old_controller: bool) -> None:
    world = serving(3, gpus=3, old_controller=old_controller)
    world.change(NEW)
    world.run(3)
    assert "strategy InPlace: no node has 1 nvidia.com/gpu free" in world.condition("RolledOut")["message"]
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]
    assert world.condition("RolledOut")["reason"] == "RolledOut"
    assert world.condition("Ready")["status"] == "True"


def test_with_a_spare_gpu_one_more_runs_meanwhile_and_goes(old_controller: bool) -> None:
    world = serving(2, gpus=3, old_controller=old_controller)
    world.change(NEW)
    world.run(4)
    assert world.statefulset["spec"]["replicas"] == 3
    assert "strategy Surge: gpu-0 has 1 nvidia.com/gpu free" in world.condition("RolledOut")["message"]
    assert world.service["status"]["replicas"] == 2, "an autoscaler must not count it"
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2], "the last one is the one more"


def test_a_single_replica_is_replaced_without_a_gap_where_there_is_room() -> None:
    world = serving(1, gpus=2)
    world.change(NEW)
    for _ in range(40):
        world.tick()
        assert world.answering >= 1
    assert world.contexts() == [NEW]


def test_a_revision_that_crashes_goes_back_by_itself_and_is_not_tried_again(old_controller: bool) -> None:
    world = serving(3, gpus=3, old_controller=old_controller)
    world.change(BAD, Outcome(crashes=True, says="head size 80 is not supported"))
    world.until_quiet()
    assert world.contexts() == [OLD] * 3
    assert [left for _, left, _ in world.taken_down] == [2]
    reported = world.condition("RolledOut")
    assert (reported["status"], reported["reason"]) == ("False", "RolledBack")
    assert "chat-2: the engine ended with exit code 1: head size 80 is not supported" in reported["message"]
    assert world.condition("Ready")["reason"] == "RolledBack"
    (found,) = world.service["status"]["findings"]
    assert (found["reason"], found["certainty"]) == ("Crashed", "Likely"), "the cause for which it went back"
    assert world.condition("Stalled")["status"] == "True"
    made = len(world.revisions)
    world.run(600)
    assert len(world.revisions) == made and world.contexts() == [OLD] * 3


def test_going_back_keeps_capacity_too(old_controller: bool) -> None:
    world = serving(3, gpus=3, old_controller=old_controller)
    world.change(BAD)
    while world.contexts() != [OLD, OLD, BAD] or world.answering < 3:
        world.tick()
    world.outcomes[BAD] = Outcome(crashes=True)
    world.until_quiet()
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert world.contexts() == [OLD] * 3
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2], "two that went forth, one that went back"


def test_a_revision_that_hangs_goes_back_after_a_multiple_of_what_others_took() -> None:
    world = serving(2, gpus=2)
    began = world.now
    world.change(BAD, Outcome(loads_in=100_000))
    while world.condition("RolledOut").get("reason") != "RolledBack":
        world.tick()
    assert 120 <= world.now - began <= 160, "three times the 5 s that others took, and two minutes"
    world.until_quiet()
    assert world.contexts() == [OLD] * 2
    said = world.condition("RolledOut")["message"]
    assert "chat-1: it was not ready 2 min 15 s after its start; others took 5 s" in said


def test_another_model_gets_the_whole_time_of_its_size() -> None:
    world = serving(1, gpus=1)
    world.change(NEW, Outcome(loads_in=500), model={"source": "pvc://models/other"})
    world.until_quiet()
    assert world.contexts() == [NEW]


def test_a_replica_that_finds_no_node_any_more_goes_back() -> None:
    world = serving(2, gpus=2, source="s3://models/chat")
    world.edit(parallelism={"pipeline": 2})
    world.until_quiet()
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert "Insufficient nvidia.com/gpu" in world.condition("RolledOut")["message"]
    assert world.answering == 2


def test_a_spec_corrected_while_stuck_needs_no_hand(old_controller: bool) -> None:
    world = serving(3, gpus=3, old_controller=old_controller)
    world.change(BAD, Outcome(loads_in=100_000))
    world.run(30)
    assert BAD in world.contexts()
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert all(left >= 2 for _, left, _ in world.taken_down)


def test_a_service_that_never_served_takes_a_corrected_spec_with_all_replicas_at_once() -> None:
    world = World(a_service().with_replicas(3).with_spec(model={"maxContextLength": BAD}), gpus=3)
    world.outcomes[BAD] = Outcome(crashes=True)
    world.run(60)
    assert world.answering == 0
    began = world.now
    world.change(NEW, Outcome(loads_in=50))
    while world.answering < 3:
        world.tick()
    assert world.now - began < 80, "not one after the other"


def test_what_never_served_is_not_gone_back_to() -> None:
    world = World(a_service().with_replicas(1).with_spec(model={"maxContextLength": BAD}), gpus=1)
    world.outcomes[BAD] = Outcome(crashes=True)
    world.run(60)
    world.change(NEW, Outcome(crashes=True))
    world.run(600)
    assert world.contexts() == [NEW]
    assert world.condition("RolledOut")["reason"] != "RolledBack"


def test_what_never_found_a_node_is_not_taken_for_good() -> None:
    world = World(a_service().with_replicas(1).with_spec(model={"maxContextLength": OLD}), gpus=0)
    world.run(60)
    assert '"done"' not in world.statefulset["metadata"]["annotations"]["llmservice.dev/rollout"]
    writes = world.writes
    world.gpus = 1
    world.change(BAD, Outcome(crashes=True))
    world.run(300)
    assert world.contexts() == [BAD] and world.writes > writes
    assert world.condition("RolledOut")["reason"] != "RolledBack"


def test_after_going_back_the_spec_before_is_rolled_out_without_touching_a_pod() -> None:
    world = serving(2, gpus=2)
    world.change(BAD, Outcome(crashes=True))
    world.until_quiet()
    pods = [pod.uid for pod in world.pods.values()]
    world.change(OLD)
    world.until_quiet()
    assert [pod.uid for pod in world.pods.values()] == pods
    assert world.condition("RolledOut")["status"] == "True"


def test_the_same_spec_is_tried_again_once_somebody_says_that_a_secret_has_changed() -> None:
    world = serving(2, gpus=2)
    world.change(BAD, Outcome(crashes=True))
    world.until_quiet()
    world.outcomes[BAD] = Outcome()
    world.service["metadata"]["annotations"] = {"llmservice.dev/refresh": "now"}
    world.until_quiet()
    assert world.contexts() == [BAD] * 2


def test_scaled_to_zero_after_going_back_it_comes_up_with_what_was_good() -> None:
    world = serving(2, gpus=2)
    world.change(BAD, Outcome(crashes=True))
    world.until_quiet()
    world.edit(replicas=0)
    world.until_quiet()
    assert world.contexts() == []
    world.edit(replicas=1)
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([OLD], 1)
    assert world.condition("RolledOut")["reason"] == "RolledBack"


def test_pause_on_failure_leaves_the_failed_replica_to_be_looked_at() -> None:
    world = serving(2, gpus=2, onFailure="Pause")
    world.change(BAD, Outcome(crashes=True))
    world.run(600)
    assert world.contexts() == [OLD, BAD]
    assert world.condition("RolledOut")["reason"] == "RolloutFailed"


def test_paused_replaces_nothing_and_adds_replicas_of_what_runs() -> None:
    world = serving(2, gpus=4)
    world.change(NEW, rollout={"paused": True})
    world.until_quiet()
    assert world.contexts() == [OLD] * 2
    assert world.condition("RolledOut")["reason"] == "Paused"
    world.edit(replicas=3)
    world.until_quiet()
    assert world.contexts() == [OLD] * 3
    world.edit(rollout={"paused": False})
    world.until_quiet()
    assert world.contexts() == [NEW] * 3


def test_replicas_that_are_added_while_it_rolls_run_what_is_proven_until_their_turn() -> None:
    world = serving(3, gpus=5, strategy="InPlace")
    world.change(NEW, Outcome(loads_in=30))
    world.run(8)
    assert world.contexts() == [OLD, OLD, NEW]
    world.edit(replicas=5)
    world.run(6)
    assert world.contexts() == [OLD, OLD, NEW, OLD, OLD]
    world.until_quiet()
    assert world.contexts() == [NEW] * 5


def test_replicas_that_are_added_before_the_controller_has_seen_the_last_step_run_what_is_proven() -> None:
    world = serving(3, gpus=5, strategy="InPlace")
    world.change(NEW, Outcome(loads_in=30))
    while world.contexts()[2:] != [NEW] or world.answering < 3:
        world.tick()
    world.operator()
    assert world.statefulset["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 1
    world.edit(replicas=5)
    world.operator()
    world.run(3)
    assert world.contexts()[3:] == [OLD, OLD]
    world.until_quiet()
    assert world.contexts() == [NEW] * 5


def test_a_replica_more_that_runs_already_stays_when_the_spec_changes_again(old_controller: bool) -> None:
    world = serving(2, gpus=3, old_controller=old_controller)
    world.change(NEW, Outcome(loads_in=30))
    while world.answering < 3:
        world.tick()
    world.run(8)
    world.change(NEW + 1)
    for _ in range(200):
        world.tick()
        assert world.answering >= 2
    assert world.contexts() == [NEW + 1] * 2


def test_taking_replicas_away_while_it_rolls_holds_it_until_they_are_gone() -> None:
    world = serving(4, gpus=4, strategy="InPlace")
    for context in (OLD, NEW):
        world.outcomes[context] = Outcome(drains_in=60)
    world.change(NEW, Outcome(drains_in=60))
    while world.contexts() != [OLD, OLD, OLD, NEW] or world.answering < 4:
        world.tick()
    world.edit(replicas=3)
    began = world.now
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert all(when >= began + 60 for when, _, _ in world.taken_down if when > began)


def test_a_replica_that_has_no_place_holds_nothing_up_and_is_no_failure(old_controller: bool) -> None:
    world = serving(2, gpus=2, old_controller=old_controller)
    world.edit(replicas=3)
    world.run(60)
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert all(left >= 1 for _, left, _ in world.taken_down)
    assert world.condition("RolledOut")["status"] == "True"


def test_an_old_replica_that_is_broken_is_replaced_first_where_no_other_may_go() -> None:
    world = serving(3, gpus=3)
    world.outcomes[OLD] = Outcome(crashes=True)
    world.crash(0)
    world.run(60)
    assert world.answering == 2
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert all(left >= 2 for _, left, _ in world.taken_down)


def test_what_crashes_long_after_a_rollout_is_no_failure_of_it() -> None:
    world = serving(2, gpus=2)
    world.change(NEW)
    world.until_quiet()
    world.outcomes[NEW] = Outcome(crashes=True)
    world.crash(1)
    world.run(600)
    assert world.contexts() == [NEW] * 2
    assert world.condition("RolledOut")["status"] == "True"


def test_a_template_that_was_changed_by_hand_is_put_right_step_by_step() -> None:
    world = serving(3, gpus=3)
    world.edit_child(
        "StatefulSet", "chat", lambda child: child["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=1)
    )
    world.until_quiet()
    assert world.statefulset["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 1
    assert len({pod.revision for pod in world.pods.values()}) == 1
    assert all(left >= 2 for _, left, _ in world.taken_down)


def test_what_is_told_never_goes_back_and_forth() -> None:
    world = serving(3, gpus=3)
    world.change(NEW, Outcome(loads_in=20))
    reported: list[str] = []
    world.tick()
    while world.condition("RolledOut")["status"] == "False":
        said = world.condition("RolledOut")["message"].partition(" of 3")[0]
        reported += [said] if reported[-1:] != [said] else []
        world.tick()
    assert reported == ["0", "1", "2", "3"]


def test_at_rest_nothing_is_written() -> None:
    world = serving(3, gpus=4)
    world.change(NEW)
    world.until_quiet()
    before = world.writes
    world.run(50)
    assert world.writes == before
