"""Whatever is done to a service in whatever order: capacity is kept, and the end is what the spec asks for."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome
from llmservice_operator.planner.model.canary_counts import CanaryCounts, RequestCounts
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform
from support.campaign import FULL

EXAMPLES = 300 if FULL else 8
GOOD = st.sampled_from([1024, 2048, 3072])
OUTCOMES = {
    4096: Outcome(crashes=True),
    5120: Outcome(loads_in=100_000),
    1024: Outcome(loads_in=3),
    2048: Outcome(loads_in=9, drains_in=5),
    3072: Outcome(loads_in=20, drains_in=0),
}
CONTEXTS = st.sampled_from(sorted(OUTCOMES))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), CONTEXTS),
        st.tuples(st.just("scale"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
        st.tuples(st.just("lag"), st.integers(1, 8)),
        st.tuples(st.just("crash"), st.integers(0, 4)),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("quota"), st.integers(0, 5)),
        st.tuples(st.just("away"), st.integers(1, 60)),
        st.tuples(st.just("fails"), st.integers(0, 20)),
    ),
    max_size=12,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    replicas=st.integers(1, 4),
    spare=st.integers(0, 2),
    unavailable=st.integers(0, 2),
    strategy=st.sampled_from(["Auto", "InPlace", "Surge"]),
    first=GOOD,
    last=GOOD,
    steps=STEPS,
    old_controller=st.booleans(),
    tight=st.booleans(),
    canary=st.booleans(),
)
@example(  # a quota that was lowered while the surge pod ran
    replicas=2,
    spare=1,
    unavailable=1,
    strategy="Auto",
    first=2048,
    last=1024,
    steps=[("change", 1024), ("change", 1024)],
    old_controller=False,
    tight=True,
    canary=False,
)
def test_capacity_is_kept_and_the_end_is_reached(
    replicas: int,
    spare: int,
    unavailable: int,
    strategy: str,
    first: int,
    last: int,
    steps: list[tuple[str, int]],
    old_controller: bool,
    tight: bool,
    canary: bool,
) -> None:
    """``tight``: a quota leaves no more than it takes in the end. ``canary``: each rollout has one, and the step
    ``fails`` says how many of its requests fail."""
    unavailable = max(unavailable, strategy == "InPlace")
    rollout: dict[str, object] = {"strategy": strategy, "maxUnavailable": unavailable}
    rollout |= {"canary": {"durationSeconds": 10, "deadlineSeconds": 40}} if canary else {}
    service = a_service().with_replicas(replicas).with_spec(model={"maxContextLength": first}, rollout=rollout)
    world = World(service, replicas + spare, old_controller=old_controller)
    world.outcomes |= OUTCOMES
    world.platform = Platform(gateway_url="http://gateway:9090")
    world.until_quiet()
    for what, value in steps:
        match what:
            case "change":
                world.change(value, OUTCOMES[value])
            case "scale":
                world.edit(replicas=value)
            case "lag":
                world.controller_works = False
                world.run(value)
                world.controller_works = True
            case "crash":
                world.crash(value)
                world.run(30)
            case "quota":
                world.quota = value or None
            case "away":
                world.operator_works = False
                world.run(value)
                world.operator_works = True
            case "fails":
                counted = CanaryCounts(RequestCounts(20, value), RequestCounts(400))
                world.canaries = dict.fromkeys(world.revisions, counted)
            case "pause":
                world.edit(rollout={"paused": value})
        world.run(value if what == "wait" else 1)
        held(world, unavailable)
        assert world.statefulset["spec"]["replicas"] <= world.wanted + 1
    world.edit(rollout={"paused": False}, replicas=replicas)
    world.gpus = replicas + max(spare, unavailable == 0, strategy == "Surge")
    world.quota = replicas + max(unavailable == 0, strategy == "Surge") if tight else None
    world.canaries = {}
    # A spec that a canary has failed is not tried again by itself.
    world.service["metadata"].setdefault("annotations", {})[names.REFRESH_ANNOTATION] = "again"
    world.change(last, OUTCOMES[last])
    world.until_quiet()
    held(world, unavailable)
    assert world.contexts() == [last] * replicas
    assert world.answering == replicas
    assert world.condition("RolledOut")["status"] == "True"
    assert "canary" not in world.service["status"]
    assert world.statefulset["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 0


def held(world: World, unavailable: int) -> None:
    """No rollout stopped a replica that was promised."""
    for when, left, promised in world.taken_down:
        assert left >= promised - unavailable, (when, left, promised)
    world.taken_down.clear()
