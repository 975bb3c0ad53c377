"""An inspection through the hub client that vLLM uses, against a hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engine import ROOT, vllm_python
from support.hub import COMMIT, GATED, PUBLIC, serve_hub

CONFIG = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = tmp_path_factory.mktemp("hub")
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "model.safetensors").write_bytes(b"x" * 1234)
    with serve_hub(model) as address:
        yield address


def inspect(hub: str, directory: Path, name: str, **environ: str) -> Any:
    """What `inspect` prints of a repository of the hub."""
    settings = {"MODEL_NAME": name, "HF_ENDPOINT": hub, "HF_HOME": str(directory), "PYTHONPATH": str(ROOT / "runtime")}
    log = {"TERMINATION_LOG": str(directory / "termination-log")}
    command = [vllm_python(), "-m", "llmservice_runtime", "inspect"]
    done = subprocess.run(
        command, env=os.environ | settings | log | environ, capture_output=True, text=True, timeout=120
    )
    return json.loads(done.stdout)


def test_config_and_size_come_from_the_hub(hub: str, tmp_path: Path) -> None:
    facts = inspect(hub, tmp_path, f"hf://{PUBLIC}", MODEL_REVISION="main")
    assert (facts["attentionHeads"], facts["layers"], facts["weightBytes"]) == (4, 2, 1234)
    assert facts["revision"] == COMMIT, "the commit that the branch stands for now"
    assert facts["remoteCode"] is None


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({"config.json": CONFIG, "pytorch_model.bin": {}}, "NoWeights", "pytorch_model.bin"),
        (
            {"config.json": {**CONFIG, "model_type": "own", "auto_map": {"AutoConfig": "a.B"}}, "m.safetensors": {}},
            None,
            "",
        ),
    ],
)
def test_what_would_run_code_is_told(
    tmp_path: Path, files: dict[str, dict[str, object]], reason: str | None, words: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, content in files.items():
        (model / name).write_text(json.dumps(content))
    with serve_hub(model) as address:
        answer = inspect(address, tmp_path, f"hf://{PUBLIC}")
    assert answer.get("error") == reason
    assert words in answer.get("message", "")
    assert reason or answer["remoteCode"] is True


def test_files_that_were_downloaded_before_are_known_without_the_hub(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "consolidated.safetensors").touch()
    script = (
        "import sys; from llmservice_runtime.model.weights import load_format; from llmservice_contract.source import "
        "Repository; print(load_format(Repository('org/tiny'), sys.argv[1] or None))"
    )
    ours = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "runtime")}
    for revision, expected in ((COMMIT, "mistral"), ("", "mistral"), ("f" * 40, "safetensors")):
        done = subprocess.run(
            [vllm_python(), "-c", script, revision], env=os.environ | ours, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.split() == [expected]


def test_a_token_goes_to_no_hub_that_its_secret_does_not_name(tmp_path: Path) -> None:
    source = f"https://127.0.0.1:9/{PUBLIC}"
    answer = inspect("", tmp_path, source, HF_TOKEN="secret", HF_ENDPOINT="https://127.0.0.1:9")
    assert (answer["error"], answer["field"]) == ("ModelUnreadable", "spec.model.credentialsRef")


@pytest.mark.parametrize(
    ("name", "words", "field", "sure"),
    [
        ("org/none", "no such repository", "spec.model.source", False),
        (GATED, "licence has not been accepted", "spec.model.credentialsRef", True),
    ],
)
def test_a_refusal_says_what_to_check(hub: str, tmp_path: Path, name: str, words: str, field: str, sure: bool) -> None:
    answer = inspect(hub, tmp_path, name)
    assert answer["error"] == "HubRefused"
    assert words in answer["message"]
    assert (answer["field"], "alternative" not in answer) == (field, sure)
    assert name in answer["message"]
