"""Keys and policy change while the engine runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmservice_contract.policy import Policy
from llmservice_runtime.gateway.files import CERTAIN_SECONDS, PolicyFile, Watched, Watcher

OTHERWISE = Policy(require_keys=True)


class Messages(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def policy_file(path: Path, reported: Messages) -> PolicyFile:
    policy = PolicyFile(path, OTHERWISE, reported)
    policy.read()
    return policy


def publish(volume: Path, version: str, name: str, text: str) -> None:
    """As the kubelet changes a mounted ConfigMap or Secret."""
    (volume / version).mkdir(parents=True)
    (volume / version / name).write_text(text)
    (volume / "..new").symlink_to(version)
    (volume / "..new").replace(volume / "..data")
    if not (volume / name).is_symlink():
        (volume / name).symlink_to(Path("..data") / name)


@pytest.mark.parametrize("text", ["", "{", '{"caps": {"n": 0}}', "\udcff"])
def test_the_last_good_policy_holds_and_the_fault_is_told_once(tmp_path: Path, text: str) -> None:
    reported = Messages()
    path = tmp_path / "access.json"
    path.write_text('{"caps": {"n": 3}}')
    policy = policy_file(path, reported)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    policy.read()
    policy.read()
    assert policy.current.caps.n == 3
    assert len(reported) == 1 and str(path) in reported[0]
    path.write_text('{"caps": {"n": 4}}')
    policy.read()
    assert policy.current.caps.n == 4


def test_before_a_good_policy_the_other_one_holds(tmp_path: Path) -> None:
    reported = Messages()
    assert policy_file(tmp_path / "absent", reported).current is OTHERWISE
    assert "No such file" in reported[0]


def test_a_look_reads_what_changed_and_nothing_else(tmp_path: Path) -> None:
    publish(tmp_path / "a", "..1", "access.json", "{}")
    publish(tmp_path / "b", "..1", "key", "x")
    (tmp_path / "plain").mkdir()
    read: list[str] = []

    def reader(name: str) -> Callable[[], bool]:
        return lambda: read.append(name) is None

    paths = {"file": tmp_path / "a" / "access.json", "keys": tmp_path / "b", "plain": tmp_path / "plain"}
    watcher = Watcher([Watched(path, reader(name)) for name, path in paths.items()], Messages())
    assert read == ["file", "keys", "plain"]
    watcher.look()
    publish(tmp_path / "a", "..2", "access.json", "{}")
    watcher.look()
    publish(tmp_path / "b", "..2", "key", "x")
    watcher.look()
    (tmp_path / "plain" / "key").write_text("x")
    watcher.look()
    watcher.look()
    assert read == ["file", "keys", "plain", "file", "keys", "plain"]


def test_a_file_that_comes_later_is_read(tmp_path: Path) -> None:
    read: list[None] = []
    watcher = Watcher([Watched(tmp_path / "late", lambda: read.append(None) is None)], Messages())
    (tmp_path / "late").write_text("x")
    watcher.look()
    assert len(read) == 2


def test_what_could_not_be_read_is_read_again_although_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("old")
    readable, content = True, ""

    def read() -> bool:
        nonlocal content
        if readable:
            content = (tmp_path / "keys").read_text()
        return readable

    watcher = Watcher([Watched(tmp_path / "keys", read)], Messages())
    readable = False
    (tmp_path / "keys").write_text("a key is revoked")
    watcher.look()
    assert content == "old"
    readable = True
    watcher.look()
    assert content == "a key is revoked"


def test_a_file_that_raises_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    def fail() -> bool:
        raise RuntimeError

    read: list[str] = []
    reported = Messages()
    other = Watched(tmp_path / "b", lambda: read.append("b") is None)
    watcher = Watcher([Watched(tmp_path / "a", fail), other], reported)
    watcher.look()
    assert read == ["b"] and len(reported) == 1


def test_vital_files_are_certain_for_as_long_as_they_can_be_read(tmp_path: Path) -> None:
    now, readable = 0.0, True
    (tmp_path / "keys").write_text("old")
    keys = Watched(tmp_path / "keys", lambda: readable, vital=True)
    watcher = Watcher([keys, Watched(tmp_path / "other", lambda: False)], Messages(), now=lambda: now)
    assert watcher.is_certain
    now = 10 * CERTAIN_SECONDS
    assert not watcher.is_certain, "no look for so long, as where the thread hangs on the volume"
    watcher.look()
    assert watcher.is_certain, "unchanged"
    (tmp_path / "keys").write_text("changed")
    readable = False
    now += CERTAIN_SECONDS
    watcher.look()
    assert watcher.is_certain
    now += 1
    watcher.look()
    assert not watcher.is_certain
    readable = True
    watcher.look()
    assert watcher.is_certain


def test_the_thread_goes_on_after_a_bad_look_and_ends_when_told(tmp_path: Path) -> None:
    again = threading.Event()
    reads = 0

    def read() -> bool:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise RuntimeError("bad look")
        if reads == 3:
            again.set()
        return True

    (tmp_path / "file").write_text("1")
    reported = Messages()
    watcher = Watcher([Watched(tmp_path / "file", read)], reported, every=0.001)
    watcher.start()
    watcher.start()
    (tmp_path / "file").write_text("second")
    assert again.wait(10)
    watcher.stop()
    assert reported == [f"{tmp_path / 'file'} was not read anew: RuntimeError."]
    assert not [thread for thread in threading.enumerate() if thread.name == "llmservice-files"]
