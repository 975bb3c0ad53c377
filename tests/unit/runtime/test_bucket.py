"""A model on S3 as the Run:ai streamer hands it over; the streamer itself is played."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llmservice_contract.inspection import InspectionFailure, ModelFacts
from llmservice_runtime.facts import inspect
from llmservice_runtime.source import ObjectPrefix

TINY = ObjectPrefix("s3://bucket/llms/tiny")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The bucket's objects by key; patterns are matched against whole keys, as the streamer does."""
    objects: dict[str, str] = {}

    def pull_files(url: str, directory: str, allow: list[str], _ignore: None) -> None:
        prefix = url.removeprefix("s3://bucket/")
        for key, content in objects.items():
            if key.startswith(prefix) and any(fnmatch.fnmatch(key, pattern) for pattern in allow):
                (Path(directory) / key.removeprefix(prefix)).write_text(content)

    streamer = ModuleType("runai_model_streamer")
    streamer.pull_files = pull_files  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "runai_model_streamer", streamer)
    return objects


def test_config_json_is_read(bucket: dict[str, str]) -> None:
    bucket["llms/tiny/config.json"] = '{"num_attention_heads": 4}'
    found = inspect(TINY, None)
    assert isinstance(found, ModelFacts)
    assert (found.attentionHeads, found.weightBytes) == (4, None)


def test_a_prefix_without_a_model_is_refused(bucket: dict[str, str]) -> None:
    bucket["llms/tiny-2/config.json"] = "{}"
    assert inspect(TINY, None) == InspectionFailure(
        "NoConfig", "s3://bucket/llms/tiny has no config.json, so it is no model.", "spec.model.source"
    )


def test_what_the_client_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull_files(*_: object) -> None:
        raise OSError("Could not connect to the endpoint")

    streamer = ModuleType("runai_model_streamer")
    streamer.pull_files = pull_files  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "runai_model_streamer", streamer)
    result = inspect(TINY, None)
    assert isinstance(result, InspectionFailure)
    assert result.message == "s3://bucket/llms/tiny could not be read: Could not connect to the endpoint."


def test_without_the_streamer_it_says_which_image_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "runai_model_streamer", None)
    result = inspect(TINY, None)
    assert isinstance(result, InspectionFailure)
    assert (result.error, "image of the runtime" in result.message) == ("NoStreamer", True)
