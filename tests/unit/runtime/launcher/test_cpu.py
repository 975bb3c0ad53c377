"""What is known of the processor."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from llmservice_runtime.launcher.cpu import has_avx512


@pytest.mark.parametrize(
    ("machine", "flags", "has"),
    [
        ("x86_64", "fpu avx2 avx512f avx512bw", True),
        ("x86_64", "fpu avx2 avx512_like", False),
        ("aarch64", "asimd", True),
    ],
)
def test_avx512(machine: str, flags: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags : {flags}\n")
    assert has_avx512(file) is has


def test_what_cannot_be_read_is_no_reason_to_refuse(tmp_path: Path) -> None:
    assert has_avx512(tmp_path / "absent")
