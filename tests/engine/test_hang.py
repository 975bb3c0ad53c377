"""An engine core that is stopped or hangs behind an HTTP server that answers: real vLLM on this machine's CPU.

A file `sitecustomize.py` gives the engine core two signals: SIGUSR2 makes its main thread wait for ever, as for a GPU
or a connection that never answers, and SIGHUP makes it compute for SLOW_SECONDS without an answer, as in a long step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis, diagnosis_from_json
from llmservice_contract.metrics import ENGINE_PROBES
from llmservice_runtime.vllm_plugins.engine_watch import (
    ASK_SECONDS,
    MOST_TICK_SECONDS,
    NOT_READY_SECONDS,
    PROBE_SECONDS,
    QUIET_SECONDS,
)
from support.engine import ROOT, Engine, make_model

SLACK_SECONDS = 90
"""Further time on a busy machine, also for vLLM's own exit."""
SLOW_SECONDS = 35
"""Longer than an engine that computes nothing may take."""
SIGNALS = f"""
import os, signal, sys, time

def wait_for_ever(*_):
    while True:
        time.sleep(3600)

def compute(*_):
    until = time.monotonic() + {SLOW_SECONDS}
    while time.monotonic() < until:
        pass

signal.signal(signal.SIGUSR2, wait_for_ever)
signal.signal(signal.SIGHUP, compute)
"""
PROMPT = "Permission is hereby granted, free of"


pytestmark = pytest.mark.own_engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def engine(model: Path, tmp_path: Path) -> Iterator[Engine]:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(SIGNALS)
    python_path = f"{ROOT / 'runtime'}:{hooks}"
    with Engine(tmp_path, model, MAX_CONTEXT_LENGTH="512", PYTHONPATH=python_path) as made:
        made.wait_until_ready()
        yield made


def core_of(engine: Engine) -> int:
    return next(pid for pid in engine.processes() if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes())


def status(engine: Engine, path: str) -> tuple[int, str]:
    """Status and body; 0 if there is no answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{engine.port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, ""


def until(condition: Callable[[], bool], seconds: float, engine: Engine) -> None:
    deadline = time.monotonic() + seconds + SLACK_SECONDS
    while not condition():
        assert time.monotonic() < deadline, engine.log_end()
        time.sleep(0.5)


def not_ready(engine: Engine, reasons: list[str]) -> bool:
    """Whether /ready fails; notes what it says."""
    code, body = status(engine, "/ready")
    if code == 503:
        reasons.append(json.loads(body)["reason"])
    return code != 200


def exit_cause(engine: Engine) -> Diagnosis:
    """What the kubelet would read of the container that ended."""
    try:
        code = engine.process.wait(QUIET_SECONDS + SLACK_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the engine goes on:\n{engine.log_end()}")
    found = diagnosis_from_json(engine.termination_log.read_text())
    assert code == found.exit_code, engine.log_end()
    return found


def test_an_idle_engine_is_probed_and_one_whose_core_is_stopped_restarts(engine: Engine) -> None:
    """Its probes are in no metric of usage or latency; a long step, in which it computes, is no hang."""
    before = counts(engine)
    until(lambda: sample(engine, ENGINE_PROBES) >= 1, PROBE_SECONDS, engine)
    # One without an answer would make the engine not ready in this time.
    answered = time.monotonic() + NOT_READY_SECONDS + MOST_TICK_SECONDS
    while time.monotonic() < answered:
        assert status(engine, "/ready")[0] == status(engine, "/health")[0] == 200, engine.log_end()
        time.sleep(0.5)
    assert counts(engine) == before

    os.kill(core_of(engine), signal.SIGHUP)
    assert engine.complete(PROMPT, max_tokens=4)["usage"]["completion_tokens"] == 4
    until(lambda: status(engine, "/ready")[0] == 200, 0, engine)
    assert engine.process.poll() is None, engine.log_end()

    os.kill(core_of(engine), signal.SIGSTOP)
    reasons: list[str] = []
    until(lambda: not_ready(engine, reasons), ASK_SECONDS + NOT_READY_SECONDS, engine)
    assert all("does not answer" in reason for reason in reasons)
    reported = exit_cause(engine)
    assert (reported.finding.reason, reported.exit_code) == ("EngineHung", causes.ENGINE_HUNG.exit_code)
    assert "stopped" in reported.finding.message
    assert int(reported.finding.numbers["seconds"]) >= QUIET_SECONDS


def test_requests_that_wait_for_a_deadlocked_engine_get_an_error_and_it_restarts(engine: Engine) -> None:
    """The engine core takes requests and never answers: a socket, a lock or a GPU that hangs."""
    answers: list[int] = []

    def ask() -> None:
        try:
            engine.complete(PROMPT, max_tokens=400, ignore_eos=True)
            answers.append(200)
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except OSError:
            answers.append(0)

    os.kill(core_of(engine), signal.SIGUSR2)
    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    reported = exit_cause(engine)
    for client in clients:
        client.join(30)
    assert answers and all(answer >= 500 for answer in answers), answers
    assert reported.finding.reason == "EngineHung"
    assert reported.finding.numbers["requests"] == "3"


@pytest.mark.campaign
def test_an_idle_engine_that_embeds_is_probed(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, MAX_CONTEXT_LENGTH="512", ENGINE_RUNNER="pooling", ENGINE_CONVERT="embed") as made:
        made.wait_until_ready()
        until(lambda: sample(made, ENGINE_PROBES) >= 1, PROBE_SECONDS + ASK_SECONDS, made)
        # A probe that was not answered would be the last one, and the engine not ready.
        until(lambda: sample(made, ENGINE_PROBES) >= 2, PROBE_SECONDS + ASK_SECONDS, made)
        assert status(made, "/ready")[0] == 200, made.log_end()


def sample(engine: Engine, name: str) -> float:
    return sum(
        float(line.rpartition(" ")[2])
        for line in engine.metrics().splitlines()
        if line.split("{")[0].split(" ")[0] == name
    )


def counts(engine: Engine) -> dict[str, float]:
    names = (
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_count",
        "vllm:e2e_request_latency_seconds_count",
        "llm_tokens_total",
        "llm_batch_size_count",
        "llm_active_requests",
    )
    return {name: sample(engine, name) for name in names}
