"""A model's config.json from S3, through the Run:ai streamer, by which vLLM reads the weights."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llmservice_runtime.source import ObjectPrefix
from llmservice_runtime.unreadable import ModelUnreadable, one_line, read_json

CONFIG = "config.json"


def read_config(source: ObjectPrefix) -> dict[str, Any]:
    """config.json below the prefix. Raises ModelUnreadable."""
    try:
        from runai_model_streamer import pull_files
    except ImportError:
        raise ModelUnreadable(
            "NoStreamer", "runai-model-streamer is not installed: use an image of the runtime."
        ) from None
    with TemporaryDirectory() as directory:
        try:
            pull_files(source.url + "/", directory, [f"*/{CONFIG}"], None)
        except Exception as error:
            raise ModelUnreadable("BucketUnreadable", f"{source.url} could not be read: {one_line(error)}.") from error
        path = Path(directory) / CONFIG
        if not path.is_file():
            raise ModelUnreadable("NoConfig", f"{source.url} has no {CONFIG}, so it is no model.")
        return read_json(path, f"{CONFIG} of {source.url}")
