"""A group whose ranks fail: it recovers each time, and no other group is affected."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

from llmservice_contract.causes import DISK_FULL
from llmservice_contract.diagnosis import diagnosis_from_json
from support.cluster import wait_until
from support.groups import PACE, Group, Rank, children, lives

MakeGroup = Callable[[int], Group]
KILLS = 20
RSS_KIB = 30_000


def kill_container(rank: Rank) -> None:
    rank.kill()


def kill_engine(rank: Rank) -> None:
    os.kill(rank.engine[0], signal.SIGKILL)


def kill_launcher(rank: Rank) -> None:
    (launcher,) = children(rank.agent)
    os.kill(launcher, signal.SIGKILL)


def test_any_rank_may_be_killed_at_any_time(make_group: MakeGroup) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    groups = [make_group(2), make_group(4)]
    for group in groups:
        group.start()
    for _ in range(KILLS):
        hit, other = dice.sample(groups, 2)
        before, beside = hit.engines, (other.engines, other.agents)
        kill, rank = dice.choice([kill_container, kill_engine, kill_launcher]), dice.choice(hit.ranks)
        print(f"{kill.__name__} of rank {rank.place.rank} of {len(hit.ranks)}")
        kill(rank)
        if not dice.randrange(3):
            also = dice.choice(hit.ranks)
            print(f"beside it the container of rank {also.place.rank}")
            also.kill()
        hit.wait_until_whole(without=before)
        assert not [pid for pid in before if lives(pid)], "nothing of the engines before is left"
        assert (other.engines, other.agents) == beside


def test_the_culprit_ends_with_its_cause_and_the_others_stay(make_group: MakeGroup) -> None:
    group = make_group(3)
    group.start()
    engines, agents = group.engines, group.agents
    leader, culprit, other = group.ranks
    culprit.set("crash")
    assert culprit.wait() == DISK_FULL.exit_code
    assert diagnosis_from_json(culprit.termination_log).finding.reason == "DiskFull"
    wait_until(lambda: leader.probe("/ready") == (503, "waits for rank 1 of 3"), "the others wait", every=0.02)
    assert "lost rank 1 (the connection was closed): stopping the engine" in leader.log
    wait_until(lambda: not group.engines, "no engine runs", every=0.02)
    group.wait_until_whole(without=engines)
    assert [group.agents[0], group.agents[2]] == [agents[0], agents[2]]
    assert (leader.termination_log, other.termination_log) == ("", "")


def test_an_engine_that_ends_with_another_one_is_no_culprit(make_group: MakeGroup) -> None:
    """As vLLM's ranks do, which notice each other's end."""
    group = make_group(2)
    group.start()
    engines, agents = group.engines, group.agents
    leader, victim = group.ranks
    leader.set("crash")
    wait_until(lambda: leader.termination_log, "the first one has ended", every=0.01)
    victim.set("crash")
    assert leader.wait() == DISK_FULL.exit_code
    group.wait_until_whole(without=engines)
    assert group.agents[1] == agents[1]
    assert (leader.exits, victim.exits) == ([DISK_FULL.exit_code], [])
    assert victim.termination_log == ""


def test_a_rank_that_falls_silent_is_found_and_comes_back(make_group: MakeGroup) -> None:
    group = make_group(3)
    group.start()
    engines, agents = group.engines, group.agents
    leader, _, silent = group.ranks
    silent.signal(signal.SIGSTOP)
    try:
        waits = (503, "waits for rank 2 of 3")
        wait_until(lambda: leader.probe("/ready") == waits, "it is missed", timeout=PACE.silence + 2, every=0.02)
        assert f"lost rank 2 (silent for {PACE.silence:g} s)" in leader.log
    finally:
        silent.signal(signal.SIGCONT)
    group.wait_until_whole(without=engines)
    assert group.agents == agents, "no container had to end for it"


def test_a_silent_rank_0_is_found_too(make_group: MakeGroup) -> None:
    group = make_group(2)
    group.start()
    engines, agents = group.engines, group.agents
    leader, other = group.ranks
    leader.signal(signal.SIGSTOP)
    try:
        waits = (503, "waits for rank 0")
        wait_until(lambda: other.probe("/ready") == waits, "it is missed", timeout=PACE.silence + 2, every=0.02)
    finally:
        leader.signal(signal.SIGCONT)
    group.wait_until_whole(without=engines)
    assert group.agents == agents


def test_a_rank_takes_the_place_of_one_that_fell_silent_and_keeps_it(make_group: MakeGroup) -> None:
    """As the pod that is made for one on a node which can't be reached any more."""
    group = make_group(2)
    group.start()
    engines = group.engines
    silent = group.ranks[1]
    group.ranks[1] = silent.beside()
    group.ranks[1].start()
    turned_away = "rank 0 rejected this rank: rank 1 has already joined"
    try:
        wait_until(lambda: turned_away in group.ranks[1].log, "it has to wait", every=0.02)
        silent.signal(signal.SIGSTOP)
        group.wait_until_whole(without=engines)
        engines = group.engines
        silent.signal(signal.SIGCONT)
        wait_until(lambda: turned_away in silent.log, "it comes too late", every=0.02)
        assert not silent.engine
        group.wait_until_whole()
        assert group.engines == engines
    finally:
        silent.kill()


def test_an_engine_that_ignores_sigterm_is_killed_with_all_below_it(make_group: MakeGroup) -> None:
    group = make_group(2)
    for rank in group.ranks:
        rank.set("stubborn")
    group.start()
    engines = group.engines
    group.ranks[1].kill()
    group.wait_until_whole(without=engines)
    assert not [pid for pid in engines if lives(pid)]


def test_an_agent_is_small(make_group: MakeGroup) -> None:
    group = make_group(2)
    group.start()
    sizes = [resident_kib(agent) for agent in group.agents]
    print(f"resident: {sizes} KiB")
    assert max(sizes) < RSS_KIB


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
