"""The fit against vLLM itself: small models of every kind, loaded by it, on this machine's CPU.

Weights are compared as they are loaded. Of the cache everything is: bytes of a token and of a block, blocks, and how
many requests it holds.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.mistral_format import as_config
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.request import Request
from support.engine import vllm_python
from support.small_models import MODELS, PARAMS

NOT_HERE = {
    "qwen3.5": "vLLM 0.32 has no part of it on a CPU",
    "llama-fp8": "its kernel is only in the build for AVX-512",
    "llama-fp8-block": "its kernel is only in the build for AMX",
}
"""What no CPU of any kind, or not this one, can load."""
NAMES = [name for name in MODELS if name not in NOT_HERE] + list(PARAMS)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    models = tmp_path_factory.mktemp("fit") / "models.json"
    models.write_text(json.dumps({name: (MODELS | PARAMS)[name] for name in NAMES}))
    script = Path(__file__).parents[1] / "support" / "measure_models.py"
    run = subprocess.run([vllm_python(), "-P", script, models], check=True, capture_output=True, timeout=570)
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith(b'{"name"')]
    return {line.pop("name"): line for line in lines}


def test_there_are_thirty_of_them_and_more():
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_is_that_of_vllm(name: str, measured: dict[str, dict[str, Any]]):
    reported = measured[name]
    assert "error" not in reported, reported
    config = as_config(PARAMS[name]) if name in PARAMS else MODELS[name]
    found = fit(Request(config, GPU("CPU", 0), cpu_cache=1 << 30, max_batched_tokens=reported["batchedTokens"]))
    assert found.ledger.weights == pytest.approx(reported["weights"], rel=0.01)
    assert found.ledger.per_token == reported["perToken"]
    assert (found.blocks, found.block_bytes) == (reported["blocks"], reported["blockBytes"])
    assert found.context == reported["context"]
    assert found.concurrency == pytest.approx(reported["concurrency"], abs=0.01)
