"""Which local cache counts as the whole model, and when it is used in place of the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmservice_contract import causes
from llmservice_contract.source import Directory, Repository
from llmservice_runtime.model import hub, offline
from llmservice_runtime.model.offline import is_complete, reach_hub
from llmservice_runtime.model.unreadable import ModelUnreadable

MODEL, DRAFT = Repository("org/chat"), Repository("org/draft")
WHOLE = ("config.json", "tokenizer.json", "model.safetensors")
PARTS = tuple(f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
UNAVAILABLE = ModelUnreadable(causes.HUB_UNREACHABLE, "org/chat at hub answered 503.")
REFUSED = ModelUnreadable(causes.HUB_REFUSED, "org/chat at hub answered 403.")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a snapshot for each repository, by its name's last part."""

    def snapshot(source: Repository, _revision: str | None) -> Path | None:
        folder = tmp_path / source.name.rpartition("/")[2]
        return folder if folder.is_dir() else None

    monkeypatch.setattr(hub, "snapshot", snapshot)
    monkeypatch.setattr(hub, "is_offline", lambda: False)
    return tmp_path


def cached(caches: Path, *names: str, index: object = None, of: str = "chat") -> None:
    (caches / of).mkdir()
    for name in names:
        (caches / of / name).touch()
    if index is not None:
        text = index if isinstance(index, str) else json.dumps({"weight_map": index})
        (caches / of / offline.INDEX).write_text(text)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: ModelUnreadable | None) -> list[str]:
    """A hub with these answers; the list has `offline` once this process asks no hub any more."""
    left, said = list(answers), list[str]()

    def check_available(_source: Repository, _revision: str | None, *, is_cached: bool) -> None:
        said.append("cached" if is_cached else "not cached")
        answer = left.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(hub, "check_available", check_available)
    monkeypatch.setattr(hub, "go_offline", lambda: said.append("offline"))
    return said


@pytest.mark.parametrize(
    ("names", "index", "complete"),
    [
        (WHOLE, None, True),
        (("params.json", "tekken.json", "consolidated.safetensors"), None, True),
        ((*WHOLE[:2], *PARTS), dict(enumerate(PARTS)), True),
        ((*WHOLE[:2], *PARTS), None, True),
        ((*WHOLE[:2], PARTS[0]), None, False),
        ((*WHOLE[:2], PARTS[0]), {"a": PARTS[0]}, False),
        (WHOLE, {"a": "model.safetensors", "b": "other.safetensors"}, False),
        (WHOLE, {"a": ["model.safetensors"]}, False),
        (WHOLE, "[" * 100_000, False),
        (WHOLE[:2], None, False),
        (WHOLE[1:], None, False),
        ((WHOLE[0], WHOLE[2]), None, False),
        ((), None, False),
    ],
)
def test_a_cache_counts_if_it_has_the_whole_model(
    caches: Path, names: tuple[str, ...], index: object, complete: bool
) -> None:
    cached(caches, *names, index=index)
    assert is_complete(MODEL, None) is complete


def test_a_link_to_nothing_is_no_file(caches: Path) -> None:
    cached(caches, *WHOLE[:2])
    (caches / "chat" / "model.safetensors").symlink_to(caches / "blobs" / "gone")
    assert not is_complete(MODEL, None)


def test_with_the_model_in_its_cache_it_starts_without_a_hub_that_is_unavailable(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(caches, *WHOLE)
    said = answering(monkeypatch, UNAVAILABLE)
    assert reach_hub([(MODEL, "v1")])
    assert said == ["cached", "offline"]


def test_without_it_the_hub_is_the_cause(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = answering(monkeypatch, UNAVAILABLE)
    with pytest.raises(ModelUnreadable, match="503"):
        reach_hub([(MODEL, "v1")])
    assert said == ["not cached"]


@pytest.mark.parametrize("answer", [None, REFUSED])
def test_a_hub_that_answers_is_asked(caches: Path, monkeypatch: pytest.MonkeyPatch, answer: ModelUnreadable) -> None:
    cached(caches, *WHOLE)
    said = answering(monkeypatch, answer)
    assert not reach_hub([(MODEL, "v1")])
    assert "offline" not in said


def test_a_draft_model_has_to_be_there_too(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(caches, *WHOLE)
    answering(monkeypatch, UNAVAILABLE)
    with pytest.raises(ModelUnreadable):
        reach_hub([(MODEL, None), (DRAFT, None)])
    cached(caches, "config.json", "model.safetensors", of="draft")
    answering(monkeypatch, None, UNAVAILABLE)
    assert reach_hub([(MODEL, None), (DRAFT, None)]), "a draft model needs no tokenizer"


def test_a_directory_needs_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reach_hub([(Directory("/models/chat"), None)])
    assert answering(monkeypatch) == []
