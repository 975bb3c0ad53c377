"""A model's directory that leads out of itself is refused: what it leads to would be read as the model's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmservice_runtime.model import links
from llmservice_runtime.model.links import check_links
from llmservice_runtime.model.unreadable import ModelUnreadable

FIELD = "spec.model.source"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "volume" / "tiny"
    (directory / "sub").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "abc").write_text("secret")
    return directory


def refused(directory: Path) -> str:
    with pytest.raises(ModelUnreadable) as raised:
        check_links(directory, FIELD)
    assert raised.value.finding.reason == "ModelUnreadable"
    assert raised.value.finding.field == FIELD
    return str(raised.value)


def test_a_plain_directory_passes(model: Path) -> None:
    (model / "alias.json").symlink_to("config.json")
    check_links(model, FIELD)


@pytest.mark.parametrize("target", ["../../keys/abc", "../../keys", "/etc/passwd", "/proc/self/environ", "../../gone"])
@pytest.mark.parametrize("place", ["tokenizer.json", "sub/chat_template.jinja"])
def test_a_link_to_outside_is_refused_by_its_name(model: Path, target: str, place: str) -> None:
    (model / place).symlink_to(target if target.startswith("/") else model / target)
    assert place in refused(model)


def test_a_chain_of_links_is_followed(model: Path) -> None:
    (model / "second").symlink_to(model / "../../keys/abc")
    (model / "first").symlink_to("second")
    assert "symbolic link" in refused(model)


def test_within_the_mounted_volume_links_may_lead_anywhere(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MODELS_PATH", str(model.parent))
    (model.parent / "blobs").mkdir()
    (model.parent / "blobs" / "1").write_text("x")
    (model / "model.safetensors").symlink_to("../blobs/1")
    check_links(model, FIELD)
    (model / "keys").symlink_to("../../keys")
    assert "keys" in refused(model)


def test_the_directory_itself_may_not_leave_the_volume(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MODELS_PATH", str(model.parent))
    (model.parent / "other").symlink_to("../keys")
    assert "leads out" in refused(model.parent / "other")


def test_what_would_block_a_reader_is_refused(model: Path) -> None:
    os.mkfifo(model / "generation_config.json")
    assert "generation_config.json" in refused(model)


def test_the_walk_is_bounded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_ENTRIES", 20)
    for at in range(30):
        (model / f"{at}").touch()
    assert "20 entries" in refused(model)
