"""hack/cluster/install-tools: the cluster needs no program of the tests, and one of another version is missing.

hack/cluster/images/build --ahead: images are built, and in the node's store, before there is a cluster.
"""

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


def test_packages_alone_build_no_program(tmp_path: Path, debian: str) -> None:
    done = tools(tmp_path / "cache", "packages", path=debian)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "cache" / "bin").iterdir())


IMAGES = ROOT / "hack" / "cluster" / "images" / "build"
INPUTS = """
. {lib}/all.sh; . {lib}/base-image.sh; . {lib}/project-images.sh
mkdir -p $store/keys; echo $(key "${{operator_inputs[@]}}")-$base_key >$store/keys/${{1//\\//_}}
"""


def test_images_are_built_ahead_of_a_cluster_unless_the_last_one_had_them(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.touch()
    (tmp_path / "bin").mkdir()
    for name in ("buildah", "skopeo", "ctr", "debootstrap", "umount"):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\necho {name} $* >>{calls}\ncase "$*" in *import*) cat >/dev/null; esac\n')
        program.chmod(0o755)
    containerd = tmp_path / "bin" / "containerd"
    containerd.write_text(f"#!/bin/sh\necho containerd $* >>{calls}\nexec sleep 60\n")
    containerd.chmod(0o755)
    environ = os.environ | {"LLMSERVICE_CACHE": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    run(IMAGES, "--ahead", "operator")
    (built,) = [line for line in calls.read_text().splitlines() if " bud " in line]
    image = built.split("--tag ")[1].split()[0]
    assert image.startswith("localhost/llmservice/operator:")
    assert [line for line in calls.read_text().splitlines() if "images import" in line], "it is brought in"
    assert "containerd --config" in calls.read_text()
    assert not (tmp_path / "cluster" / "pids").exists(), "containerd has ended"
    (tmp_path / "cluster" / "image-store" / "keys" / image.replace("/", "_")).unlink()
    run("bash", "-c", INPUTS.format(lib=ROOT / "hack/cluster/lib"), "keys", image)
    calls.write_text("")
    run(IMAGES, "--ahead", "operator")
    assert " bud " not in calls.read_text(), "the node of the last cluster has it"
    assert "containerd" not in calls.read_text()


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    done = tools(tmp_path / "cache", "demo")
    assert done.returncode == 1
    assert "unknown argument 'demo'" in done.stderr
