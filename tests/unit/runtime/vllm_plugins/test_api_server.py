"""vLLM finds the plug-in in an image as in an installed package; it says if it is ready, and drops lost clients."""

from __future__ import annotations

import asyncio
import configparser
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from llmservice_runtime.gateway.drain import Drain
from llmservice_runtime.vllm_plugins import api_server

ROOT = Path(__file__).parents[4]
BESIDE_THE_CODE = ROOT / "runtime" / "llmservice_operator.dist-info"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_both_ways_to_install_name_the_same_entry_points() -> None:
    shipped = configparser.ConfigParser()
    shipped.read(BESIDE_THE_CODE / "entry_points.txt")
    assert {group: dict(shipped[group]) for group in shipped.sections()} == PROJECT["entry-points"]


def test_the_metadata_beside_the_code_is_of_this_project_and_version() -> None:
    found = metadata.Distribution.at(BESIDE_THE_CODE)
    assert (found.metadata["Name"], found.version) == (PROJECT["name"], PROJECT["version"])


FIND = "from importlib import metadata; print(len(metadata.entry_points(group='vllm.endpoint_plugins')))"


def test_installed_and_beside_the_code_it_is_found_once(tmp_path: Path) -> None:
    installed = tmp_path / "llmservice_operator-9.9.9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: llmservice-operator\nVersion: 9.9.9\n")
    (installed / "entry_points.txt").write_bytes((BESIDE_THE_CODE / "entry_points.txt").read_bytes())
    for path in (f"{ROOT / 'runtime'}:{tmp_path}", str(ROOT / "runtime"), str(tmp_path)):
        done = subprocess.run(
            [sys.executable, "-S", "-c", FIND], env={"PYTHONPATH": path}, capture_output=True, text=True
        )
        assert done.stdout.strip() == "1", path


def test_without_its_entry_point_the_runtime_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints())
    with pytest.raises(
        api_server.PluginMissing, match=r"neither /ready nor /v1/batch\. Put llmservice_operator\.dist-info"
    ):
        api_server.check_plugin()


def test_what_cannot_be_loaded_is_told_before_vllm_would_swallow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metadata.EntryPoint("llmservice", "llmservice_runtime.not_there:Plugin", api_server.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints([broken]))
    with pytest.raises(api_server.PluginMissing, match=r"can't be loaded: ModuleNotFoundError"):
        api_server.check_plugin()


def test_vllm_takes_it_for_any_model() -> None:
    made = api_server.Plugin()
    assert (made.name, made.required_tasks) == ("llmservice", None)


class Engine:
    """vLLM's engine client."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    async def check_health(self) -> None:
        if self.failure:
            raise self.failure


async def test_it_is_ready_while_the_engine_lives_and_no_stop_has_begun() -> None:
    drain = Drain()
    assert await api_server._why_not_ready(drain, Engine()) is None
    assert await api_server._why_not_ready(drain, Engine(RuntimeError("x"))) == "The engine is dead: RuntimeError."
    drain.enter()
    stopping = asyncio.create_task(drain.drain(0, 0))
    await asyncio.sleep(0)
    assert await api_server._why_not_ready(drain, Engine()) == (
        "The engine received a stop signal; 1 request is still being answered."
    )
    await stopping


class Request:
    """A request whose client disconnects when the test says so."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self.messages.get()


async def test_the_work_ends_with_its_client() -> None:
    ended = asyncio.Event()

    async def work() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    request = Request()
    request.messages.put_nowait({"type": "http.request", "body": b""})
    request.messages.put_nowait({"type": "http.disconnect"})
    assert await api_server._unless_client_goes(work(), request) is None
    await asyncio.wait_for(ended.wait(), 60)


async def test_the_work_ends_with_its_deadline() -> None:
    ended = asyncio.Event()

    async def work() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await api_server._unless_client_goes(work(), Request())
    await asyncio.wait_for(ended.wait(), 60)


async def test_a_failure_of_the_work_is_the_requests() -> None:
    async def work() -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await api_server._unless_client_goes(work(), Request())
