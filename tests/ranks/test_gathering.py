"""How a group forms: no engine runs before all ranks have joined, and only its own ranks can join."""

from __future__ import annotations

import json
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from llmservice_runtime.multi_node import pending_connections
from llmservice_runtime.multi_node.message import LINE_BYTES, Beat, Join, TurnedAway, decode, encode
from support.cluster import wait_until
from support.groups import Group, Rank

MakeGroup = Callable[[int], Group]


def wait_for_reason(rank: Rank, reason: str) -> None:
    wait_until(lambda: rank.probe("/ready") == (503, reason), reason, every=0.02)


def connect(rank: Rank, sent: bytes = b"") -> socket.socket:
    """A connection to the group's port on which this was said."""
    connection = socket.create_connection(("127.0.0.1", rank.place.ports.group), timeout=10)
    connection.sendall(sent)
    return connection


def test_a_group_forms_at_an_ipv6_address(tmp_path: Path) -> None:
    with Group(tmp_path / "group", 2, master="::1") as group:
        group.start()
        assert all(rank.engine for rank in group.ranks)


def test_no_engine_runs_before_all_ranks_have_joined(make_group: MakeGroup) -> None:
    group = make_group(3)
    leader, first, second = group.ranks
    first.start()
    wait_for_reason(first, "waits for rank 0")
    leader.start()
    wait_for_reason(leader, "waits for rank 2 of 3")
    wait_for_reason(first, "waits for rank 2 of 3")
    assert {rank.probe("/health") for rank in (leader, first)} == {(200, "ok")}
    assert not group.engines
    first.kill()
    wait_for_reason(leader, "waits for ranks 1 and 2 of 3")
    second.start()
    first.start()
    group.wait_until_whole()
    assert len(group.engines) == 6, "each has a process and its child"
    assert "llmservice: rank 0 of 3 waits for ranks 1 and 2\n" in leader.log
    assert "llmservice: all ranks have joined: starting the engine\n" in leader.log
    assert "llmservice: the engine is ready\n" in leader.log


def test_who_waits_can_be_stopped_at_once(make_group: MakeGroup) -> None:
    group = make_group(2)
    for rank in group.ranks:
        rank.start()
        wait_until(lambda rank=rank: rank.probe("/ready")[0] == 503, "it waits", every=0.02)
        rank.signal(signal.SIGTERM)
        assert rank.wait() == 128 + signal.SIGTERM


def test_a_rank_that_would_run_something_else_is_turned_away_until_it_does_not(make_group: MakeGroup) -> None:
    group = make_group(2)
    leader, other = group.ranks
    good = other.place.digest
    other.change(digest="older")
    leader.start()
    other.start()
    wait_until(
        lambda: "rejected this rank: its configuration or version differs" in other.log, "the other rank logs it"
    )
    assert "rejected rank 1: its configuration or version differs" in leader.log
    wait_for_reason(leader, "waits for rank 1 of 2")
    wait_for_reason(other, "waits for rank 0")
    assert not group.engines
    other.kill()
    other.change(digest=good)
    other.start()
    group.wait_until_whole()


def test_a_second_of_the_same_rank_is_turned_away_while_the_first_lives(make_group: MakeGroup) -> None:
    group = make_group(2)
    group.start()
    engines = group.engines
    with connect(group.ranks[0], encode(Join(1, "same"))) as connection:
        assert decode(connection.makefile("rb").readline()) == TurnedAway("rank 1 has already joined")
    with connect(group.ranks[0], encode(Join(7, "same"))) as connection:
        assert decode(connection.makefile("rb").readline()) == TurnedAway("there is no rank 7 of 2")
    group.wait_until_whole()
    assert group.engines == engines


def test_garbage_disturbs_nobody(make_group: MakeGroup) -> None:
    group = make_group(2)
    leader = group.ranks[0]
    leader.start()
    wait_until(lambda: "rank 0 of 2 waits for rank 1\n" in leader.log, "it listens", every=0.02)
    silent = [connect(leader, b'{"kind"') for _ in range(2 * pending_connections.PLACES)]
    group.ranks[1].start()
    group.wait_until_whole()
    engines = group.engines
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    said = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x80\x04\x95\n",
        b"[" * LINE_BYTES + b"\n",
        b"x" * 10 * LINE_BYTES,
        encode(Beat()),
        json.dumps({"kind": "Join", "rank": "1", "digest": "same"}).encode() + b"\n",
        *(dice.randbytes(dice.randrange(1, 5000)) + b"\n" for _ in range(50)),
    ]
    for each in said:
        try:
            with connect(leader, each) as connection:
                while connection.recv(65_536):
                    pass
        except ConnectionError:
            continue
    for connection in silent:
        connection.close()
    group.wait_until_whole()
    assert group.engines == engines
    assert "Traceback" not in group.logs()
