"""The files of a hub's repository at one commit, by the hub's API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from llmservice_contract.foreign import read_json
from llmservice_contract.source import Repository
from llmservice_runtime.fetch.client import Client
from llmservice_runtime.fetch.remote_file import RemoteFile
from llmservice_runtime.model.hub import COMMIT, SHA256

MOST_ANSWER = 32 << 20
"""Maximum size of the hub's answer in bytes."""


async def list_repository(client: Client, source: Repository, revision: str | None) -> tuple[str, list[RemoteFile]]:
    """The commit and the files. Raises ModelUnreadable."""
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    content = await client.read(f"{client.origin}/api/models/{source.name}{at}?blobs=true", MOST_ANSWER)
    answer = read_json(content.decode(errors="replace"), most=MOST_ANSWER)
    commit = answer.get("sha") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise client.refusal(f"The hub does not say which commit {revision or 'the default branch'} is.")
    if revision is not None and COMMIT.fullmatch(revision) and revision != commit:
        raise client.refusal(f"The hub answers with commit {commit}, and {revision} was asked for.")
    return commit, list(_files(f"{client.origin}/{source.name}/resolve/{commit}", answer.get("siblings")))


def _files(base: str, siblings: Any) -> Iterator[RemoteFile]:
    for each in siblings if isinstance(siblings, list) else ():
        name, size = (each.get("rfilename"), each.get("size")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool):
            continue
        stored = each.get("lfs")
        sha256 = _digest(stored.get("sha256"), SHA256) if isinstance(stored, Mapping) else None
        git = None if isinstance(stored, Mapping) else _digest(each.get("blobId"), COMMIT)
        yield RemoteFile(name, size, partial(str, f"{base}/{quote(name)}"), sha256, git)


def _digest(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
