"""Weights are known by what their source states of them, and other weights than the pinned ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_contract.source import Directory, ObjectPrefix, Repository
from llmservice_runtime.model import bucket, digest, hub, inspection
from llmservice_runtime.model.unreadable import ModelUnreadable

A, B = "a" * 64, "b" * 64
FILES: Mapping[str, str | None] = {
    "config.json": None,
    "model-1.safetensors": A,
    "model-2.safetensors": B,
    "original/consolidated.safetensors": None,
}
PINNED = digest.of_files(FILES)
TINY, BUCKET = Repository("org/tiny"), ObjectPrefix("s3://models/tiny")


def test_every_file_of_weights_counts_and_nothing_else_does() -> None:
    assert PINNED is not None and PINNED.startswith("sha256:") and len(PINNED) == 71
    assert digest.of_files(dict(reversed(FILES.items()))) == PINNED
    assert digest.of_files({**FILES, "README.md": A, "pytorch_model.bin": A}) == PINNED
    changed = (
        {**FILES, "model-1.safetensors": B},
        {**FILES, "model-3.safetensors": A},
        {**FILES, "model-1.safetensors": B, "model-2.safetensors": A},
        {name: text for name, text in FILES.items() if name != "model-2.safetensors"},
    )
    found = {digest.of_files(each) for each in changed}
    assert len(found) == len(changed) and PINNED not in found and None not in found


@pytest.mark.parametrize("stated", [None, "", "a b", "a\nb", "a" * 201, "é"])
def test_a_file_of_which_nothing_valid_is_stated_gives_no_digest(stated: str | None) -> None:
    assert digest.of_files({**FILES, "model-2.safetensors": stated}) is None


def test_without_weights_there_is_no_digest() -> None:
    assert digest.of_files({"config.json": A, "a/b.safetensors": A}) is None


def hub_with(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str | None]) -> list[str | None]:
    """A hub with these files; the revisions that it was asked for."""
    asked: list[str | None] = []

    def listing(source: Repository, revision: str | None) -> hub.Listing:
        asked.append(revision)
        return hub.Listing("0" * 40, dict.fromkeys(files, 1), files)

    monkeypatch.setattr(hub, "listing", listing)
    monkeypatch.setattr(bucket, "weights_stated", lambda source: files)
    monkeypatch.setattr(bucket, "weight_sizes", lambda source: dict.fromkeys(files, 1))
    monkeypatch.setattr(
        inspection, "read_config", lambda source, revision=None: {"architectures": ["LlamaForCausalLM"]}
    )
    return asked


@pytest.mark.parametrize("source", [TINY, BUCKET])
def test_an_inspection_reports_the_digest_and_refuses_another(
    monkeypatch: pytest.MonkeyPatch, source: Repository | ObjectPrefix
) -> None:
    hub_with(monkeypatch, FILES)
    for wanted in (None, PINNED):
        found = inspection.inspect(source, None, None, wanted)
        assert isinstance(found, ModelFacts) and found.digest == PINNED
    refused = inspection.inspect(source, None, None, f"sha256:{A}")
    assert isinstance(refused, Finding)
    assert (refused.reason, refused.field) == ("DigestMismatch", "spec.model.digest")
    assert f"sha256:{A}" in refused.message and str(PINNED) in refused.message


def test_an_engine_does_not_start_with_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, FILES)
    digest.check_source(TINY, "v1", None)
    assert asked == []
    digest.check_source(TINY, "v1", PINNED)
    assert asked == ["v1"]
    for source in (TINY, BUCKET, Directory("/models/tiny")):
        with pytest.raises(ModelUnreadable) as raised:
            digest.check_source(source, None, f"sha256:{A}")
        assert raised.value.finding.reason == "DigestMismatch"
        assert raised.value.cause.exit_code == 120


def test_what_states_no_digest_does_not_pass_for_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_with(monkeypatch, {**FILES, "model-2.safetensors": None})
    with pytest.raises(ModelUnreadable, match=r"org/tiny does not state a digest of each of its \*.safetensors"):
        digest.check_source(TINY, None, PINNED)


def test_a_hub_that_is_down_is_not_asked_for_what_was_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, {})
    monkeypatch.setattr(hub, "is_offline", lambda: True)
    digest.check_source(TINY, "0" * 40, PINNED)
    assert asked == []
    with pytest.raises(ModelUnreadable):
        digest.check_source(BUCKET, None, PINNED)


@pytest.mark.parametrize(
    ("lfs", "expected"),
    [(None, None), ({"sha256": A}, A), ({"sha256": "A" * 64}, None), ({"sha256": 3}, None), ({}, None)],
)
def test_only_a_sha256_of_a_hub_counts(
    monkeypatch: pytest.MonkeyPatch, lfs: dict[str, Any] | None, expected: str | None
) -> None:
    file = SimpleNamespace(rfilename="a.safetensors", size=1, lfs=None if lfs is None else SimpleNamespace(**lfs))
    monkeypatch.setattr(hub, "_ask", lambda *_, **__: SimpleNamespace(sha="0" * 40, siblings=[file]))
    assert hub.listing(TINY, None).stated == {"a.safetensors": expected}
