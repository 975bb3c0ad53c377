"""A group that is asked to stop finishes its work first, whichever of its ranks is asked."""

from __future__ import annotations

import signal
from collections.abc import Callable

from support.cluster import wait_until
from support.groups import Group, lives

MakeGroup = Callable[[int], Group]


def test_a_rank_that_is_to_stop_computes_until_rank_0_has_finished(make_group: MakeGroup) -> None:
    group = make_group(3)
    group.start()
    leader, other, asked = group.ranks
    engines, agents = group.engines, group.agents
    with group.request() as request:
        asked.signal(signal.SIGTERM)
        wait_until(lambda: leader.probe("/ready") == (503, "stops"), "rank 0 knows", every=0.02)
        wait_until(lambda: other.probe("/ready") == (503, "stops"), "the others know", every=0.02)
        assert leader.probe("/health") == (200, "ok")
        assert "rank 2 received a stop signal: draining the engine" in leader.log
        assert all(lives(pid) for pid in engines), "all still compute"
        assert request.finish() == 200
    assert asked.wait() == 0
    assert "drained in " in leader.log
    group.wait_until_whole(without=engines)
    assert group.agents[:2] == agents[:2], "the containers of the others went on"
    assert {rank.termination_log for rank in group.ranks} == {""}


def test_all_ranks_that_are_to_stop_finish_first(make_group: MakeGroup) -> None:
    group = make_group(3)
    group.start()
    engines = group.engines
    with group.request() as request:
        for rank in reversed(group.ranks):
            rank.signal(signal.SIGTERM)
        wait_until(lambda: group.ranks[0].probe("/ready") == (503, "stops"), "rank 0 knows", every=0.02)
        wait_until(lambda: "rank 0 drains first" in group.ranks[1].log, "rank 1 knows", every=0.02)
        assert all(lives(pid) for pid in engines)
        assert request.finish() == 200
    assert [rank.wait() for rank in group.ranks] == [0, 0, 0]
    assert not [pid for pid in engines if lives(pid)]


def test_rank_0_alone_that_is_to_stop_finishes_and_the_others_wait_for_the_next(make_group: MakeGroup) -> None:
    group = make_group(2)
    group.start()
    leader, other = group.ranks
    engines, agent = group.engines, other.agent
    with group.request() as request:
        leader.signal(signal.SIGTERM)
        wait_until(lambda: other.probe("/ready") == (503, "stops"), "the other knows", every=0.02)
        assert request.finish() == 200
    assert leader.wait() == 0
    wait_until(lambda: other.probe("/ready") == (503, "waits for rank 0"), "it waits", every=0.02)
    group.wait_until_whole(without=engines)
    assert other.agent == agent


def test_where_a_rank_is_lost_meanwhile_nothing_is_waited_for(make_group: MakeGroup) -> None:
    group = make_group(2)
    group.start()
    leader, other = group.ranks
    with group.request() as request:
        leader.signal(signal.SIGTERM)
        wait_until(lambda: leader.probe("/ready") == (503, "stops"), "it drains", every=0.02)
        other.kill()
        assert leader.wait() == 128 + signal.SIGKILL
        assert request.finish() == 0


def test_an_engine_that_loads_is_stopped_at_once(make_group: MakeGroup) -> None:
    group = make_group(2)
    leader, other = group.ranks
    leader.set("slow")
    for rank in group.ranks:
        rank.start()
    wait_until(lambda: other.probe("/ready") == (503, "loads the model"), "it loads", every=0.02)
    wait_until(lambda: leader.engine and other.engine, "the engines run", every=0.02)
    other.signal(signal.SIGTERM)
    assert other.wait() == 0
    assert "nothing to drain" in leader.log


def test_probes_follow_the_engine(make_group: MakeGroup) -> None:
    group = make_group(2)
    leader, other = group.ranks
    leader.set("slow")
    leader.change(startup_seconds=3.0)
    for rank in group.ranks:
        rank.start()
    for rank in group.ranks:
        wait_until(lambda rank=rank: rank.probe("/ready") == (503, "loads the model"), "it loads", every=0.02)
        assert rank.probe("/health") == (200, "ok")
    late = (503, "the engine is not ready 3 s after its start")
    wait_until(lambda: leader.probe("/health") == late, "its time is over", every=0.02)
    assert other.probe("/health") == (200, "ok"), "rank 0 alone is to be started again"
    leader.unset("slow")
    group.wait_until_whole()
    assert leader.probe("/health") == (200, "ok")
    leader.set("sick")
    assert leader.probe("/health") == (503, "/health is answered with 503")
    assert other.probe("/health") == (200, "ok")
    assert leader.probe("/metrics")[0] == 404
