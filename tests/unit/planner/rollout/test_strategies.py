"""Which way a rollout goes: in place, or with one more first; and what becomes of the one more."""

from __future__ import annotations

import pytest

from builders.rolling import NEW, OLD, serving
from builders.world_pods import Outcome

QUOTA = "ResourceQuota gpus is exceeded: requested requests.nvidia.com/gpu=1, used requests.nvidia.com/gpu=2"


def test_no_replica_may_be_missing_and_no_gpu_is_spare() -> None:
    world = serving(2, gpus=2, maxUnavailable=0)
    world.change(NEW)
    world.run(300)
    assert world.contexts()[:2] == [OLD] * 2 and world.answering == 2
    assert "maxUnavailable is 0, although no node has 1 nvidia.com/gpu free" in world.condition("RolledOut")["message"]
    world.gpus = 3
    world.until_quiet()
    assert world.contexts() == [NEW] * 2


def test_a_surge_whose_gpu_was_taken_meanwhile_goes_on_in_place() -> None:
    world = serving(2, gpus=3)
    world.change(NEW)
    world.run(1)
    world.operator()
    world.gpus = 2
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [1, 1]


def test_a_surge_that_a_quota_forbids_goes_on_in_place(old_controller: bool) -> None:
    world = serving(2, gpus=3, old_controller=old_controller)
    world.quota = 2
    world.change(NEW)
    world.run(5)
    assert world.statefulset["spec"]["replicas"] == 3, "it is tried"
    world.run(10)
    reported = world.condition("RolledOut")
    assert f"strategy InPlace: a surge pod can't be created: {QUOTA}" in reported["message"]
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [1, 1]
    assert "lacking" not in world.statefulset["metadata"]["annotations"]["llmservice.dev/rollout"]


@pytest.mark.parametrize(
    ("rollout", "why"),
    [
        ({"strategy": "Surge"}, "set by spec.rollout.strategy"),
        ({"maxUnavailable": 0}, "gpu-0 has 1 nvidia.com/gpu free"),
    ],
)
def test_a_surge_that_is_insisted_on_waits_for_the_quota_and_names_it(rollout: dict[str, object], why: str) -> None:
    world = serving(2, gpus=3, **rollout)
    world.quota = 2
    world.change(NEW)
    world.run(300)
    assert (world.contexts(), world.answering) == ([OLD] * 2, 2)
    reported = world.condition("RolledOut")
    assert reported["reason"] == "LeastCapacity"
    assert f"a surge pod must run first ({why}); it can't be created: {QUOTA}" in reported["message"]
    assert [each["reason"] for each in world.service["status"]["findings"]] == ["QuotaExceeded"]
    writes = world.writes
    world.run(60)
    assert world.writes == writes, "it is no news again and again"
    world.quota = 3
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert all(left == 2 for _, left, _ in world.taken_down)


def test_a_surge_waits_for_a_controller_that_is_slow_to_make_it() -> None:
    world = serving(2, gpus=3)
    world.change(NEW)
    while world.statefulset["spec"]["replicas"] < 3:
        world.operator()
        world.controller()
        world.operator()
    world.controller_works = False
    world.run(60)
    world.controller_works = True
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]


def test_a_replaced_pod_waits_for_a_controller_that_is_slow_to_make_it() -> None:
    world = serving(2, gpus=3)
    world.change(NEW)
    while len(world.taken_down) < 1:
        world.tick()
    world.controller_works = False
    world.run(40)
    world.controller_works = True
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert all(left == 2 for _, left, _ in world.taken_down)


def test_one_more_is_not_missing_before_it_was_asked_for() -> None:
    world = serving(2, gpus=5)
    world.change(NEW, Outcome(loads_in=30))
    while world.answering < 3:
        world.tick()
    world.edit(replicas=3)
    world.operator()
    assert "lacking" not in world.statefulset["metadata"]["annotations"]["llmservice.dev/rollout"]
    world.until_quiet()
    assert world.contexts() == [NEW] * 3


def test_one_more_that_is_lost_on_the_way_comes_back() -> None:
    world = serving(2, gpus=3)
    world.change(NEW, Outcome(loads_in=30))
    while world.answering < 3:
        world.tick()
    world.pods[2].gone_at = world.now + 20
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert all(left == 2 for _, left, _ in world.taken_down)


def test_one_more_that_is_lost_and_that_a_quota_forbids_then_is_not_waited_for() -> None:
    world = serving(2, gpus=3)
    world.change(NEW, Outcome(loads_in=30))
    while world.answering < 3:
        world.tick()
    world.pods[2].gone_at, world.quota = world.now, 2
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert all(left >= 1 for _, left, _ in world.taken_down)


@pytest.mark.parametrize("drains_in", [0, 1, 5, 60])
def test_what_replicas_that_are_taken_away_leave_is_surged_onto_however_long_they_take(drains_in: int) -> None:
    world = serving(3, gpus=3)
    world.outcomes[OLD] = Outcome(drains_in=drains_in)
    world.change(NEW, replicas=1)
    world.run(drains_in + 6)
    reported = world.condition("RolledOut")["message"]
    assert "strategy Surge: gpu-0 has 2 nvidia.com/gpu free" in reported
    world.until_quiet()
    assert world.contexts() == [NEW]
    assert [left for _, left, _ in world.taken_down] == [1, 1]


def test_nor_is_the_way_chosen_before_they_are_seen_to_leave() -> None:
    world = serving(3, gpus=3)
    world.change(NEW, replicas=2)
    while not any(pod.gone_at for pod in world.pods.values()):
        world.tick()
    reported = world.pods[2].gone_at
    world.pods[2].gone_at = None
    world.operator()
    assert "strategy" not in world.statefulset["metadata"]["annotations"]["llmservice.dev/rollout"]
    world.pods[2].gone_at = reported
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert all(left == 2 for _, left, _ in world.taken_down)


def test_a_replica_that_never_goes_is_not_waited_for_without_end() -> None:
    world = serving(3, gpus=3)
    world.never_go = {2}
    world.change(NEW, replicas=2)
    world.run(10)
    assert "0 of 2 replicas updated (waiting for terminating pods)" in world.condition("RolledOut")["message"]
    world.run(40)
    assert "strategy InPlace: no node has 1 nvidia.com/gpu free" in world.condition("RolledOut")["message"]


def test_in_place_as_none_answered_is_no_longer_the_way_once_they_do_and_none_may_be_missing() -> None:
    world = serving(2, gpus=3, maxUnavailable=0, old_controller=True)
    world.edit(replicas=0)
    world.until_quiet()
    world.edit(replicas=1)
    world.run(1)
    world.change(NEW, replicas=2)
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW] * 2, 2)


def test_where_no_replica_answers_none_that_leaves_is_waited_for() -> None:
    world = serving(2, gpus=2)
    world.outcomes[OLD] = Outcome(crashes=True)
    world.crash(0)
    world.crash(1)
    world.run(40)
    world.change(NEW)
    world.pods[1].gone_at = world.now + 60
    world.run(30)
    assert (world.contexts()[0], world.answering) == (NEW, 1)


def test_the_one_more_that_is_given_up_does_not_count_as_one_that_stays() -> None:
    """The first replica asks for more than is left: the one more ends for it, and no other one before it answers."""
    world = serving(2, gpus=4, source="s3://models/chat")
    world.change(NEW, parallelism={"tensor": 2})
    surged = False
    for _ in range(200):
        world.tick()
        surged |= 2 in world.pods
        if surged and world.statefulset["spec"]["replicas"] == 2 and not world.pods[1].ready:
            assert world.statefulset["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 1
    assert surged
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [2, 1, 1]


def test_a_rollout_that_waits_for_a_replica_says_where_its_cause_is() -> None:
    world = serving(3, gpus=3)
    world.change(NEW)
    said = set[str]()
    for _ in range(30):
        world.run(5)
        said.add(world.condition("RolledOut")["message"])
    waits = "2 of 3 replicas ready, at least 2 required; the condition Serving says why the others are not"
    assert f"0 of 3 replicas updated; the next update waits: {waits}" in said


@pytest.mark.parametrize("strategy", ["Auto", "Surge"])
@pytest.mark.parametrize("fails", [False, True], ids=["rolled-out", "rolled-back"])
def test_a_pod_that_the_scheduler_refuses_for_a_moment_keeps_the_surge_pod(fails: bool, strategy: str) -> None:
    """The scheduler may learn of a new pod before it learns which devices the pod before it has freed."""
    world = serving(2, gpus=3, strategy=strategy)
    world.refused_for = 5
    world.change(NEW)
    fewest = 2
    for _ in range(300):
        if fails and 1 in world.pods and world.pods[1].ready and world.contexts()[1] == NEW:
            world.outcomes[NEW] = Outcome(crashes=True)
        world.tick()
        fewest = min(fewest, world.answering)
    assert fewest == 2
    assert (world.contexts(), world.answering) == ([OLD if fails else NEW] * 2, 2)


def test_a_surge_pod_gives_its_device_to_a_replica_that_the_scheduler_refuses_for_long() -> None:
    world = serving(2, gpus=3, strategy="Surge")
    world.change(NEW)
    while world.contexts()[1:] != [NEW] * 2 or not world.pods[1].ready:
        world.tick()
    world.unusable = 1
    world.run(20)
    assert (len(world.pods), world.answering) == (3, 2), "the scheduler may find a node yet"
    world.unusable = 0
    world.gpus = 2
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW] * 2, 2)
