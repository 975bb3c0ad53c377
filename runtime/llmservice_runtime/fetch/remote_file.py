"""The files of a model at its source, and which of them are fetched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from llmservice_contract import causes
from llmservice_runtime.model.unreadable import ModelUnreadable
from llmservice_runtime.model.weights import format_of

MOST_FILES = 2000
MOST_BYTES = 16 << 40
"""Maximum size of a model in bytes: 16 TiB."""
_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}/)?[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".jsonl")
"""Endings of configuration, tokenizer and templates. Neither code (.py) nor pickles are fetched."""
MOST_SMALL_BYTES = 256 << 20
"""Maximum size of one of them."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file at the source."""

    name: str
    size: int
    """In bytes."""
    link: Callable[[], str]
    """Makes the URL of a request, because signed URLs end with the keys of a role."""
    sha256: str | None = None
    git_sha1: str | None = None
    """Git's digest of a file that is in the repository itself."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of its requests, such as If-Match."""


def chosen(files: Iterable[RemoteFile], where: str) -> tuple[RemoteFile, ...]:
    """The files that vLLM reads, by name: weights in safetensors, configuration, tokenizer, templates. Raises
    ModelUnreadable, also if there are only pickles."""
    found = tuple(files)
    format_of((each.name for each in found), where)
    taken = {each.name: each for each in found if _is_read(each)}
    if not any(name.endswith(".safetensors") for name in taken):
        raise ModelUnreadable(
            causes.NO_WEIGHTS, f"{where} has no *.safetensors.", fix="Choose a model with *.safetensors."
        )
    if len(taken) > MOST_FILES or sum(each.size for each in taken.values()) > MOST_BYTES:
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE, f"{where} has more than {MOST_FILES} files or {MOST_BYTES >> 40} TiB."
        )
    return tuple(taken[name] for name in sorted(taken))


def _is_read(file: RemoteFile) -> bool:
    if not _NAME.fullmatch(file.name) or file.size < 0:
        return False
    if file.name.endswith(".safetensors"):
        return "/" not in file.name
    return file.name.endswith(_SMALL) and file.size <= MOST_SMALL_BYTES
