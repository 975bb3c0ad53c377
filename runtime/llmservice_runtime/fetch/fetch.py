"""Fetches one model into the cache: lists the source, downloads what is missing, verifies, and makes it visible."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmservice_contract import causes
from llmservice_contract.source import Directory, ObjectPrefix, Repository, Source
from llmservice_runtime.fetch import hub_source, store_source
from llmservice_runtime.fetch.cache import COLLECT, JOURNAL, Cache, source_key
from llmservice_runtime.fetch.client import HUB, PATIENCE_SECONDS, STORE, Client
from llmservice_runtime.fetch.download import Download, disk_errors
from llmservice_runtime.fetch.journal import Journal
from llmservice_runtime.fetch.progress import Progress
from llmservice_runtime.fetch.remote_file import RemoteFile, chosen
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model.hub_token import DEFAULT_HUB, check_token
from llmservice_runtime.model.unreadable import ModelUnreadable

SAY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is fetched, and for which service."""

    source: Source
    revision: str | None
    """Commit, branch or tag of a hub's repository."""
    cache: Cache
    service: str
    """NAMESPACE.NAME of the service."""
    also_used: frozenset[str] = frozenset()
    """Entries of the cache that the service's pods run, which must stay."""
    trusted: frozenset[str] = frozenset()
    """Hosts whose addresses are not checked."""
    patience: float = PATIENCE_SECONDS
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete model."""

    entry: str
    """SOURCE/REVISION in the cache."""
    path: Path
    revision: str
    total: int
    """Bytes of the model."""
    fetched: int
    """Bytes that were received for it now."""


async def fetch(request: Request, environ: Mapping[str, str]) -> Fetched:
    """The complete model in the cache. Raises ModelUnreadable."""
    check_token(request.source, environ)
    with disk_errors(request.cache.root):
        client, sign = _client(request, environ)
        async with client:
            revision, files = await _list(client, request, sign)
            entry = f"{source_key(_identity(request.source, client))}/{revision}"
            async with request.cache.lock(COLLECT):
                request.cache.use(request.service, {entry, *request.also_used})
                for gone in request.cache.collect():
                    say(f"Deleted {gone} from the cache: no service uses it.")
            async with request.cache.lock(entry.partition("/")[0]):
                return await _complete(client, request, entry, files)


async def _complete(client: Client, request: Request, entry: str, files: tuple[RemoteFile, ...]) -> Fetched:
    cache, progress = request.cache, request.progress
    progress.total = sum(each.size for each in files)
    revision = entry.partition("/")[2]
    if cache.is_complete(entry):
        progress.done = progress.total
        say(f"The cache has {entry} already: {progress.total} bytes.")
        return Fetched(entry, cache.path(entry), revision, progress.total, 0)
    partial = cache.partial(entry)
    partial.mkdir(parents=True, exist_ok=True)
    journal = Journal(partial / JOURNAL, files)
    try:
        progress.done = journal.done_bytes()
        cache.check_room(progress.total - progress.done)
        client.arrived()
        speaker = asyncio.create_task(_speak(progress))
        try:
            digests = await Download(client, files, partial, journal, progress).run()
        finally:
            speaker.cancel()
    finally:
        journal.close()
    cache.finish(entry, files, digests)
    say(f"Fetched {entry}: {progress}.")
    return Fetched(entry, cache.path(entry), revision, progress.total, progress.fetched)


async def _speak(progress: Progress) -> None:
    while True:
        await asyncio.sleep(SAY_SECONDS)
        say(f"Fetched {progress}.")


def _client(request: Request, environ: Mapping[str, str]) -> tuple[Client, store_source.Sign | None]:
    match request.source:
        case Repository(_, hub):
            origin = (hub or environ.get("HF_ENDPOINT") or DEFAULT_HUB).rstrip("/")
            token = environ.get("HF_TOKEN")
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return Client(HUB, origin, headers, request.trusted, request.patience), None
        case ObjectPrefix():
            sign = store_source.signer(environ)
            origin = store_source.endpoint(request.source, sign)
            return Client(STORE, origin, {}, request.trusted, request.patience), sign
        case Directory(path):
            raise ModelUnreadable(causes.WRONG_SETTINGS, f"{path} is a directory: there is nothing to fetch.")


async def _list(client: Client, request: Request, sign: store_source.Sign | None) -> tuple[str, tuple[RemoteFile, ...]]:
    if isinstance(request.source, Repository):
        revision, files = await hub_source.list_repository(client, request.source, request.revision)
    else:
        assert isinstance(request.source, ObjectPrefix) and sign is not None  # noqa: S101 - as _client made it
        revision, files = await store_source.list_objects(client, request.source, sign)
    return revision, chosen(files, request.source.argument)


def _identity(source: Source, client: Client) -> str:
    """Tells sources apart: the same name at another server is another source."""
    return f"{client.origin}/{source.argument}"
