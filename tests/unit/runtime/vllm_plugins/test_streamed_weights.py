"""Weights in two formats: what is streamed, by the format whose configuration vLLM reads."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from llmservice_runtime.vllm_plugins import streamed_weights
from llmservice_runtime.vllm_plugins.streamed_weights import of_one_format

BOTH = [
    "s3://bucket/consolidated/consolidated.safetensors",
    "s3://bucket/consolidated/model-00001-of-00002.safetensors",
    "s3://bucket/consolidated/model-00002-of-00002.safetensors",
]


@pytest.mark.parametrize("files", [[], BOTH[:1], BOTH[1:]])
@pytest.mark.parametrize("is_mistral", [False, True])
def test_weights_of_one_format_are_all_streamed(files: list[str], is_mistral: bool) -> None:
    assert of_one_format(files, is_mistral=is_mistral) == files


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """vLLM's modules as far as they are used: the loader has its own name for the listing."""
    utilities, loader = (ModuleType(name) for name in ("vllm.transformers_utils.runai_utils", streamed_weights._LOADER))
    found = BOTH
    utilities.list_safetensors = lambda path="": found  # type: ignore[attr-defined]
    loader.list_safetensors = utilities.list_safetensors  # type: ignore[attr-defined]
    parent = ModuleType("vllm.transformers_utils")
    parent.runai_utils = utilities  # type: ignore[attr-defined]
    for module in (ModuleType("vllm"), parent, utilities, loader):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return loader


def test_an_object_store_is_read_in_the_format_that_the_spec_names(listing: ModuleType) -> None:
    streamed_weights.install({})
    streamed_weights.install({})
    assert listing.list_safetensors("s3://bucket/consolidated") == BOTH[1:]


def test_mistrals_format_is_streamed_if_the_spec_names_it(listing: ModuleType, tmp_path: Path) -> None:
    streamed_weights.install({"MODEL_FORMAT": "mistral"})
    assert listing.list_safetensors("s3://bucket/consolidated") == BOTH[:1]


@pytest.mark.parametrize(("model_format", "count"), [("", 1), ("hf", 2)])
def test_of_a_directory_with_params_json_the_consolidated_file_is_streamed(
    listing: ModuleType, tmp_path: Path, model_format: str, count: int
) -> None:
    (tmp_path / "params.json").touch()
    streamed_weights.install({"MODEL_FORMAT": model_format})
    assert len(listing.list_safetensors(str(tmp_path))) == count
