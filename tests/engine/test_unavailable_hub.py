"""A hub that is unavailable: the runtime and vLLM ask again, within bounds of time, or start from the local cache."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.campaign import FULL
from support.engine import ROOT, Engine, make_model, vllm_python
from support.hub import COMMIT, PUBLIC, serve_hub
from support.short_waits import with_short_waits
from support.trouble import Trouble

CONFIG = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 2}
DOWN_SECONDS = 30 if FULL else 3
"""How long the hub of an engine's start answers 503."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "model.safetensors").write_bytes(b"x" * 1234)
    return directory


def inspect(hub: str, directory: Path, *program: str, **environ: str) -> Any:
    """What `inspect` reports of the public repository."""
    settings = {"MODEL_NAME": f"hf://{PUBLIC}", "HF_ENDPOINT": hub, "HF_HOME": str(directory)}
    paths = {"PYTHONPATH": str(ROOT / "runtime"), "TERMINATION_LOG": str(directory / "termination-log")}
    done = subprocess.run(
        [vllm_python(), *(program or ("-m", "llmservice_runtime", "inspect"))],
        env=os.environ | settings | paths | environ,
        capture_output=True,
        text=True,
        timeout=200,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "trouble",
    [Trouble("503", seconds=3), Trouble("429", {"Retry-After": "2"}, seconds=1), Trouble("reset", seconds=3)],
    ids=lambda trouble: trouble.kind,
)
def test_an_inspection_waits_for_a_hub_that_is_unavailable_for_some_seconds(
    model: Path, tmp_path: Path, trouble: Trouble
) -> None:
    with serve_hub(model, trouble) as address:
        facts = inspect(address, tmp_path)
    assert (facts.get("attentionHeads"), facts.get("revision")) == (4, COMMIT), facts


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble("503"), "503"),
        (Trouble("429", {"Retry-After": str(10 * 365 * 86_400)}), "429"),
        (Trouble("slow"), "within 2 s"),
        (Trouble("reset"), "could not be read"),
        (Trouble("redirects"), ""),
        (Trouble("503", paths="/resolve/"), ""),
        (Trouble("429", {"Retry-After": "999999999"}, paths="/resolve/"), ""),
        (Trouble("slow", paths="/resolve/"), ""),
        (Trouble("redirects", paths="/resolve/"), ""),
    ],
    ids=lambda each: f"{each.kind}{each.paths}" if isinstance(each, Trouble) else "",
)
def test_a_hub_that_stays_unavailable_ends_an_inspection_in_time(
    model: Path, tmp_path: Path, trouble: Trouble, words: str
) -> None:
    """The limits are shortened; that they are kept is what the timeout of the process shows."""
    with serve_hub(model, trouble) as address:
        failure = inspect(address, tmp_path, *with_short_waits("inspect"))
    assert failure["error"] == "HubUnreachable"
    assert words in failure["message"]
    assert int(failure.get("numbers", {}).get("retryAfterSeconds", "0")) <= 3600


@pytest.mark.parametrize(("status", "asked"), [("401", 3), ("403", 3), ("404", 3)])
def test_a_refusal_is_final(model: Path, tmp_path: Path, status: str, asked: int) -> None:
    trouble = Trouble(status)
    with serve_hub(model, trouble) as address:
        failure = inspect(address, tmp_path)
    assert failure["error"] == "HubRefused"
    assert len(trouble.requests) <= asked


def test_a_name_that_no_hub_has_is_refused_without_a_request(model: Path, tmp_path: Path) -> None:
    trouble = Trouble("503")
    with serve_hub(model, trouble) as address:
        failure = inspect(address, tmp_path, MODEL_NAME="hf://org/a--b")
    assert failure["error"] == "HubRefused"
    assert trouble.requests == []


def of_hub(directory: Path, address: str, program: Sequence[str] | None = None, **more: str) -> Engine:
    """An engine that serves the public repository, whose cache is below the directory."""
    directory.mkdir(exist_ok=True)
    cache = {"HF_HOME": str(directory / "cache"), "MODEL_REVISION": COMMIT, "HF_HUB_DISABLE_XET": "1"}
    environ = {"HF_ENDPOINT": address, "MODEL_NAME": PUBLIC, **cache, **more}
    return Engine(directory, Path(f"hf://{PUBLIC}"), program=program, **environ)


def test_an_engine_starts_after_the_hub_answered_503_for_a_while_and_from_its_cache_while_it_is_down(
    tmp_path: Path,
) -> None:
    tiny = make_model(tmp_path / "tiny")
    trouble = Trouble("503", seconds=DOWN_SECONDS)
    with serve_hub(tiny, trouble) as address, of_hub(tmp_path / "first", address, QUANTIZATION_MODE="none") as engine:
        engine.wait_until_ready()
        first = engine.complete("Hello")["choices"][0]["text"]
    assert "Next try in" in engine.log.read_text(errors="replace")
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "cache").rename(tmp_path / "second" / "cache")
    # No hub at all.
    short = None if FULL else with_short_waits()
    with of_hub(tmp_path / "second", address, short) as engine:
        engine.wait_until_ready()
        assert engine.complete("Hello")["choices"][0]["text"] == first
    assert "Starting with the files in the local cache" in engine.log.read_text(errors="replace")


def test_a_cache_does_not_count_if_the_hub_refuses_or_for_another_commit(tmp_path: Path) -> None:
    snapshot = tmp_path / "cache" / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    script = (
        "import sys; from llmservice_runtime.model import unavailable as u, hub, offline; u.FIRST_PAUSE = 0.1; "
        "u.Server.__init__.__defaults__ = (1.0, *u.Server.__init__.__defaults__[1:]); "
        "from llmservice_contract.source import Repository; "
        "print(offline.reach_hub([(Repository('org/tiny'), sys.argv[1])]))"
    )

    def reach(address: str, commit: str) -> str:
        ours = {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": address, "PYTHONPATH": str(ROOT / "runtime")}
        done = subprocess.run(
            [vllm_python(), "-c", script, commit], env=os.environ | ours, capture_output=True, text=True, timeout=120
        )
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    nowhere = "http://127.0.0.1:9"
    assert reach(nowhere, COMMIT) == "True"
    assert "ModelUnreadable" in reach(nowhere, "f" * 40)
    with serve_hub(tmp_path, Trouble("403")) as address:
        assert reach(address, COMMIT) == "False"
    with serve_hub(tmp_path, Trouble("502")) as address:
        assert reach(address, COMMIT) == "True"
    (snapshot / "model-00001-of-00002.safetensors").touch()
    assert "ModelUnreadable" in reach(nowhere, COMMIT), "a part of the weights is missing"
