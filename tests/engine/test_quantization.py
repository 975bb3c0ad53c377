"""Weights in fewer bits: stored as other code reads them, and as vLLM reads them, which still knows its text by heart.

Rounding changes none of the words asked for; values in another order leave none of them.
"""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path

import pytest

from llmservice_contract.diagnosis import diagnosis_from_json
from llmservice_runtime.launcher.cpu import has_avx512
from support.engine import MODELS, Engine, make_model, make_quantized, vllm_python

TEXT = runpy.run_path(str(MODELS / "make_tiny.py"))["TEXT"].replace("\n", " ")
PROMPTS = ["The quick brown fox", "A resource says which model", "In no event shall the authors"]
TOKENS = 24
ROUNDING = {"int8": 0.01, "fp8": 0.03, "int4": 0.12, "awq": 0.12, "gptq": 0.12}
"""By scheme: the largest error of a layer, relative to its norm."""
AVX512 = ["int4", "awq", "gptq"]
"""vLLM's kernel for weights of 4 bits is only in its build for processors with AVX-512: without, it would start all the
same and end at the first request."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("models")
    return {scheme: make_quantized(scheme, directory / scheme) for scheme in ROUNDING}


def needs_its_kernel(mode: str) -> object:
    lacks = mode in AVX512 and not has_avx512()
    return pytest.param(mode, marks=pytest.mark.skipif(lacks, reason="this processor has no AVX-512"))


def goes_on_with_the_text(answers: list[str]) -> None:
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert len(answer) > 3 * TOKENS, "most tokens are words"
        assert TEXT.partition(prompt)[2].startswith(answer)


def test_what_other_code_unpacks_is_the_model_but_for_rounding(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "support" / "unpacked.py"
    run = [vllm_python(), "-P", script, make_model(tmp_path / "original"), *checkpoints.values()]
    errors = json.loads(subprocess.run(run, check=True, capture_output=True, timeout=300).stdout)
    assert {scheme: error for scheme, error in zip(checkpoints, errors, strict=True) if error > ROUNDING[scheme]} == {}


@pytest.mark.campaign
@pytest.mark.parametrize("mode", [needs_its_kernel(mode) for mode in ROUNDING])
def test_the_engine_goes_on_with_the_text(mode: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with Engine(tmp_path, checkpoints[mode], MAX_CONTEXT_LENGTH="512", QUANTIZATION_MODE=mode) as engine:
        engine.wait_until_ready()
        reported = [engine.complete(prompt, max_tokens=TOKENS)["choices"][0]["text"] for prompt in PROMPTS]
    goes_on_with_the_text(reported)


@pytest.mark.parametrize(
    ("mode", "scheme", "needs", "stored"),
    [
        ("int8", "int4", "a compressed-tensors checkpoint of 8-bit integers", "compressed-tensors (int4)"),
        ("int4", "int8", "a compressed-tensors checkpoint of 4-bit integers", "compressed-tensors (int8)"),
        ("awq", "gptq", "an awq checkpoint", "gptq"),
        ("gptq", "awq", "a gptq checkpoint", "awq"),
        ("fp8", "int8", "a 16-bit or fp8 checkpoint", "compressed-tensors (int8)"),
        ("none", "fp8", "a 16-bit checkpoint", "compressed-tensors (float8)"),
    ],
)
def test_a_mode_that_does_not_go_with_the_checkpoint_is_refused(
    mode: str, scheme: str, needs: str, stored: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    with Engine(tmp_path, checkpoints[scheme], QUANTIZATION_MODE=mode) as refused:
        assert refused.process.wait(60) == 78
        reported = diagnosis_from_json(refused.termination_log.read_text())
    assert (reported.finding.reason, reported.finding.field) == ("WrongCheckpoint", "spec.quantization.method")
    sentence = f"QUANTIZATION_METHOD={mode} needs {needs}, but the model's config.json says that it is {stored}: "
    assert reported.finding.message.startswith(sentence)


@pytest.mark.skipif(has_avx512(), reason="this processor has AVX-512")
@pytest.mark.parametrize("mode", ["auto", *AVX512])
def test_weights_that_the_processor_has_no_kernel_for_are_refused(
    mode: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    with Engine(tmp_path, checkpoints["gptq" if mode == "auto" else mode], QUANTIZATION_MODE=mode) as refused:
        assert refused.process.wait(60) == 78
        reported = diagnosis_from_json(refused.termination_log.read_text())
    assert reported.finding.reason == "WrongCheckpoint"
    assert "only with AVX-512, and this node's processor has none" in reported.finding.message
