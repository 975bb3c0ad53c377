"""The one place that knows kopf: it streams the watched kinds, and here each event becomes a fact in the cache and a
key in the queue. No handler writes anything, and kopf writes nothing either.

What always holds: an index handler sees every listed object before any event handler runs, so nothing is reconciled
before every kind is known.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import aiohttp
import kopf

from llmservice_operator import metrics
from llmservice_operator.controller.client.trim import stub
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.resources.kinds import LLMSERVICE, SELECTOR, Kind


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no last-handled state and compares none: nothing here is driven by differences."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Remembers no progress of handlers: event handlers have none."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def framework_settings(watched: Sequence[Kind]) -> kopf.OperatorSettings:
    """Settings under which kopf streams with little memory and never writes."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.worker_limit = None  # a limit and indices together hang
    settings.queueing.idle_timeout = 0.5
    settings.watching.chunk_size = 20  # an object has up to 1.5 MiB, and each kind is listed at the same time
    settings.watching.inactivity_timeout = 70
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.process.ultimate_exiting_timeout = None
    for kind in set(watched) - {LLMSERVICE}:
        settings.watching.label_selectors[kind.api_version, kind.plural] = SELECTOR
    return settings


def registry(
    cache: Cache,
    add: Callable[[ServiceKey], None],
    *,
    watched: Sequence[Kind],
    on_listed: Callable[[], None],
    server: str,
    session: aiohttp.ClientSession,
    on_login: Callable[[], None],
) -> kopf.OperatorRegistry:
    """Handlers that feed ``cache`` and ``add`` the keys of the services that an event concerns. ``on_listed`` is called
    for every object that comes from a list, not from a watch. ``on_login`` is called
    when kopf has made all its own preparations: it then has taken the process's signals."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        asyncio.get_running_loop().call_soon(on_login)
        return kopf.AiohttpSession(server=server, aiohttp_session=session)

    for kind in watched:
        _register(handlers, kind, cache, add, on_listed)
    return handlers


def _register(
    handlers: kopf.OperatorRegistry,
    kind: Kind,
    cache: Cache,
    add: Callable[[ServiceKey], None],
    on_listed: Callable[[], None],
) -> None:
    pending: set[ServiceKey] = set()

    @kopf.index(kind.api_version, kind.plural, id=f"index-{kind.plural}", registry=handlers)
    async def index(body: Mapping[str, Any], **_: Any) -> None:
        metrics.EVENTS_SEEN.labels(kind.kind).inc()
        pending.update(cache.put(dict(body)))
        _let_go(body)

    @kopf.on.event(kind.api_version, kind.plural, id=f"event-{kind.plural}", registry=handlers)
    async def event(event: Mapping[str, Any], **_: Any) -> None:
        if event["type"] is None:
            on_listed()
        if event["type"] == "DELETED":
            pending.update(cache.remove(event["object"]))
        while pending:
            add(pending.pop())


def _let_go(body: Mapping[str, Any]) -> None:
    """Leave of a body which object it is: kopf holds those of all objects until every kind is listed, however much
    the cache keeps."""
    source = getattr(body, "_src", None)  # what the body shows, and what kopf itself holds
    if isinstance(source, dict):
        kept = stub(source)
        source.clear()
        source.update(kept)


async def stream(
    handlers: kopf.OperatorRegistry, *, watched: Sequence[Kind], namespaces: tuple[str, ...], stop: asyncio.Event
) -> None:
    """Stream until ``stop``. Returns or raises earlier only where streaming can't go on: then the process must end."""
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    await kopf.operator(
        registry=handlers,
        settings=framework_settings(watched),
        identity=cast(Any, "llmservice-operator"),  # else kopf asks for a user's name, and an image has none
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
