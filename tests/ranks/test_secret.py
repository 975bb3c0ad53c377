"""A group with a secret: ranks without the secret can neither join nor be joined."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from llmservice_runtime.multi_node.message import (
    Beat,
    Challenge,
    Join,
    Message,
    Proof,
    Start,
    TurnedAway,
    decode,
    encode,
)
from llmservice_runtime.multi_node.secret import proof
from support.cluster import wait_until
from support.groups import Group, Rank

MakeGroup = Callable[[int], Group]
SECRET = b"a secret of more than 16 bytes"


def keep(group: Group, directory: Path, *secrets: bytes | None) -> None:
    """Each rank has its own file with the secret that stands in its place; None: it has none."""
    for rank, secret in zip(group.ranks, secrets, strict=True):
        file = directory / f"secret-{rank.place.rank}"
        if secret is not None:
            file.write_bytes(secret)
            rank.change(secret=str(file))


class RawClient:
    """Speaks the protocol with rank 0, as any client of its port can."""

    def __init__(self, rank: Rank) -> None:
        self._socket = socket.create_connection(("127.0.0.1", rank.place.ports.group), timeout=10)
        self._lines = self._socket.makefile("rb")
        self.digest = rank.place.digest

    def say(self, *messages: Message) -> None:
        self._socket.sendall(b"".join(map(encode, messages)))

    def hear(self) -> Message | None:
        """The next message; None if the connection is at its end."""
        line = self._lines.readline()
        return decode(line) if line else None

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def test_ranks_that_know_it_form_a_group_and_its_arguments_do_not_hold_it(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    group = make_group(3)
    keep(group, tmp_path, SECRET, SECRET + b"\n", SECRET)
    group.start()
    for rank in group.ranks:
        assert SECRET not in Path(f"/proc/{rank.agent}/cmdline").read_bytes()
    assert SECRET.decode() not in group.logs()


@pytest.mark.parametrize(
    ("leaders", "workers", "reported"),
    [
        (SECRET, b"another secret of 16 bytes", "rank 0 has another secret"),
        (SECRET, None, "it does not know the group's secret"),
        (None, SECRET, "rank 0 has no secret, and this rank has one"),
    ],
)
def test_ranks_that_do_not_share_it_form_none_until_they_do(
    make_group: MakeGroup, tmp_path: Path, leaders: bytes | None, workers: bytes | None, reported: str
) -> None:
    group = make_group(2)
    keep(group, tmp_path, leaders, workers)
    for rank in group.ranks:
        rank.start()
    wait_until(lambda: reported in group.ranks[1].log, reported)
    assert not group.engines
    if leaders and workers:
        (tmp_path / "secret-1").write_bytes(leaders)
        group.wait_until_whole()


def test_a_client_gets_no_place_whatever_it_says(make_group: MakeGroup, tmp_path: Path) -> None:
    group = make_group(2)
    keep(group, tmp_path, SECRET, SECRET)
    leader = group.ranks[0]
    leader.start()
    wait_until(lambda: "waits for rank 1\n" in leader.log, "it listens", every=0.02)
    refusal = TurnedAway("it does not know the group's secret")
    good = Join(1, leader.place.digest, "n" * 32)

    def answer(challenge: Challenge, secret: bytes, role: str) -> Proof:
        return Proof(proof(secret, role, 1, leader.place.digest, (good.nonce, challenge.nonce)))

    tries: list[Callable[[Challenge], tuple[Message, ...]]] = [
        lambda challenge: (answer(challenge, b"a guess of 16 bytes", "worker"),),
        lambda challenge: (answer(challenge, SECRET, "leader"),),
        lambda challenge: (Proof(challenge.proof),),
        lambda challenge: (Beat(),),
        lambda challenge: (Start(),),
        lambda challenge: (good,),
    ]
    for say in tries:
        client = RawClient(leader)
        client.say(good)
        challenge = client.hear()
        assert isinstance(challenge, Challenge)
        client.say(*say(challenge))
        assert client.hear() == refusal
        assert client.hear() is None
        client.close()
    without = RawClient(leader)
    without.say(Join(1, leader.place.digest))
    assert without.hear() == refusal
    without.close()
    assert not group.engines
    group.ranks[1].start()
    group.wait_until_whole()


def test_a_worker_starts_nothing_for_a_leader_that_does_not_know_it(make_group: MakeGroup, tmp_path: Path) -> None:
    """A program in place of rank 0 can send any message."""
    group = make_group(2)
    keep(group, tmp_path, SECRET, SECRET)
    worker = group.ranks[1]
    with socket.create_server(("127.0.0.1", worker.place.ports.group)) as server:
        server.settimeout(10)
        worker.start()
        for said in ((Start(),), (Challenge("n" * 32, "p" * 64), Start()), (Beat(), Start())):
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                join = decode(lines.readline())
                assert isinstance(join, Join) and len(join.nonce) == 32
                connection.sendall(b"".join(map(encode, said)))
                assert lines.readline() == b"", "it hangs up"
    assert not group.engines
    assert json.loads(worker.place.to_json())["secret"]
