"""Which files vLLM's own loader takes for each form that the runtime names, and which it would take without one."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from llmservice_runtime.model.weights import format_of
from support.engine import ROOT, vllm_python

SCRIPT = """
import json, os, sys
from vllm.config.load import LoadConfig
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

found = {}
for directory, forms in json.loads(sys.argv[1]).items():
    for form in forms:
        try:
            _, files, *_ = DefaultModelLoader(LoadConfig(load_format=form))._prepare_weights(
                directory, None, None, True, None
            )
            found[f"{os.path.basename(directory)} {form}"] = sorted(os.path.basename(file) for file in files)
        except RuntimeError as error:
            found[f"{os.path.basename(directory)} {form}"] = str(error).split(" with ")[0]
print(json.dumps(found))
"""
MODELS = {
    "pickles": ["pytorch_model.bin", "model.pt"],
    "both": ["model.safetensors", "pytorch_model.bin"],
    "mistral": ["consolidated.safetensors", "model-1.safetensors", "consolidated.00.pth"],
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Files by model and form."""
    asked: dict[str, list[str]] = {}
    for name, files in MODELS.items():
        directory = tmp_path_factory.mktemp("weights") / name
        directory.mkdir()
        for file in files:
            (directory / file).touch()
        asked[str(directory)] = ["auto", "safetensors", "mistral", "fastsafetensors"]
    done = subprocess.run(
        [vllm_python(), "-c", SCRIPT, json.dumps(asked)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "runtime"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_without_a_form_vllm_loads_pickles_so_this_test_can_fail(taken: dict[str, object]) -> None:
    assert taken["pickles auto"] == ["pytorch_model.bin"]


def test_with_the_runtimes_form_it_loads_none(taken: dict[str, object]) -> None:
    assert taken["pickles safetensors"] == "Cannot find any model weights"
    assert taken["pickles mistral"] == "Cannot find any model weights"
    assert taken["pickles fastsafetensors"] == "Cannot find any model weights"
    assert taken["both fastsafetensors"] == ["model.safetensors"]
    assert taken[f"both {format_of(MODELS['both'], 'both')}"] == ["model.safetensors"]


def test_mistrals_own_form_is_loaded_as_without_one(taken: dict[str, object]) -> None:
    assert (
        taken[f"mistral {format_of(MODELS['mistral'], 'm')}"] == taken["mistral auto"] == ["consolidated.safetensors"]
    )


def test_architectures_that_vllm_and_transformers_know_are_found() -> None:
    script = (
        "import json; from llmservice_runtime.model.remote_code import known_types as k; print(json.dumps(sorted(k())))"
    )
    done = subprocess.run(
        [vllm_python(), "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    known = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"llama", "deepseek_v3", "phi3", "chatglm", "qwen3"} <= known
    assert "own" not in known
