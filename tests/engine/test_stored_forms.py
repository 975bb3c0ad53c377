"""Checkpoints as repositories store them: SentencePiece alone, weights in two formats; with real vLLM."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import MODELS, ROOT, Engine, make_model, vllm_python
from support.store import serve_store

PROMPT = "Permission is hereby granted"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
SENTENCEPIECE = """
import sentencepiece, sys
sentencepiece.SentencePieceTrainer.train(
    input=sys.argv[1], model_prefix=sys.argv[2], vocab_size=600, model_type="bpe", byte_fallback=True,
    bos_id=1, eos_id=2, unk_id=0,
)
"""
PLUGIN = """
from llmservice_runtime.vllm_plugins import general
general.load()
"""
LISTED = """
import json
from vllm.config.load import LoadConfig
from vllm.model_executor.model_loader.runai_streamer_loader import RunaiModelStreamerLoader
files = RunaiModelStreamerLoader(LoadConfig(load_format="runai_streamer"))._prepare_weights("s3://bucket/both", None)
print(json.dumps(sorted(file.rpartition("/")[2] for file in files)))
"""
SETTINGS = {"MODEL_MAX_CONTEXT_LENGTH": "256", "CPU_KV_CACHE_GIB": "1"}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """As Mistral's repositories are: all weights twice."""
    files = ("config.json", "model.safetensors", "params.json", "consolidated.safetensors")
    with serve_store("bucket", {f"both/{name}": b"x" for name in files}) as address:
        yield address


def test_a_model_with_tokenizer_model_and_no_tokenizer_json_answers(tmp_path: Path) -> None:
    model = make_model(tmp_path / "tiny")
    (model / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    text = MODELS / "make_tiny.py"
    subprocess.run(
        [vllm_python(), "-c", SENTENCEPIECE, text, model / "tokenizer"], check=True, capture_output=True, timeout=120
    )
    (model / "tokenizer.vocab").unlink()
    with Engine(tmp_path, model, **SETTINGS) as engine:
        engine.wait_until_ready()
        answer = engine.complete(PROMPT, max_tokens=8, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 8
    assert 4 <= answer["usage"]["prompt_tokens"] <= len(PROMPT) + 1


@pytest.mark.parametrize(
    ("model_format", "streamed"),
    [
        ("", ["model.safetensors"]),
        ("hf", ["model.safetensors"]),
        ("mistral", ["consolidated.safetensors"]),
        (None, ["consolidated.safetensors", "model.safetensors"]),
    ],
)
def test_weights_in_two_formats_on_s3_are_streamed_in_one(
    store: str, tmp_path: Path, model_format: str | None, streamed: list[str]
) -> None:
    """By vLLM's own loader, as each of its processes has it; None: without the runtime, so this test can fail."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ = {"AWS_ENDPOINT_URL": store, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "runtime"), **KEYS}
    script = LISTED if model_format is None else f"{PLUGIN}{LISTED}"
    done = subprocess.run(
        [vllm_python(), "-c", script],
        env=ours | environ | {"MODEL_FORMAT": model_format or ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == streamed
