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
from llmservice_runtime.model.weights import check_kind, format_of, load_format


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


GGUF = ["model-Q4_K_M.gguf", "README.md"]
LORA = ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(("names", "reason", "said"), [(GGUF, "NoWeights", "GGUF"), (LORA, "ModelUnreadable", "LoRA")])
def test_what_is_no_model_of_vllm_is_named(names: list[str], reason: str, said: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    found = inspect(Directory(str(tmp_path)), None)
    assert isinstance(found, Finding)
    assert (found.reason, found.field) == (reason, "spec.model.source")
    assert said in found.message
    with pytest.raises(ModelUnreadable, match=said):
        check_kind(names, "org/tiny")
    check_kind([*names, "config.json", "model.safetensors"], "org/tiny")


@pytest.mark.parametrize(("names", "said"), [(GGUF, "GGUF"), (LORA, "LoRA")])
def test_a_repository_is_listed_before_its_config_is_asked_for(
    names: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = hub.Listing(None, dict.fromkeys(names, 1))
    monkeypatch.setattr(hub, "listing", lambda *_: listed)
    monkeypatch.setattr(hub, "read_config", lambda *_: pytest.fail("config.json was asked for"))
    found = inspect(Repository("org/tiny"), None)
    assert isinstance(found, Finding)
    assert said in found.message


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
