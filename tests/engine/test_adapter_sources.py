"""Adapters of a store and of a hub on this machine, fetched by the clients that the runtime image has."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.adapters import LAST_DOWN, write_adapter
from support.engine import ROOT, vllm_python
from support.hub import COMMIT, PUBLIC, serve_hub
from support.store import serve_store

HUB, STORE = f"hf://{PUBLIC}", "s3://bucket/legal"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an engine whose hub and store have the adapter."""
    adapter = write_adapter(tmp_path_factory.mktemp("source"), [[0.0] * 8] * 2, [[0.0] * 2] * 4)
    with ExitStack() as stack:
        hub = stack.enter_context(serve_hub(adapter))
        objects = {f"legal/{each.name}": each.read_bytes() for each in adapter.iterdir()}
        store = stack.enter_context(serve_store("bucket", objects))
        keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        yield {"HF_ENDPOINT": hub, "AWS_ENDPOINT_URL": store, **keys}


def fetch(
    environ: dict[str, str], directory: Path, source: str, revision: str | None, most: int = 10_000, **more: str
) -> Any:
    """What the program says; its copy is in `directory`/copy."""
    adapter = {"name": "legal", "source": source} | ({"revision": revision} if revision else {})
    asked = {"adapter": adapter, "into": str(directory / "copy"), "most": most, "max_rank": 16} | more
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HF_"))}
    done = subprocess.run(
        [vllm_python(), "-m", "llmservice_runtime.adapters", json.dumps(asked)],
        env=ours | environ | {"PYTHONPATH": str(ROOT / "runtime"), "HOME": str(directory / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(("source", "revision"), [(HUB, COMMIT), (STORE, None)])
def test_only_the_adapter_is_left_on_the_disk(
    environ: dict[str, str], tmp_path: Path, source: str, revision: str | None
) -> None:
    assert len(fetch(environ, tmp_path, source, revision)["digest"]) == 64
    files = sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file())
    assert files == ["copy/adapter_config.json", "copy/adapter_model.safetensors"]


@pytest.mark.parametrize(
    ("source", "revision", "most", "reason"),
    [
        (HUB, COMMIT, 100, "AdapterTooLarge"),
        (STORE, None, 100, "AdapterTooLarge"),
        ("hf://org/absent", COMMIT, 10_000, "AdapterNotFound"),
        ("s3://bucket/absent", None, 10_000, "AdapterNotFound"),
    ],
)
def test_one_that_is_refused_leaves_nothing(
    environ: dict[str, str], tmp_path: Path, source: str, revision: str | None, most: int, reason: str
) -> None:
    assert fetch(environ, tmp_path, source, revision, most)["reason"] == reason
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_an_adapter_of_a_smaller_model_is_refused_by_the_weights_that_the_hubs_client_has(
    environ: dict[str, str], tmp_path: Path
) -> None:
    snapshots = tmp_path / "home" / ".cache" / "huggingface" / "hub" / "models--org--base" / "snapshots"
    base = snapshots / COMMIT
    base.mkdir(parents=True)
    header = {f"{LAST_DOWN}.weight": {"dtype": "BF16", "shape": [4, 16], "data_offsets": [0, 128]}}
    text = json.dumps(header).encode()
    (base / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(128))
    said = fetch(environ, tmp_path, HUB, COMMIT, model="org/base", model_revision=COMMIT)
    assert said["reason"] == "AdapterDoesNotFit"
    assert said["message"].endswith("has 8 inputs and 4 outputs, but the model's has 16 and 4.")
