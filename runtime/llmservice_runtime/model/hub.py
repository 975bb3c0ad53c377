"""Reads a model's small files from a hub with huggingface_hub, which vLLM also uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from llmservice_contract import causes
from llmservice_contract.source import Repository
from llmservice_runtime.model import mistral
from llmservice_runtime.model.unreadable import NAMES_READ, ModelUnreadable, one_line, read_json, root_cause

CONFIG = "config.json"
GATED = "it is gated, and its licence has not been accepted, or no token of who accepted it is given"


COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one revision."""

    commit: str | None
    """The commit of the revision; None if the hub reports none."""
    sizes: Mapping[str, int]
    """Sizes in bytes by path."""


def listing(source: Repository, revision: str | None) -> Listing:
    """Lists the repository. Raises ModelUnreadable."""
    info = _ask(source, revision, lambda api: api.model_info(source.name, revision=revision, files_metadata=True))
    commit = info.sha if isinstance(info.sha, str) and COMMIT.fullmatch(info.sha) else None
    return Listing(commit, {file.rfilename: file.size or 0 for file in info.siblings or ()})


def names(source: Repository, revision: str | None) -> list[str]:
    """Paths of the files. Raises ModelUnreadable."""
    found: list[str] = _ask(source, revision, lambda api: api.list_repo_files(source.name, revision=revision))
    return found


def cached_names(source: Repository, revision: str | None) -> list[str]:
    """Names of files in the local cache; none if that is unknown."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return []
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{source.name.replace('/', '--')}" / "snapshots"
    try:
        at_commit = revision is not None and COMMIT.fullmatch(revision)
        places = [snapshots / revision] if revision and at_commit else list(islice(snapshots.iterdir(), NAMES_READ))
        return [entry.name for place in places for entry in islice(place.iterdir(), NAMES_READ)]
    except OSError:
        return []


def read_config(source: Repository, revision: str | None) -> dict[str, Any]:
    """Reads config.json of the repository, or what params.json says in its place. Raises ModelUnreadable."""
    try:
        return read_json(download(source, revision, CONFIG), f"{CONFIG} of {source.name}")
    except ModelUnreadable as error:
        if not error.is_missing_file:
            raise
        try:
            path = download(source, revision, mistral.PARAMS)
        except ModelUnreadable:
            raise error from None
    return mistral.as_config(read_json(path, f"{mistral.PARAMS} of {source.name}"))


def download(source: Repository, revision: str | None, name: str) -> Path:
    """Downloads one of its files, and returns its path in the client's cache. Raises ModelUnreadable."""
    return Path(_ask(source, revision, lambda api: api.hf_hub_download(source.name, name, revision=revision)))


def _ask(source: Repository, revision: str | None, question: Callable[[Any], Any]) -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE, "huggingface_hub is not installed: use an image of the runtime."
        ) from None
    where = f"{source.name} at {source.endpoint or 'the Hugging Face hub'}"
    try:
        return question(HfApi(endpoint=source.endpoint))
    except HfHubHTTPError as error:
        raise _refusal(where, revision, error) from error
    except Exception as error:
        raise ModelUnreadable(
            causes.HUB_UNREACHABLE, f"{where} could not be read: {one_line(root_cause(error))}."
        ) from error


def _refusal(where: str, revision: str | None, error: Any) -> ModelUnreadable:
    response = getattr(error, "response", None)
    status, code = getattr(response, "status_code", None), getattr(response, "headers", {}).get("X-Error-Code", "")
    match status:
        case 401 | 403:
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered {status}: {GATED if code == 'GatedRepo' else 'this token may not read it'}.",
                field="spec.model.credentialsRef",
                fix="Accept the model's licence on the hub, and put a token of that account as HF_TOKEN into the "
                "Secret of spec.model.credentialsRef.",
                alternative=""
                if code == "GatedRepo" or status == 403
                else "it does not exist: check spec.model.source",
            )
        case 404 if code == "RevisionNotFound":
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered 404: there is no revision {revision or 'main'}.",
                field="spec.model.revision",
                fix="Set spec.model.revision to a commit, tag or branch of the repository.",
            )
        case 404 if code == "EntryNotFound":
            return ModelUnreadable(
                causes.MODEL_UNREADABLE,
                f"{where} answered 404: it has no {CONFIG}, so it is no model that vLLM loads.",
                fix="Choose a repository with the model's config.json and *.safetensors.",
                is_missing_file=True,
            )
        case 404:
            at = f" at revision {revision}" if revision else ""
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered 404: there is no such repository{at}.",
                fix="Check the name in spec.model.source; for a private one, put a token that may read it as HF_TOKEN "
                "into the Secret of spec.model.credentialsRef.",
                alternative="it is private, and this token may not see it",
            )
    return ModelUnreadable(
        causes.HUB_REFUSED,
        f"{where} answered {status or 'with an error'}: {one_line(error)}.",
        alternative="the hub has a trouble of its own, which passes",
    )
