"""What is read of a model, and what is said when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmservice_contract import causes
from llmservice_contract.choices import SpeculativeMethod
from llmservice_contract.configuration import packed
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts, inspection_from_json
from llmservice_contract.source import Directory, Repository
from llmservice_runtime.launcher.settings import Speculation
from llmservice_runtime.model import hub, model_files
from llmservice_runtime.model.hub import Listing
from llmservice_runtime.model.inspection import facts, inspect
from llmservice_runtime.model.model_files import check_directory
from llmservice_runtime.model.unreadable import ModelUnreadable

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 16,
    "max_position_embeddings": 8192,
}


def model(directory: Path, config: object = LLAMA) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model-1.safetensors").write_bytes(b"x" * 700)
    (directory / "model-2.safetensors").write_bytes(b"x" * 300)
    return directory


def test_the_facts_of_a_directory(tmp_path: Path) -> None:
    assert inspect(Directory(str(model(tmp_path))), None) == ModelFacts(
        architecture="LlamaForCausalLM",
        attention_heads=32,
        key_value_heads=8,
        layers=16,
        max_context_length=8192,
        quantization=None,
        weight_bytes=1000,
        configuration=packed(LLAMA),
    )


def listed(small: Mapping[str, int] | ModelUnreadable, asked: list[tuple[str, str | None]]) -> Callable[..., Listing]:
    def listing(source: Repository, revision: str | None) -> Listing:
        asked.append((source.name, revision))
        if source.name == "org/large":
            return Listing("a" * 40, {"model.safetensors": 5})
        if isinstance(small, ModelUnreadable):
            raise small
        return Listing("b" * 40, small)

    return listing


def test_the_commit_of_the_draft_model_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(hub, "listing", listed({"model.safetensors": 5}, asked))
    monkeypatch.setattr(hub, "read_config", lambda source, revision: LLAMA)
    draft = Speculation(SpeculativeMethod.DRAFT, 4, Repository("org/small"), "main")
    found = inspect(Repository("org/large"), None, draft)
    assert isinstance(found, ModelFacts)
    assert (found.revision, found.draft_revision, found.layers) == ("a" * 40, "b" * 40, 16)
    assert asked == [("org/large", None), ("org/small", "main")]
    assert inspection_from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "small",
    [{"pytorch_model.bin": 5}, ModelUnreadable(causes.HUB_REFUSED, "org/small answered 404.")],
    ids=["pickles", "refused"],
)
def test_a_draft_model_that_can_not_be_read_is_named(
    small: Mapping[str, int] | ModelUnreadable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "listing", listed(small, []))
    monkeypatch.setattr(hub, "read_config", lambda source, revision: LLAMA)
    found = inspect(Repository("org/large"), None, Speculation(SpeculativeMethod.DRAFT, 4, Repository("org/small")))
    assert isinstance(found, Finding)
    assert found.field == "spec.engine.speculative.model"
    assert "org/small" in found.message


SPECULATOR = {**LLAMA, "speculators_config": {"verifier": {"name_or_path": "others/model"}}}


def test_a_model_that_names_another_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM would serve the one that is named, from wherever that is."""
    directory = Directory(str(model(tmp_path / "local", SPECULATOR)))
    monkeypatch.setattr(hub, "read_config", lambda source, revision: SPECULATOR)
    monkeypatch.setattr(hub, "listing", listed({}, []))
    for source in (directory, Repository("org/large")):
        with pytest.raises(ModelUnreadable, match="speculators_config"):
            model_files.check_config(source, None)
        found = inspect(source, None)
        assert isinstance(found, Finding)
        assert found.reason == causes.BAD_CONFIG.name
    model_files.check_config(Directory(str(model(tmp_path / "plain"))), None)
    model_files.check_config(Directory(str(tmp_path / "none")), None)


def test_a_multimodal_models_text_part_counts() -> None:
    found = facts({"architectures": ["X"], "text_config": LLAMA, "vision_config": {"num_hidden_layers": 2}}, None)
    assert (found.architecture, found.layers, found.attention_heads) == ("X", 16, 32)


def test_without_grouped_attention_every_head_has_its_keys() -> None:
    found = facts({"n_head": 12, "n_layer": 6}, None)
    assert (found.attention_heads, found.key_value_heads, found.layers) == (12, 12, 6)


def test_what_config_json_does_not_say_stays_unknown() -> None:
    found = facts({"num_attention_heads": "many", "num_hidden_layers": True}, None)
    assert (found.attention_heads, found.key_value_heads, found.layers) == (None, None, None)


@pytest.mark.parametrize(
    ("sizes", "total"),
    [
        ({"model-1.safetensors": 700, "model-2.safetensors": 300, "README.md": 9}, 1000),
        ({"model-1.safetensors": 700, "consolidated.safetensors": 700}, 700),
        ({"consolidated-1.safetensors": 400, "consolidated-2.safetensors": 300}, 700),
        ({"model.safetensors": 700, "original/model.safetensors": 700}, 700),
        ({"README.md": 9}, None),
    ],
)
def test_weights_that_are_there_twice_count_once(sizes: dict[str, int], total: int | None) -> None:
    assert model_files.total(sizes) == total


def test_what_is_no_json_in_the_strict_sense_does_not_travel() -> None:
    assert facts({"num_attention_heads": 12, "bias": float("nan")}, None).configuration is None


def test_a_missing_path_says_what_is_there(tmp_path: Path) -> None:
    model(tmp_path / "llama-8b")
    (tmp_path / "README").touch()
    result = inspect(Directory(f"{tmp_path}/lama-8b/final"), None)
    assert result == Finding(
        "ModelUnreadable",
        f"The model's directory {tmp_path}/lama-8b/final does not exist. {tmp_path} holds README, llama-8b/.",
        field="spec.model.source",
        fix=f"Put spec.model.source right (there is {tmp_path}/llama-8b), or copy the model to that place.",
    )


def test_a_directory_that_is_no_model_says_what_it_holds(tmp_path: Path) -> None:
    model(tmp_path / "llama-8b")
    with pytest.raises(ModelUnreadable, match=r"has no config.json, so it is no model. It holds llama-8b/."):
        check_directory(tmp_path)


def test_a_long_listing_is_cut(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"file-{number:02}").touch()
    with pytest.raises(ModelUnreadable, match=r"file-00, .*file-11, …\.$"):
        check_directory(tmp_path)


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match=r"It holds nothing\."):
        check_directory(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    result = inspect(Directory(str(tmp_path)), None)
    assert isinstance(result, Finding)
    assert (result.reason, f"{tmp_path}/config.json" in result.message) == ("BadConfig", True)
