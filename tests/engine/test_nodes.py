"""One replica over two nodes with real vLLM: both are on this machine, each with an agent and one rank.

Every run has the same in pods (tests/e2e/test_nodes.py), and the agents with an engine that stands in (tests/ranks).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from llmservice_contract import causes
from llmservice_runtime.launcher.command import make_command
from llmservice_runtime.launcher.settings import read_settings
from llmservice_runtime.multi_node.start import make_config
from support.cluster import wait_until
from support.engine import READY_SECONDS, Engine, make_model, vllm_python
from support.groups import children, lives
from support.ports import free_port
from support.web import answers

pytestmark = pytest.mark.campaign

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "ACCELERATOR": "cpu",
    "SERVED_MODEL_NAMES": "tiny",
    "MAX_CONTEXT_LENGTH": "512",
    "LAME_DUCK_SECONDS": "0",
    "TENSOR_PARALLEL_SIZE": "2",
    "NODES_PER_REPLICA": "2",
    "MASTER_ADDRESS": "127.0.0.1",
}
PROMPTS = ["The quick brown fox", "What is the capital of France?", "Permission is hereby granted, free of"]


class Node(Engine):
    """A rank as the runtime starts it in a container, but at ports of its own: all share this machine's."""

    def __init__(
        self, directory: Path, model: Path, rank: int, group_port: int, master_port: int, **addresses: str
    ) -> None:
        directory.mkdir()
        self.port, self.probe_port, self.metrics_port = free_port(), free_port(), free_port()
        secret = directory / "group-secret"
        secret.write_text("a secret of more than 16 bytes\n")
        self.log = directory / "engine.log"
        self.termination_log = directory / "termination-log"
        paths = {"PYTHONPATH": str(ROOT / "runtime"), "VLLM_HOST_IP": "127.0.0.1"}
        paths |= addresses
        environ = {"MODEL_NAME": str(model), "PORT": str(self.port), "NODE_RANK": str(rank), **SETTINGS, **addresses}
        environ |= {"METRICS_PORT": str(self.metrics_port), "GROUP_SECRET": str(secret)}
        settings = read_settings(environ)
        place = make_config(settings, "same", self.termination_log)
        place = replace(place, ports=replace(place.ports, group=group_port, probe=self.probe_port))
        command = make_command(settings, None, "safetensors", os.environ | environ | paths)
        arguments = list(command.arguments)
        arguments[arguments.index("--master-port") + 1] = str(master_port)
        python = vllm_python()
        agent = (python, "-m", "llmservice_runtime.multi_node", place.to_json())
        self._arguments = [str(each) for each in (*agent, python.with_name("vllm"), *arguments)]
        self.environ = dict(command.environment)
        self.start()

    def start(self) -> None:
        """Starts the container, as the kubelet does also where it has ended."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._arguments, env=self.environ, stdout=log, stderr=subprocess.STDOUT)

    @property
    def ready(self) -> bool:
        """What its readiness probe says."""
        return answers(f"http://127.0.0.1:{self.probe_port}/ready")

    @property
    def vllm(self) -> int:
        """The pid of `vllm serve`: the launcher's child."""
        (launcher,) = children(self.process.pid)
        (vllm,) = children(launcher)
        return vllm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def tokens(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """What one node says."""
    with Engine(tmp_path_factory.mktemp("one"), model, MAX_CONTEXT_LENGTH="512") as one:
        one.wait_until_ready()
        return greedy_tokens(one)


@pytest.fixture
def nodes(model: Path, tmp_path: Path, tokens: list[list[int]]) -> Iterator[list[Node]]:
    """Both ranks."""
    ports = free_port(), free_port()
    with ExitStack() as stack:
        yield [stack.enter_context(Node(tmp_path / str(rank), model, rank, *ports)) for rank in range(2)]


@pytest.fixture
def ipv6_nodes(model: Path, tmp_path: Path, tokens: list[list[int]]) -> Iterator[list[Node]]:
    """Both ranks, as in pods with an IPv6 address alone."""
    ports, addresses = (free_port(), free_port()), {"MASTER_ADDRESS": "0:0:0:0:0:0:0:1", "VLLM_HOST_IP": "::1"}
    with ExitStack() as stack:
        yield [stack.enter_context(Node(tmp_path / str(rank), model, rank, *ports, **addresses)) for rank in range(2)]


def greedy_tokens(engine: Engine) -> list[list[int]]:
    answers = [engine.complete(prompt, max_tokens=12, ignore_eos=True, return_token_ids=True) for prompt in PROMPTS]
    return [answer["choices"][0]["token_ids"] for answer in answers]


def wait_until_ready(nodes: list[Node]) -> None:
    logs = "\n".join(node.log_end() for node in nodes)
    wait_until(lambda: all(node.ready for node in nodes), f"both are ready\n{logs}", timeout=READY_SECONDS)


def test_two_nodes_with_ipv6_addresses(ipv6_nodes: list[Node], tokens: list[list[int]]) -> None:
    wait_until_ready(ipv6_nodes)
    assert greedy_tokens(ipv6_nodes[0]) == tokens
    assert all(answers(f"http://[::1]:{node.probe_port}/ready") for node in ipv6_nodes)


def test_two_nodes_give_the_tokens_of_one_also_after_one_has_died(nodes: list[Node], tokens: list[list[int]]) -> None:
    wait_until_ready(nodes)
    first, second = nodes
    assert greedy_tokens(first) == tokens
    assert "vllm:generation_tokens_total" in first.metrics(), "of rank 0"
    before = first.processes() | second.processes()
    running = first.stream(PROMPTS[0], max_tokens=400, ignore_eos=True)
    next(running)
    os.kill(second.vllm, signal.SIGKILL)
    assert second.process.wait(READY_SECONDS) == causes.KILLED.exit_code, second.log_end()
    second.start()
    wait_until(lambda: not any(lives(pid) for pid in before), "nothing of both engines is left", timeout=60)
    wait_until_ready(nodes)
    assert first.process.poll() is None, "its container went on"
    assert not first.termination_log.exists() or not first.termination_log.read_text()
    assert greedy_tokens(first) == tokens
    assert second.stop() == 0
    assert "rank 1 received a stop signal: draining the engine" in first.log.read_text()


def test_a_rank_that_is_stopped_restarts_the_group(nodes: list[Node], tokens: list[list[int]]) -> None:
    """Rank 0 answers /health all the time; its engine core waits for the other rank."""
    wait_until_ready(nodes)
    first, second = nodes
    for pid in (second.vllm, *descendants(second.vllm)):
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not first.ready, "it is not ready", timeout=READY_SECONDS)
    assert first.process.wait(READY_SECONDS) == causes.ENGINE_HUNG.exit_code, first.log_end()
    first.start()
    wait_until_ready(nodes)
    assert second.process.poll() is None, "its container went on"
    assert greedy_tokens(first) == tokens


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *descendants(child))]
