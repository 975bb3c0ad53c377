"""Failures of real vLLM that a CPU can provoke: each leaves its cause in the termination log, and its exit code.

Each is a start of its own: all of them are `make campaigns`, a few of different kinds are in every run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis, diagnosis_from_json
from support.campaign import FULL
from support.engine import Engine, make_model
from support.hub import GATED, serve_hub

pytestmark = pytest.mark.own_engine

END_SECONDS = 400
FEW = ("heads", "cache")
"""A failure of an argument, and one of memory that ends a process of its own."""


@dataclass(frozen=True)
class Failure:
    """A change that breaks a working model, and the expected diagnosis."""

    cause: causes.Cause
    words: str
    """Part of the message."""
    spoil: Callable[[Path], None] = lambda model: None
    environ: dict[str, str] = field(default_factory=dict)


def config(**changes: Any) -> Callable[[Path], None]:
    """Changes config.json."""

    def spoil(model: Path) -> None:
        file = model / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return spoil


def without(pattern: str) -> Callable[[Path], None]:
    """Takes files away."""

    def spoil(model: Path) -> None:
        for file in model.glob(pattern):
            file.unlink()

    return spoil


def cut_short(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def no_json(model: Path) -> None:
    (model / "config.json").write_text("{nonsense")


OWN_CODE = config(
    model_type="own",
    architectures=["OwnForCausalLM"],
    auto_map={"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"},
)

FAILURES = {
    "heads": Failure(causes.HEADS_NOT_DIVISIBLE, "one of 1, 2, 4.", environ={"TENSOR_PARALLEL_SIZE": "3"}),
    "context": Failure(causes.CONTEXT_TOO_LONG, "to 2048 or less", environ={"MAX_CONTEXT_LENGTH": "4096"}),
    "cache": Failure(
        causes.CACHE_TOO_SMALL,
        "spec.engine.kvCacheMemory to 2Gi",
        config(max_position_embeddings=2_097_152),
        {"MAX_CONTEXT_LENGTH": "2097152"},
    ),
    "memory": Failure(causes.HOST_OUT_OF_MEMORY, "4000.0 GiB", environ={"CPU_KV_CACHE_GIB": "4000"}),
    "architecture": Failure(
        causes.ARCHITECTURE_UNKNOWN, "NoSuchForCausalLM", config(architectures=["NoSuchForCausalLM"])
    ),
    "type": Failure(causes.ARCHITECTURE_UNKNOWN, "nosuch", config(model_type="nosuch", architectures=["NoSuch"])),
    "own code": Failure(causes.REMOTE_CODE, "Python code of its own", OWN_CODE),
    "quantization": Failure(
        causes.QUANTIZATION_UNKNOWN,
        "nosuchquant",
        config(quantization_config={"quant_method": "nosuchquant", "bits": 4}),
    ),
    "no weights": Failure(causes.NO_WEIGHTS, "*.safetensors", without("*.safetensors")),
    "cut weights": Failure(causes.BROKEN_WEIGHTS, "not complete", cut_short),
    "too few weights": Failure(causes.BROKEN_WEIGHTS, "model.layers.2.", config(num_hidden_layers=3)),
    "no tokenizer": Failure(causes.NO_TOKENIZER, "tokenizer.json", without("tokenizer*")),
    "no json": Failure(causes.BAD_CONFIG, "config.json", no_json),
    "no model": Failure(causes.MODEL_UNREADABLE, "does not exist", lambda model: shutil.rmtree(model)),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def ended(engine: Engine) -> Diagnosis:
    """What is left of an engine that ends by itself."""
    with engine:
        code = engine.process.wait(END_SECONDS)
        assert engine.termination_log.exists(), engine.log_end()
        reported = diagnosis_from_json(engine.termination_log.read_text())
        assert reported.exit_code == code
        return reported


@pytest.mark.parametrize("name", FAILURES if FULL else FEW)
def test_the_cause_is_told(name: str, model: Path, tmp_path: Path) -> None:
    failure = FAILURES[name]
    spoilt = tmp_path / "model"
    shutil.copytree(model, spoilt)
    failure.spoil(spoilt)
    reported = ended(Engine(tmp_path, spoilt, **failure.environ))
    assert (reported.finding.reason, reported.exit_code) == (failure.cause.name, failure.cause.exit_code)
    assert failure.words in f"{reported.finding.message} {reported.finding.fix}"


@pytest.mark.parametrize(
    ("repository", "field"), [("org/none", "source"), (GATED, "credentialsRef")][0 if FULL else 1 :]
)
def test_what_a_hub_refuses_is_told(repository: str, field: str, model: Path, tmp_path: Path) -> None:
    with serve_hub(model) as address:
        hub = {"MODEL_NAME": repository, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        reported = ended(Engine(tmp_path, model, **hub))
    assert (reported.finding.reason, reported.finding.field) == ("HubRefused", f"spec.model.{field}")
    assert repository in reported.finding.message


@pytest.mark.campaign
@pytest.mark.parametrize("variable", ["PORT", "METRICS_PORT"])
def test_a_port_that_is_taken_is_told(model: Path, tmp_path: Path, variable: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("", 0))
        taken.listen()
        reported = ended(Engine(tmp_path, model, **{variable: str(taken.getsockname()[1])}))
    assert (reported.finding.reason, reported.exit_code) == ("PortInUse", causes.PORT_IN_USE.exit_code)


@pytest.mark.campaign
def test_an_engine_that_is_killed_while_it_serves_is_told(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, MAX_CONTEXT_LENGTH="512") as engine:
        engine.wait_until_ready()
        core = next(pid for pid in engine.processes() if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(core, signal.SIGKILL)
        reported = ended(engine)
    assert reported.finding.reason == "EngineDied"
    assert reported.finding.message.startswith("After it had served requests: ")
