"""Rollouts while a hub, an object store or a registry does not answer: that is no fault of the spec."""

from __future__ import annotations

import datetime
import json
from itertools import pairwise

import pytest

from builders.observed import NOON
from builders.rolling import BAD, NEW, OLD, serving
from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome
from llmservice_operator.planner.rollout.retry import MOST_ATTEMPTS
from llmservice_operator.resources import names
from support.campaign import FULL

SHORT, DEADLINE = 200, 600
"""Seconds of trouble that end before the deadline of a rollout, and the deadline, the least loading budget."""


def exits(reason: str, message: str = "answered 503") -> str:
    return json.dumps({"version": 2, "reason": reason, "message": message, "exitCode": 102})


UNAVAILABLE = {
    "hub": Outcome(crashes=True, says=exits("HubUnreachable")),
    "store": Outcome(crashes=True, says=exits("StoreUnreachable")),
    "registry's limit": Outcome(not_pulled="429 Too Many Requests - Server message: toomanyrequests"),
    "registry": Outcome(not_pulled="failed to do request: dial tcp 10.0.0.1:443: i/o timeout"),
}
REFUSED = {
    "hub": Outcome(crashes=True, says=exits("HubRefused", "answered 403")),
    "store": Outcome(crashes=True, says=exits("StoreRefused", "AccessDenied")),
    "registry": Outcome(not_pulled="failed to authorize: unexpected status: 401 Unauthorized"),
}


def changing(outcome: Outcome, seconds: int | None) -> World:
    """A service whose changed spec starts so for some time; for ever without a number of seconds."""
    world = serving(2, gpus=2)
    until = None if seconds is None else world.now + seconds
    fields = {"crashes": outcome.crashes, "says": outcome.says, "not_pulled": outcome.not_pulled}
    world.change(BAD, Outcome(until=until, **fields), model={"size": "1Gi"})
    return world


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_a_rollout_waits_for_a_server_that_is_unavailable_for_some_minutes(name: str) -> None:
    world = changing(UNAVAILABLE[name], SHORT)
    for _ in range(500):
        world.tick()
        assert world.condition("RolledOut")["reason"] != "RolledBack"
        assert world.answering >= 1, "the other replicas stay"
    assert world.contexts() == [BAD] * 2
    assert world.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_final_if_nothing_tells_that_the_secret_was_corrected(name: str) -> None:
    """The operator reads no Secrets, and a service of one GPU without the check of its memory has no inspection."""
    world = changing(REFUSED[name], SHORT)
    world.run(150)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert names.REFRESH_ANNOTATION in world.condition("RolledOut")["message"]
    made = len(world.revisions)
    world.run(2 * SHORT)
    assert (len(world.revisions), world.contexts()) == (made, [OLD] * 2)


def refused(outcome: Outcome, seconds: int | None = None, source: str = "pvc://m/chat") -> World:
    """A service with an inspection, whose changed spec was rolled back because credentials were refused."""
    service = a_service().from_source(source).read().with_replicas(2).spread_over(tensor=2)
    world = World(service.with_spec(model={"maxContextLength": OLD}), gpus=4)
    world.until_quiet()
    assert world.contexts() == [OLD] * 2
    until = None if seconds is None else world.now + seconds
    fields = {"crashes": outcome.crashes, "says": outcome.says, "not_pulled": outcome.not_pulled}
    world.change(BAD, Outcome(until=until, **fields))
    world.run(150)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    return world


def inspections(world: World) -> int:
    return sum(kind == "Job" for kind, _ in world.children)


def was_read(world: World) -> None:
    """The inspection has succeeded, so the credentials are accepted."""
    read_at = NOON + datetime.timedelta(seconds=world.now)
    world.service["status"]["model"]["readAt"] = read_at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("name", REFUSED)
def test_a_corrected_secret_is_noticed_by_an_inspection(name: str) -> None:
    world = refused(REFUSED[name], SHORT)
    message = world.condition("RolledOut")["message"]
    assert "tried again when a Job can read the model" in message and names.REFRESH_ANNOTATION in message
    assert inspections(world) == 0
    world.run(DEADLINE)
    assert (inspections(world), world.contexts()) == (1, [OLD] * 2), "nothing restarts until the model could be read"
    was_read(world)
    world.run(100)
    assert world.contexts() == [BAD] * 2
    assert world.condition("Ready")["status"] == "True"


def test_attempts_with_credentials_end_if_they_are_refused_again_and_again() -> None:
    """A model whose configuration can be read and whose weights can't."""
    world = refused(REFUSED["hub"])
    tried = 0
    for _ in range(MOST_ATTEMPTS + 2):
        world.now += 7200
        world.run(20)
        if inspections(world):
            was_read(world)
            world.run(150)
            tried += 1
        assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert tried == MOST_ATTEMPTS
    assert "not retried until it changes" in world.condition("RolledOut")["message"]


def test_a_branch_whose_commit_pods_use_is_not_resolved_again_to_try_credentials() -> None:
    world = refused(REFUSED["hub"], source="hf://org/chat")
    world.run(DEADLINE + 100)
    assert inspections(world) == 0
    assert "not retried until it changes" in world.condition("RolledOut")["message"]


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_a_server_that_stays_unavailable_ends_the_rollout_at_its_deadline(name: str) -> None:
    world = changing(UNAVAILABLE[name], None)
    world.run(DEADLINE - 50)
    assert world.condition("RolledOut")["reason"] != "RolledBack"
    world.run(400)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert world.contexts() == [OLD] * 2


def test_another_spec_is_rolled_out_at_once() -> None:
    world = changing(UNAVAILABLE["hub"], None)
    world.run(100)
    world.change(NEW)
    world.run(60)
    assert world.contexts() == [NEW] * 2


def test_it_is_tried_again_after_a_while_and_says_when() -> None:
    world = changing(UNAVAILABLE["hub"], 1200)
    world.run(DEADLINE + 200)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert "tried again at 2026-01-01T" in world.condition("RolledOut")["message"]
    world.run(1200)
    assert world.contexts() == [BAD] * 2
    assert world.condition("Ready")["status"] == "True"


def test_attempts_get_rarer_and_replicas_of_the_previous_spec_stay() -> None:
    world = changing(UNAVAILABLE["hub"], None)
    begins, before = [], False
    while world.now < 4 * 3600 and (FULL or len(begins) < 3):
        world.tick()
        assert world.answering >= 1
        tried = BAD in world.contexts()
        if tried and not before:
            begins.append(world.now)
        before = tried
        if not tried and world.condition("RolledOut")["reason"] == "RolledBack":
            world.now += 20
    pauses = [later - earlier for earlier, later in pairwise(begins)]
    assert len(pauses) >= 2 and pauses == sorted(pauses)


def test_a_change_of_the_spec_begins_anew() -> None:
    world = changing(UNAVAILABLE["hub"], None)
    world.run(DEADLINE + 200)
    world.change(NEW)
    world.run(60)
    assert world.contexts() == [NEW] * 2
    assert world.condition("RolledOut")["reason"] == "RolledOut"
