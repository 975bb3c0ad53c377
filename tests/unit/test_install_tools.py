"""hack/cluster/install-tools: the cluster needs no program of the tests, and one of another version is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "hack" / "cluster" / "install-tools"
MODULE = ROOT / "hack" / "cluster" / "programs" / "cluster"
PROGRAMS = {
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    *("helm", "coredns", "local-path-provisioner"),
}


def tools(cache: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"LLMSERVICE_CACHE": str(cache), "PATH": path + os.environ["PATH"]}
    return subprocess.run([TOOLS, *arguments], env=environ, capture_output=True, text=True, timeout=60)


@pytest.fixture
def debian(tmp_path: Path) -> str:
    """A PATH on which Debian's packages are all installed."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "dpkg-query"
    program.write_text("#!/bin/sh\necho installed\n")
    program.chmod(0o755)
    return f"{program.parent}:"


def test_the_cluster_needs_no_program_of_the_tests(tmp_path: Path, debian: str) -> None:
    done = tools(tmp_path / "cache", "--check", path=debian)
    assert done.returncode == 1
    assert set(done.stderr.partition("missing: ")[2].partition(".")[0].split()) == PROGRAMS


def test_programs_of_this_module_are_there_and_those_of_another_are_not(tmp_path: Path, debian: str) -> None:
    stamps = tmp_path / "cache" / "bin" / ".stamps"
    stamps.mkdir(parents=True)
    made_of = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "coredns/main.go"))
    for name in PROGRAMS:
        (stamps.parent / name).touch(mode=0o755)
        (stamps / name).write_text(hashlib.sha256(made_of).hexdigest()[:16] + "\n")
    assert tools(tmp_path / "cache", "--check", path=debian).returncode == 0
    (stamps / "helm").write_text("of another go.mod\n")
    assert "missing: helm." in tools(tmp_path / "cache", "--check", path=debian).stderr


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    done = tools(tmp_path / "cache", "demo")
    assert done.returncode == 1
    assert "unknown argument 'demo'" in done.stderr
