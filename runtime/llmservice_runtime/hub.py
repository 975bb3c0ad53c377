"""A model's small files from a hub, through huggingface_hub, which vLLM brings along and uses itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmservice_runtime.source import Repository
from llmservice_runtime.unreadable import ModelUnreadable, one_line, read_json, root_cause

CONFIG = "config.json"


def read_config(source: Repository, revision: str | None) -> dict[str, Any]:
    """config.json of the repository. Raises ModelUnreadable."""
    path = _ask(source, revision, lambda api: api.hf_hub_download(source.name, CONFIG, revision=revision))
    return read_json(Path(path), f"{CONFIG} of {source.name}")


def weight_bytes(source: Repository, revision: str | None) -> int | None:
    """The size of all safetensors files as the hub lists it. Raises ModelUnreadable."""
    info = _ask(source, revision, lambda api: api.model_info(source.name, revision=revision, files_metadata=True))
    return sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(".safetensors")) or None


def _ask(source: Repository, revision: str | None, question: Callable[[Any], Any]) -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise ModelUnreadable("NoHubClient", "huggingface_hub is not installed: use an image of the runtime.") from None
    where = f"{source.name} at {source.endpoint or 'the Hugging Face hub'}"
    try:
        return question(HfApi(endpoint=source.endpoint))
    except HfHubHTTPError as error:
        raise ModelUnreadable("HubRefused", f"{where} {_refusal(revision, error)}") from error
    except Exception as error:
        raise ModelUnreadable("HubUnreachable", f"{where} could not be read: {one_line(root_cause(error))}.") from error


def _refusal(revision: str | None, error: Any) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    match status:
        case 401 | 403:
            return (
                f"answered {status}: it does not exist, is private, or its licence has not been accepted. Check the "
                "name, and that HF_TOKEN belongs to somebody who may read it."
            )
        case 404:
            at = f" at revision {revision}" if revision else ""
            return f"answered 404: there is no such repository{at}, or it has no {CONFIG}."
    return f"answered {status or 'with an error'}: {one_line(error)}."
