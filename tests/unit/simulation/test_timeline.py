"""The simulation compared with a second simulated cluster, which only tests use: any change, in any state."""

from __future__ import annotations

import copy
import itertools
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.services import a_service, merged
from builders.world import World
from builders.world_pods import Pod
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform
from llmservice_operator.simulation.scheduler import ClusterCapacity, Quota
from llmservice_operator.simulation.simulate import End, SimulationResult, simulate
from llmservice_operator.simulation.timeline import Action
from support.campaign import FULL

EXAMPLES = 300 if FULL else 10

KIND = "requests.nvidia.com/gpu"
QUOTAS = st.sampled_from([None, None, 0, 1])
"""GPUs that a quota allows beside those of the replicas; None without one."""
CHANGES = st.lists(
    st.sampled_from(
        [
            {"model": {"maxContextLength": 2048}},
            {"model": {"maxContextLength": 3072}},
            {"replicas": 0},
            {"replicas": 1},
            {"replicas": 2},
            {"replicas": 4},
            {"access": {"caps": {"maxTokens": 77}}},
            {"rollout": {"maxUnavailable": 2}},
            {"rollout": {"strategy": "Surge", "maxUnavailable": 0}},
            {"rollout": {"paused": True}},
            {"cache": {"size": "10Gi"}},
            {"shutdown": {"drainSeconds": 20}},
            {"engine": {"maxNumSeqs": 16}},
        ]
    ),
    max_size=3,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    replicas=st.integers(0, 4),
    spare=st.integers(0, 2),
    quota=QUOTAS,
    ranks=st.sampled_from([1, 1, 1, 2]),
    rollout=st.sampled_from([{}, {"strategy": "InPlace"}, {"strategy": "Surge"}, {"maxUnavailable": 0}]),
    changes=CHANGES,
    before=st.integers(0, 12),
    first=CHANGES,
    old_controller=st.booleans(),
)
def test_the_end_is_the_one_that_comes(
    replicas: int,
    spare: int,
    quota: int | None,
    ranks: int,
    rollout: dict[str, Any],
    changes: list[dict[str, Any]],
    before: int,
    first: list[dict[str, Any]],
    old_controller: bool,
) -> None:
    """``first`` is under way for ``before`` seconds when the change is made."""
    service = a_service().from_source("s3://models/chat").read().with_replicas(replicas)
    service = service.spread_over(tensor=ranks, nodes=ranks).with_spec(
        model={"maxContextLength": 1024}, rollout=rollout
    )
    world = World(service, ranks * (replicas + spare), old_controller=old_controller)
    world.platform = Platform(max_node_provision_seconds=0)
    world.until_quiet()
    world.quota = quota if quota is None else ranks * replicas + quota
    world.edit(**_together(first))
    world.run(before)
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], _together(changes))
    seen = simulated(world, wanted)
    world.edit(**_together(changes))
    world.until_quiet()
    assert seen.after.ready == world.answering
    assert seen.after.devices == world.gpus - world.free
    assert seen.after.replicas == world.wanted
    done = world.condition("RolledOut").get("status") == "True" and world.answering >= world.wanted
    assert (seen.end is End.DONE) == done, (seen.end, seen.why)


class Watched(World):
    """A world that records which pods were deleted, in which order, and the extremes of each second."""

    def watch(self) -> None:
        self.deleted: list[str] = []
        self.least, self.most = self.answering, self.gpus - self.free

    def tick(self) -> None:
        super().tick()
        if hasattr(self, "deleted"):
            self.least = min(self.least, self.answering)
            self.most = max(self.most, self.gpus - self.free)

    def _leave(self, pod: Pod) -> None:
        if hasattr(self, "deleted") and pod.gone_at is None:
            self.deleted.append(f"{names.engine_statefulset('chat', pod.rank)}-{pod.number}")
        super()._leave(pod)


def test_the_simulation_of_a_gang_without_room_ends_although_its_gates_are_removed_from_time_to_time() -> None:
    service = a_service().from_source("s3://models/chat").read().with_replicas(3)
    service = service.spread_over(tensor=2, nodes=2).with_spec(rollout={"maxUnavailable": 0})
    world = World(service, 2 * 3)
    world.until_quiet()
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], {"model": {"maxContextLength": 3072}})
    for spec in ({}, {"scheduling": {"maxNodeProvisionSeconds": 3600}}):
        wanted["spec"] = merged(wanted["spec"], spec)
        assert simulated(world, wanted).end is not End.DONE


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    replicas=st.integers(0, 4),
    spare=st.integers(0, 2),
    quota=QUOTAS,
    ranks=st.sampled_from([1, 1, 2]),
    rollout=st.sampled_from([{}, {"strategy": "InPlace"}, {"strategy": "Surge"}, {"maxUnavailable": 0}]),
    changes=CHANGES,
    old_controller=st.booleans(),
)
def test_so_are_the_pods_that_go_their_order_the_least_capacity_and_the_peak(
    replicas: int,
    spare: int,
    quota: int | None,
    ranks: int,
    rollout: dict[str, Any],
    changes: list[dict[str, Any]],
    old_controller: bool,
) -> None:
    service = a_service().from_source("s3://models/chat").read().with_replicas(replicas)
    service = service.spread_over(tensor=ranks, nodes=ranks).with_spec(
        model={"maxContextLength": 1024}, rollout=rollout
    )
    world = Watched(service, ranks * (replicas + spare), old_controller=old_controller)
    world.platform = Platform(max_node_provision_seconds=0)
    world.until_quiet()
    world.quota = quota if quota is None else ranks * replicas + quota
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], _together(changes))
    seen = simulated(world, wanted)
    world.watch()
    world.edit(**_together(changes))
    world.until_quiet()
    gone = [step.pods for step in seen.steps if step.action not in (Action.START, Action.START_SURGE)]
    assert sorted(itertools.chain(*gone)) == sorted(world.deleted)
    first = [{pod for pod in pods if "-r" not in pod} for pods in gone]  # of two at once the others' order is by chance
    order = (pod for pod in world.deleted if "-r" not in pod)
    assert first == [set(itertools.islice(order, len(pods))) for pods in first], world.deleted
    assert (seen.least_ready, seen.most_devices) == (world.least, world.most)


def simulated(world: World, wanted: dict[str, Any]) -> SimulationResult:
    """The simulation of the service with this spec, from the world as it is."""
    used = Fraction(sum(map(world._devices, world.all_pods)))
    quotas = [] if world.quota is None else [Quota("gpus", {KIND: Fraction(world.quota)}, {KIND: used})]
    ground = ClusterCapacity(nodes=[world._node()], quotas=quotas)
    return simulate(world.observe(None), wanted, ground, before_1_37=world.old_controller)


def _together(changes: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for each in changes:
        result = merged(result, each)
    return result
