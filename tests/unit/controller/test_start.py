"""Before the operator acts: what it waits for, and what it says meanwhile. And when it should be restarted."""

import asyncio
import socket
import subprocess
import sys

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import unused_port

from llmservice_operator.config.settings import Settings
from llmservice_operator.controller.http_endpoints import Servers
from llmservice_operator.controller.manager import Operator
from support.fake_api import refusal
from unit.controller.conftest import Shell


async def test_without_the_crd_it_says_what_to_install(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(404, "not found") if call == "list LLMService" else None)
    missing = await Operator(Settings())._missing(shell.cluster)
    assert missing == "the API server has no kind LLMService (llmservice.dev/v1alpha1): install the CRD"
    assert await Operator(Settings())._missing(shell.cluster) == ""


async def test_without_permission_it_says_which_is_missing(shell: Shell) -> None:
    message = 'pods is forbidden: User "x" cannot list resource "pods"'
    shell.api.fail_once(lambda call: refusal(403, message) if call == "list Pod" else None)
    assert await Operator(Settings())._missing(shell.cluster) == f"the operator may not list pods: {message}"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_health_follows_the_problem_and_readiness_does_not(host: str) -> None:
    problem = ""
    port, metrics_port = unused_port(), unused_port()
    servers = Servers(health_port=port, metrics_port=metrics_port, problem=lambda: problem)
    await servers.start()
    try:
        async with ClientSession() as client:

            async def get(port: int, path: str) -> tuple[int, str]:
                async with client.get(f"http://{host}:{port}{path}") as answer:
                    return answer.status, await answer.text()

            assert await get(port, "/healthz") == (200, "ok\n")
            problem = "no resync has finished for 9000 s"
            assert await get(port, "/healthz") == (500, "no resync has finished for 9000 s\n")
            assert await get(port, "/readyz") == (200, "ok\n")
            status, text = await get(metrics_port, "/metrics")
            assert status == 200
            assert "llmservice_operator_leader" in text
    finally:
        await servers.stop()


@pytest.mark.looptime
async def test_a_look_that_never_ends_makes_the_process_unhealthy() -> None:
    operator = Operator(Settings())
    assert operator._problem() == ""

    class Stuck:
        def longest_running(self) -> float:
            return asyncio.get_running_loop().time() - begin

    begin = asyncio.get_running_loop().time()
    operator._queue = Stuck()  # type: ignore[assignment]
    await asyncio.sleep(299)
    assert operator._problem() == ""
    await asyncio.sleep(2)
    assert "longer than 300 s" in operator._problem()


def test_wrong_settings_end_the_process_with_every_problem_before_anything_is_done() -> None:
    environment = {"LLMSERVICE_WORKERS": "many", "LLMSERVICE_LOG_LEVEL": "loud"}
    ended = subprocess.run(
        [sys.executable, "-m", "llmservice_operator", "run"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "LLMSERVICE_WORKERS is 'many'" in ended.stderr
    assert "LLMSERVICE_LOG_LEVEL is 'loud'" in ended.stderr


def test_printing_the_crd_loads_neither_framework_nor_client() -> None:
    program = (
        "import sys; from llmservice_operator.__main__ import main; main(['crd']);"
        "sys.exit(any(name in sys.modules for name in ('kopf', 'kubernetes', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"KUBECONFIG": "/nonexistent", "LLMSERVICE_HEALTH_PORT": "0"},
            "Could not configure access to the API server (KUBECONFIG",
        ),
        ({"LLMSERVICE_HEALTH_PORT": "taken"}, "Could not open a port (LLMSERVICE_HEALTH_PORT"),
    ],
)
def test_what_keeps_it_from_starting_is_said_without_a_traceback(environment: dict[str, str], words: str) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = {key: port if value == "taken" else value for key, value in environment.items()}
        ended = subprocess.run(
            [sys.executable, "-m", "llmservice_operator", "run"],
            env={"LLMSERVICE_METRICS_PORT": "0", **settings},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_it_starts_without_the_kinds_that_an_older_api_server_lacks(shell: Shell) -> None:
    shell.api.faults.append(
        lambda call: refusal(404, "not found") if call.startswith("list ResourceClaimTemplate") else None
    )
    assert await Operator(Settings())._missing(shell.cluster) == ""
