"""The workload: what a user does with a service from its creation to its end, step by step."""

import dataclasses
import time
from collections.abc import Callable

from campaigns import snapshot
from campaigns.world import NAME, SPEC, World
from llmservice_operator.resources.names import ACCESS_ANNOTATION, REFRESH_ANNOTATION

CONVERGES_WITHIN = 60.0
"""Seconds in which a step must come to its end state, a crash and a restart of the operator included."""


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that a user does, and how it shows that it is done."""

    name: str
    act: Callable[[World], None]
    done: Callable[[World], bool]


def _create(world: World) -> None:
    body = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": {"name": NAME}, "spec": SPEC}
    answer = world.request("POST", "LLMService", body=body)
    assert answer.ok, answer.message


def _ready(replicas: int) -> Callable[[World], bool]:
    def done(world: World) -> bool:
        status = world.get("LLMService").get("status", {})
        return (
            world.condition("Ready") == "True"
            and not world.condition("Reconciling")
            and status.get("readyReplicas") == replicas
        )

    return done


def _scale(world: World) -> None:
    answer = world.request("PATCH", "LLMService", f"{NAME}/scale", {"spec": {"replicas": 2}})
    assert answer.ok, answer.message


def _ask(world: World) -> None:
    """New caps, and changed Secrets: both concern running pods."""
    change = {"metadata": {"annotations": {REFRESH_ANNOTATION: "now"}}, "spec": {"access": {"caps": {"maxTokens": 7}}}}
    answer = world.request("PATCH", "LLMService", NAME, change)
    assert answer.ok, answer.message


def _told(world: World) -> bool:
    found = world.snapshot()
    reported = [each["reported"] for name, each in found.items() if name.startswith("Pod ")]
    return (
        '"maxTokens":7' in found[f"ConfigMap {NAME}-access"]["data"]["access.json"]
        and bool(reported)
        and all(set(each) == {REFRESH_ANNOTATION, ACCESS_ANNOTATION} for each in reported)
        and _ready(2)(world)
    )


def _change(world: World) -> None:
    answer = world.request("PATCH", "LLMService", NAME, {"spec": {"engine": {"maxNumSeqs": 17}}})
    assert answer.ok, answer.message


def _changed(world: World) -> bool:
    own = [name for name in world.snapshot() if name.startswith(f"ConfigMap {NAME}-")]  # environment and access
    stateful_set = world.get("StatefulSet")
    rolled = stateful_set.get("status", {}).get("updatedReplicas") == 2
    return len(own) == 2 and rolled and _ready(2)(world)


def _delete_child(world: World) -> None:
    answer = world.request("DELETE", "Service", NAME)
    assert answer.ok, answer.message


def _child_is_back(world: World) -> bool:
    return bool(world.get("Service")) and _ready(2)(world)


def _delete(world: World) -> None:
    answer = world.request("DELETE", "LLMService", NAME)
    assert answer.ok, answer.message


def _gone(world: World) -> bool:
    return not world.snapshot()


STEPS = (
    Step("create", _create, _ready(1)),
    Step("scale to 2", _scale, _ready(2)),
    Step("ask the pods to look", _ask, _told),
    Step("change a field", _change, _changed),
    Step("delete a child", _delete_child, _child_is_back),
    Step("delete the service", _delete, _gone),
)


def run_undisturbed(world: World) -> list[snapshot.Snapshot]:
    """The workload with nothing in its way: the snapshot at the end of each step."""
    found = []
    for step in STEPS:
        step.act(world)
        world.wait(lambda step=step: step.done(world), f"end of step {step.name!r}")
        world.wait_for_silence(2.0)
        found.append(world.snapshot())
    return found


def run_disturbed(world: World, wanted: list[snapshot.Snapshot]) -> None:
    """The workload again: each step must come to the same end, and then be quiet.

    AssertionError with the difference, and the operator's log.
    """
    for step, want in zip(STEPS, wanted, strict=True):
        step.act(world)
        _converge(world, step.name, want)
        if step is STEPS[-2]:
            world.wait_for_silence(2.0)
            _converge(world, "silence", want)


def _converge(world: World, name: str, want: snapshot.Snapshot) -> None:
    deadline = time.monotonic() + CONVERGES_WITHIN
    while different := snapshot.difference(want, world.snapshot()):
        world.check_operator()
        assert time.monotonic() < deadline, f"step {name!r} ends differently:\n{different}\n{world.log()}"
        time.sleep(0.2)
