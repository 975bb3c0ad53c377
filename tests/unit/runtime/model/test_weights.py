"""In which form weights are loaded: no file that can carry code is one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmservice_contract import causes
from llmservice_contract.choices import LoadFormat
from llmservice_contract.finding import Finding
from llmservice_contract.source import Directory, ObjectPrefix, Repository
from llmservice_runtime import subcommands
from llmservice_runtime.launcher.settings import read_settings
from llmservice_runtime.model import hub
from llmservice_runtime.model.inspection import inspect
from llmservice_runtime.model.unreadable import ModelUnreadable
from llmservice_runtime.model.weights import format_of, load_format


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["config.json", "model.safetensors"], "safetensors"),
        (["model-00001-of-00002.safetensors", "pytorch_model.bin"], "safetensors"),
        (["consolidated.safetensors", "params.json"], "mistral"),
        (["consolidated-00001.safetensors", "model-1.safetensors", "config.json"], "mistral"),
        (["original/consolidated.safetensors", "model.safetensors"], "safetensors"),
        (["config.json"], "safetensors"),
        (["config.json", "training_args.bin"], "safetensors"),
        ([], "safetensors"),
    ],
)
def test_the_form_is_one_without_code(names: list[str], expected: str) -> None:
    assert format_of(names, "org/tiny") == expected


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "model.ckpt"])
def test_a_model_of_pickles_alone_is_refused_by_their_names(name: str) -> None:
    with pytest.raises(ModelUnreadable) as raised:
        format_of(["config.json", name], "org/tiny")
    assert raised.value.finding.reason == "NoWeights"
    assert raised.value.finding.field == "spec.model.source"
    assert name in str(raised.value)
    assert "org/tiny" in str(raised.value)


def test_a_directory_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    source = Directory(str(tmp_path))
    with pytest.raises(ModelUnreadable):
        load_format(source, None)
    found = inspect(source, None)
    assert isinstance(found, Finding)
    assert found.reason == "NoWeights"
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert load_format(source, None) == "safetensors"


def test_a_store_is_streamed() -> None:
    assert load_format(ObjectPrefix("s3://bucket/tiny"), None) == "runai_streamer"


def test_a_hub_that_does_not_answer_leaves_the_safe_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_source: Repository, _revision: str | None) -> list[str]:
        raise ModelUnreadable(causes.HUB_UNREACHABLE, "no answer")

    monkeypatch.setattr(hub, "names", silent)
    assert load_format(Repository("org/tiny"), None) == "safetensors"
    monkeypatch.setattr(hub, "cached_names", lambda *_: ["consolidated.safetensors", "params.json"])
    assert load_format(Repository("org/tiny"), None) == "mistral", "what was downloaded before is loaded as before"


def test_no_load_format_of_the_spec_reads_files_of_other_kinds() -> None:
    """Of vLLM's formats these read *.safetensors alone, and dummy reads no file (tests/engine/test_weights.py)."""
    assert {str(each) for each in LoadFormat} == {"safetensors", "fastsafetensors", "runai_streamer", "dummy"}


@pytest.mark.parametrize("chosen", [None, *LoadFormat])
def test_a_model_of_pickles_is_refused_whatever_load_format_the_spec_names(chosen: str | None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    environ = {"MODEL_SOURCE": str(tmp_path)} | ({} if chosen is None else {"ENGINE_LOAD_FORMAT": chosen})
    settings = read_settings(environ)
    with pytest.raises(ModelUnreadable) as raised:
        subcommands._command(settings, {})
    assert raised.value.finding.reason == "NoWeights"
