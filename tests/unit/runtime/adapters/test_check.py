"""What an adapter may be, before vLLM sees it."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_contract.adapters import Adapter
from llmservice_contract.source import ObjectPrefix, Repository
from llmservice_runtime.adapters import fetch as fetching
from llmservice_runtime.adapters.check import Base, check_config
from llmservice_runtime.adapters.fetch import base_shapes, fetch, model_directory
from llmservice_runtime.adapters.refused import AdapterRefused
from llmservice_runtime.model import bucket, hub
from support.adapters import LAST_DOWN, write_adapter

BASE = Base(max_rank=16, hidden_size=4, layers=2)
A, B = [[0.0] * 8] * 2, [[0.0] * 2] * 4


def refusal(directory: Path, base: Base = BASE, most: int = 10_000) -> tuple[str, str]:
    with pytest.raises(AdapterRefused) as error:
        fetch(Adapter("a", str(directory)), directory.parent / "copy", base, most)
    assert not (directory.parent / "copy").exists()
    return error.value.reason, str(error.value)


def test_only_what_vllm_needs_is_copied(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "a", A, B, auto_mapping={"x": "y"}, base_model_name_or_path="http://host/model")
    (source / "adapter_model.bin").write_bytes(b"pickle")
    digest = fetch(Adapter("a", str(source)), tmp_path / "copy", BASE)
    assert sorted(each.name for each in (tmp_path / "copy").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "copy" / "adapter_config.json").read_text())
    assert config == {"peft_type": "LORA", "bias": "none", "r": 2, "lora_alpha": 2, "target_modules": ["down_proj"]}
    assert len(digest) == 64
    assert fetch(Adapter("b", str(source)), tmp_path / "copy", BASE) == digest


@pytest.mark.parametrize(
    ("a", "b", "module", "reason"),
    [
        ([[0.0] * 8] * 17, [[0.0] * 17] * 4, LAST_DOWN, "AdapterRankTooLarge"),
        (A, [[0.0] * 2] * 5, LAST_DOWN, "AdapterDoesNotFit"),
        (A, B, "model.layers.2.mlp.down_proj", "AdapterDoesNotFit"),
        (A, [[0.0] * 3] * 4, LAST_DOWN, "AdapterInvalid"),
        (A, B, "model.layers.1.self_attn.q_proj", "AdapterDoesNotFit"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, a: list[list[float]], b: list[list[float]], module: str, reason: str
) -> None:
    assert refusal(write_adapter(tmp_path / "a", a, b, module))[0] == reason


def test_the_files_of_the_model_are_those_that_vllm_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = {(Repository("org/tiny"), "0" * 40): tmp_path}
    monkeypatch.setattr(hub, "snapshot", lambda source, revision: cached.get((source, revision)))
    assert model_directory("org/tiny", "0" * 40) == tmp_path
    assert model_directory("/models/tiny", None) == Path("/models/tiny")
    assert [model_directory(each, None) for each in ("", "s3://bucket/tiny", "org/tiny")] == [None] * 3


def test_shapes_are_those_of_the_models_own_weights(tmp_path: Path) -> None:
    header = json.dumps({f"{LAST_DOWN}.weight": {"dtype": "BF16", "shape": [4, 9], "data_offsets": [0, 72]}}).encode()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 72)
    base = Base(16, shapes=base_shapes(tmp_path / "model"))
    reason, message = refusal(write_adapter(tmp_path / "a", A, B), base)
    assert reason == "AdapterDoesNotFit"
    assert message == f"its {LAST_DOWN} has 8 inputs and 4 outputs, but the model's has 9 and 4."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "AdapterUnsafe"),
        ({"rank_pattern": {"(a+)+$": 4}}, "AdapterUnsafe"),
        ({"peft_type": "IA3"}, "AdapterUnsupported"),
        ({"use_dora": True}, "AdapterUnsupported"),
        ({"modules_to_save": ["lm_head"]}, "AdapterUnsupported"),
        ({"init_lora_weights": "pissa"}, "AdapterUnsupported"),
        ({"r": 17}, "AdapterRankTooLarge"),
        ({"rank_pattern": {"q_proj": 32}}, "AdapterRankTooLarge"),
        ({"r": True}, "AdapterInvalid"),
        ({"lora_alpha": "8"}, "AdapterInvalid"),
    ],
)
def test_configurations_that_can_not_be_served(change: dict[str, Any], reason: str) -> None:
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8} | change
    with pytest.raises(AdapterRefused) as error:
        check_config(json.dumps(config).encode(), 16)
    assert error.value.reason == reason


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    weights = source / "adapter_model.safetensors"
    content = weights.read_bytes()
    for changed in (b"", b"\xff" * 8, content[:-1], content[:40], struct.pack("<Q", 4) + b"[[[["):
        weights.write_bytes(changed)
        assert refusal(source)[0] == "AdapterInvalid"
    weights.write_bytes(content)
    assert refusal(source, most=len(content) - 1)[0] == "AdapterTooLarge"
    (source / "adapter_config.json").write_text("[" * 5_000)
    assert refusal(source)[0] == "AdapterInvalid"


def test_links_to_files_of_the_container_are_not_followed(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    (source / "adapter_config.json").unlink()
    (source / "adapter_config.json").symlink_to("/etc/passwd")
    assert refusal(source)[0] == "AdapterNotFound"


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    (source / "adapter_model.safetensors").rename(source / "adapter_model.bin")
    assert refusal(source)[0] == "AdapterUnsafe"


def test_an_absent_source_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == (
        "AdapterNotFound",
        "the source has no adapter_config.json and no adapter_model.safetensors.",
    )
    assert refusal(tmp_path / "absent")[0] == "AdapterNotFound"


def test_an_adapter_leaves_room_on_the_disk_for_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    free = SimpleNamespace(free=fetching.KEPT_FREE_BYTES + 10)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: free)
    reason, message = refusal(source)
    assert reason == "AdapterTooLarge" and message.endswith("at most 10 are left for it.")


class Store:
    """A store that sends these objects in pieces, whatever length it states."""

    def __init__(self, objects: dict[str, bytes], length: int | None = None) -> None:
        self.objects, self.length = objects, length
        self.pieces = 0

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - the library's names
        content = self.objects[f"{Bucket}/{Key}"]
        length = len(content) if self.length is None else self.length
        return {"Body": SimpleNamespace(iter_chunks=lambda size: self._sent(content)), "ContentLength": length}

    def _sent(self, content: bytes) -> Iterator[bytes]:
        stream = io.BytesIO(content)
        while piece := stream.read(100):
            self.pieces += 1
            yield piece


@pytest.mark.parametrize(("length", "pieces"), [(1000, 0), (5, 3)])
def test_of_a_large_object_no_more_is_read_than_may_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, pieces: int
) -> None:
    store = Store({"bucket/a/big": b"x" * 1000}, length)
    monkeypatch.setattr(bucket, "_ask", lambda source, question, once_within: question(store))
    assert bucket.copy(ObjectPrefix("s3://bucket/a"), "big", tmp_path / "big", 250, 9) > 250
    assert store.pieces == pieces
    assert not (tmp_path / "big").exists() or (tmp_path / "big").stat().st_size <= 250


def test_an_adapter_of_a_store_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    store = Store({f"bucket/a/{each.name}": each.read_bytes() for each in source.iterdir()})
    monkeypatch.setattr(bucket, "_ask", lambda source, question, once_within: question(store))
    assert fetch(Adapter("a", "s3://bucket/a"), tmp_path / "copy", BASE) == fetch(
        Adapter("a", str(source)), tmp_path / "other", BASE
    )


def test_an_adapter_of_a_hub_does_not_stay_in_the_clients_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_adapter(tmp_path / "a", A, B)
    asked: list[float] = []

    def ask(_: Any, revision: str, question: Any, *, once: bool, seconds: float) -> Any:
        asked.append(seconds)
        return question(SimpleNamespace(hf_hub_download=download))

    def download(_: str, name: str, *, revision: str, local_dir: Path) -> str:
        (local_dir / ".cache").mkdir(exist_ok=True)
        (local_dir / name).write_bytes((source / name).read_bytes())
        return str(local_dir / name)

    sizes = {each.name: each.stat().st_size for each in source.iterdir()}
    monkeypatch.setattr(hub, "listing", lambda _, revision: hub.Listing(revision, sizes))
    monkeypatch.setattr(hub, "_ask", ask)
    fetch(Adapter("a", "hf://o/a", "0" * 40), tmp_path / "copy", BASE)
    assert sorted(each.name for each in (tmp_path / "copy").iterdir()) == sorted(sizes)
    assert asked == [900, 900]
    sizes["adapter_model.safetensors"] = 1  # the hub's list need not be true
    with pytest.raises(AdapterRefused, match=r"adapter_model\.safetensors has"):
        fetch(Adapter("a", "hf://o/a", "0" * 40), tmp_path / "other", BASE, 100)
