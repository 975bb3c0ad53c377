"""What the tests of files and batches rest on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.batches import batches_process


def test_a_program_that_does_not_start_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def started(command: list[str], **settings: Any) -> subprocess.Popen[bytes]:
        made.append(popen(["sleep", "100"], **settings))
        return made[0]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it does not answer")

    monkeypatch.setattr("support.batches.subprocess.Popen", started)
    monkeypatch.setattr("support.batches.wait_until", never)
    with pytest.raises(AssertionError, match="does not answer"), batches_process(tmp_path / "data", "http://none"):
        raise AssertionError("it has begun")
    assert made[0].poll() is not None
