"""`kubectl llm plan` as a person meets it: the outcome in a sentence, the steps, and the exit status."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest

from builders.services import a_service
from builders.world import World
from unit.cli.person import CHANGE, FAILED, FAILS, LONGER, NOTHING, Person


def test_the_first_line_says_the_outcome_and_steps_and_differences_follow(person: Person) -> None:
    done = person.plan(person.manifest(LONGER))
    assert done.status == CHANGE
    lines = done.out.splitlines()
    assert lines[0] == (
        "team-a/chat: all 3 replicas are replaced one after the other; never fewer than 2 of 3 ready; "
        "no extra GPU needed."
    )
    assert [line.split() for line in lines if "is replaced" in line] == [
        [f"{step}.", f"chat-{3 - step}", "is", "replaced", "2", "3"] for step in (1, 2, 3)
    ]
    assert any(line.startswith("  strategy InPlace: ") for line in lines)
    assert "  spec.model.maxContextLength: nothing -> 2048   replaces pods" in lines
    assert "      data.MODEL_MAX_CONTEXT_LENGTH: nothing -> 2048" in lines


def test_what_runs_already_changes_nothing(person: Person) -> None:
    done = person.plan(person.manifest())
    assert (done.status, done.out) == (NOTHING, "team-a/chat: nothing changes.\n")


def test_nothing_is_written(person: Person) -> None:
    before = copy.deepcopy(person.api.objects)
    person.plan(person.manifest(LONGER | {"replicas": 2}))
    assert person.api.objects == before
    assert person.api.dry_runs and all("dryRun=All" in target for _, target, _ in person.api.dry_runs)
    assert not [call for call in person.api.calls if not call.startswith(("get", "list"))]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replicas": 2}, "1 replica stops; 1 GPU becomes free."),
        ({"access": {"caps": {"maxTokens": 7}}}, "no restarts (1 child changes)."),
        ({"rollout": {"onFailure": "Pause"}}, "no restarts (only the spec changes)."),
        (LONGER | {"rollout": {"paused": True}}, "no restarts (spec.rollout.paused is true)."),
        (LONGER | {"replicas": 2}, "1 replica stops and 2 of 3 replicas are replaced one after the other;"),
    ],
)
def test_each_outcome_is_a_sentence(person: Person, change: dict[str, Any], says: str) -> None:
    done = person.plan(person.manifest(change))
    assert done.status == CHANGE
    assert done.out.startswith(f"team-a/chat: {says}")


def test_more_replicas_than_gpus_can_t_succeed(person: Person) -> None:
    done = person.plan(person.manifest({"replicas": 5}))
    assert done.status == FAILS
    assert done.out.startswith("team-a/chat: can't succeed: the rollout stops before it is complete.\n")
    assert "gpu-0 has 0 of 3 free" in done.out


def test_a_quota_is_read_and_told(person: Person) -> None:
    person.runs(2, 3)
    hard = {"requests.nvidia.com/gpu": "2"}
    quota = {"metadata": {"name": "team", "namespace": "team-a"}, "status": {"hard": hard, "used": hard}}
    person.api.around["resourcequotas"] = [quota]  # type: ignore[index]
    reported = person.json(LONGER)
    assert (reported["end"], reported["leastReady"]) == ("Done", 1)
    assert "ResourceQuota team is exceeded: requested requests.nvidia.com/gpu=1" in reported["strategies"][-1]["reason"]


def test_a_new_service(person: Person) -> None:
    manifest = person.manifest({"replicas": 2}) | {"metadata": {"name": "other"}}
    person.runs(1, 3)
    done = person.plan(manifest)
    assert done.status == CHANGE
    assert done.out.startswith("team-a/other: a new service: 2 replicas start; 2 more GPUs needed.\n")
    assert "  + StatefulSet other" in done.out.splitlines()
    assert person.plan(manifest | {"spec": {**manifest["spec"], "replicas": 3}}).status == FAILS


def test_an_object_of_others_in_the_way(person: Person) -> None:
    taken = {"metadata": {"name": "other", "namespace": "team-a", "uid": "x"}, "spec": {}}
    person.api.around["services"].append(taken)  # type: ignore[index, union-attr]
    reported = person.plan(person.manifest() | {"metadata": {"name": "other"}}, options="-o json").json["services"][0]
    assert (reported["outcome"], reported["end"]) == ("CannotSucceed", "NotAccepted")
    assert "Service other already exists" in reported["why"]


def test_what_is_under_way_goes_on(person: Person) -> None:
    world = World(a_service().from_source("s3://models/chat").read().with_replicas(3), 3)
    world.until_quiet()
    world.edit(**LONGER)
    world.run(4)
    person.api.shows(world)
    done = person.plan(person.manifest())
    assert done.status == NOTHING
    assert done.out.startswith("team-a/chat: nothing changes; the current rollout continues.\n")
    assert "is replaced" in done.out


def test_a_service_that_is_being_deleted_is_not_planned(person: Person) -> None:
    person.api.objects["LLMService", "team-a", "chat"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    done = person.plan(person.manifest(LONGER))
    assert (done.status, "is being deleted" in done.err) == (FAILED, True)


def test_other_commands_don_t_pay_for_it() -> None:
    code = "import sys; from llmservice_operator.cli import main, plan; print([m for m in sys.modules if 'core.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
