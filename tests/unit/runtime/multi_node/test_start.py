"""What `serve` becomes where a replica has several nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_contract.container import EXIT_WRONG_SETTINGS
from llmservice_runtime.multi_node.rank_config import RankConfig

SERVE = """
import json, os, sys
from llmservice_runtime import subcommands
def execve(program, arguments, environment):
    print(json.dumps([arguments, environment["VLLM_PLUGINS"]]), flush=True)
    os._exit(0)
os.execve = execve
subcommands.find_engine = lambda accelerator: "/bin/vllm"
subcommands.check_plugin = lambda: None
sys.argv = ["llmservice_runtime", "serve"]
sys.exit(subcommands.main())
"""


def serve(directory: Path, **environ: str) -> list[str]:
    """The command line of what it becomes."""
    (directory / "config.json").write_text("{}")
    (directory / "tokenizer.json").write_text("{}")
    settings = {"MODEL_NAME": str(directory), "TERMINATION_LOG": "/log", "TENSOR_PARALLEL_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE], env=os.environ | settings | environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    arguments, plugins = json.loads(done.stdout)
    assert plugins == "llmservice", "the environment is the engine's"
    return arguments


@pytest.mark.parametrize("rank", [0, 1])
def test_each_of_several_nodes_gets_an_agent(tmp_path: Path, rank: int) -> None:
    nodes = {"NODES_PER_REPLICA": "2", "NODE_RANK": str(rank), "MASTER_ADDRESS": "127.0.0.1"}
    python, module, name, place, *command = serve(tmp_path, **nodes)
    assert (python, module, name) == (sys.executable, "-m", "llmservice_runtime.multi_node")
    reported = RankConfig.from_json(place)
    assert (reported.rank, reported.nodes, reported.master, reported.termination_log) == (rank, 2, "127.0.0.1", "/log")
    assert command[:3] == ["/bin/vllm", "serve", str(tmp_path)]
    assert ("--headless" in command) == (rank > 0)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "can't be read"), (b" short \n", "has 5 bytes"), (b"x" * 5000, "more than 4096")]
)
def test_a_secret_that_cannot_be_used_is_told_before_anything_starts(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    secret, log = tmp_path / "group-secret", tmp_path / "log"
    if content is not None:
        secret.write_bytes(content)
    nodes = {"NODES_PER_REPLICA": "2", "MASTER_ADDRESS": "127.0.0.1", "TENSOR_PARALLEL_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "llmservice_runtime", "serve"],
        env=os.environ | nodes | {"MODEL_NAME": "/m", "GROUP_SECRET": str(secret), "TERMINATION_LOG": str(log)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == EXIT_WRONG_SETTINGS
    assert words in log.read_text() and "GROUP_SECRET" in log.read_text()


def test_a_single_node_gets_the_launcher_as_ever(tmp_path: Path) -> None:
    assert serve(tmp_path)[:3] == [sys.executable, "-m", "llmservice_runtime.launcher.launcher"]
