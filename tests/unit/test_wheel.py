"""The wheel alone gives a working `kubectl llm`: built, installed apart, run outside the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from builders.services import a_service
from llmservice_operator.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
UV = ROOT / ".venv" / "bin" / "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
QWEN3_8B = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `make release` builds it."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [UV, "build", "--wheel", "--quiet", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*build, "--out-dir", directory, "."], cwd=ROOT, check=True)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `venv`, where the wheel and what it depends on are, and nothing else of the project."""
    home = tmp_path_factory.mktemp("home")
    python = home / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, home / "venv"], check=True)
    install = [UV, "pip", "install", "-q", "--python", python]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", ROOT / "operator" / "requirements.txt"]
    subprocess.run([*install, *locked], check=True)
    subprocess.run([*install, "--no-deps", wheel], check=True)
    return home


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """Runs a program as a person would who has nothing but the wheel."""
    environ = {
        "PATH": f"{home / 'venv' / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        "KUBECONFIG": str(home / "absent"),
        "NO_COLOR": "1",
    }

    def run(*command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=home, env=environ, input=stdin, capture_output=True, text=True, timeout=60)

    return run


def test_what_the_wheel_depends_on_is_what_the_images_install(home: Path) -> None:
    done = subprocess.run(
        [UV, "pip", "check", "--python", home / "venv" / "bin" / "python"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_file_of_its_packages_and_no_other(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "operator", "runtime"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    expected = {
        name.partition("/")[2] for name in tracked if re.match(r"(operator|runtime)/[a-z_]+/", name) and name[-1] != "/"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {
        name for name in expected if (ROOT / "operator" / name).exists() or (ROOT / "runtime" / name).exists()
    }
    assert any(name.endswith(".lua") for name in packed)


def test_its_programs_and_entry_points_are_those_of_the_project(home: Path, run: Run) -> None:
    assert {name for name in PROJECT["scripts"] if not (home / "venv" / "bin" / name).exists()} == set()
    reported = run(
        home / "venv" / "bin" / "python", "-c", "import llmservice_operator as it; print(it.__file__)"
    ).stdout
    assert Path(reported.strip()).is_relative_to(home)
    assert run("llmservice-operator", "version").stdout.strip() == PROJECT["version"]
    assert run("kubectl-llm", "--version").stdout.split() == ["kubectl", "llm", PROJECT["version"]]


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help(run: Run, command: str) -> None:
    done = run("kubectl-llm", command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: kubectl llm {command}")
    for below in re.findall(r"^    ([a-z]+) +\w", done.stdout.partition("commands:")[2], re.MULTILINE):
        assert run("kubectl-llm", command, below, "--help").returncode == 0, below


def test_the_crd_is_the_one_of_the_repository(run: Run) -> None:
    assert run("llmservice-operator", "crd").stdout == (ROOT / "crds" / "llmservice.dev_llmservices.yaml").read_text()


def test_fit_needs_no_cluster(home: Path, run: Run) -> None:
    (home / "config.json").write_text(json.dumps(QWEN3_8B))
    service = yaml.safe_dump(a_service("chat").with_spec(model={"source": "hf://Qwen/Qwen3-8B"}).build())
    given = ("-f", "-", "--model-config", "config.json", "--parameters", "8.19e9", "-o", "json")
    verdicts = {
        gpu: json.loads(run("kubectl-llm", "fit", *given, "--gpu", gpu, stdin=service).stdout)["verdict"]
        for gpu in ("H100", "T4")
    }
    assert verdicts == {"H100": "Fits", "T4": "DoesNotFit"}


def test_plan_between_two_files_needs_no_cluster(home: Path, run: Run) -> None:
    for name, context in (("old", 2048), ("new", 4096)):
        service = a_service("chat").with_spec(model={"source": "hf://Qwen/Qwen3-8B", "maxContextLength": context})
        (home / f"{name}.yaml").write_text(yaml.safe_dump(service.build()))
    done = run("kubectl-llm", "plan", "-f", "new.yaml", "--against", "old.yaml", "--spare", "1")
    assert "spec.model.maxContextLength" in done.stdout, done.stderr
    assert "common-expression-language" in done.stdout + done.stderr, "the extra is not installed"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_needs_no_cluster(run: Run, shell: str) -> None:
    assert "kubectl-llm" in run("kubectl-llm", "completion", shell).stdout
    assert "explain" in run("kubectl_complete-llm", "ex").stdout


@pytest.mark.parametrize("line", ["explain chat", "top", "keys list chat", "upgrade-check", "upgrade chat"])
def test_without_a_cluster_the_others_say_so_in_one_sentence(run: Run, line: str) -> None:
    done = run("kubectl-llm", *line.split())
    assert done.returncode == 1
    assert "kubeconfig" in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1


KUBECTL = shutil.which(
    "kubectl", path=f"{os.environ.get('LLMSERVICE_CACHE', Path.home() / '.cache/llmservice')}/bin:{os.environ['PATH']}"
)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed; hack/cluster/install-tools builds it")
def test_kubectl_finds_it_as_its_plugin(home: Path, run: Run) -> None:
    assert KUBECTL is not None
    listed = run(KUBECTL, "plugin", "list").stdout
    assert str(home / "venv" / "bin" / "kubectl-llm") in listed
    assert run(KUBECTL, "llm", "--version").stdout.split() == ["kubectl", "llm", PROJECT["version"]]
    assert "explain" in run(KUBECTL, "__complete", "llm", "ex").stdout
