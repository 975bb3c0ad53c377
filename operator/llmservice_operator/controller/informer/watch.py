"""Watches the cluster with kopf; no other module uses kopf. Each event updates the cache and adds keys to the queue.
Handlers write nothing to the cluster, and neither does kopf.

Invariant: an index handler sees every listed object before any event handler runs, so nothing is reconciled before
every kind is known.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
import kopf

from llmservice_operator import metrics
from llmservice_operator.controller.client.trim import stub
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.resources.kinds import Kind

ROUNDS = 10
"""Maximum number of times that what kopf has not ended is cancelled, a second each."""

logger = logging.getLogger(__name__)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Stores and compares no last-handled state: nothing here depends on differences."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Stores no progress of handlers: event handlers have none."""

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
    """Settings with which kopf needs little memory and never writes."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.worker_limit = None  # kopf hangs with both a limit and indices
    settings.queueing.idle_timeout = 0.5
    settings.watching.chunk_size = 20  # an object has up to 1.5 MiB, and all kinds are listed at the same time
    settings.watching.inactivity_timeout = 70
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.process.ultimate_exiting_timeout = None
    for kind in watched:
        if kind.selector:
            settings.watching.label_selectors[kind.api_version, kind.plural] = kind.selector
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
    """Handlers that update ``cache`` and call ``add`` for each affected service. ``on_listed`` is called for every
    object from a list rather than a watch. ``on_login`` is called after kopf has finished its preparations, in which it
    has replaced the process's signal handlers."""
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
        _reduce_body(body)

    @kopf.on.event(kind.api_version, kind.plural, id=f"event-{kind.plural}", registry=handlers)
    async def event(event: Mapping[str, Any], **_: Any) -> None:
        if event["type"] is None:
            on_listed()
        if event["type"] == "DELETED":
            pending.update(cache.remove(event["object"]))
        while pending:
            add(pending.pop())


def _reduce_body(body: Mapping[str, Any]) -> None:
    """Reduces a body to the identity of its object, because kopf keeps all bodies until every kind is listed."""
    source = getattr(body, "_src", None)  # the mapping behind the body, which kopf keeps
    if isinstance(source, dict):
        kept = stub(source)
        source.clear()
        source.update(kept)


async def stream(
    handlers: kopf.OperatorRegistry, *, watched: Sequence[Kind], namespaces: tuple[str, ...], stop: asyncio.Event
) -> None:
    """Watches until ``stop``. Returns or raises earlier only if watching can't continue: then the process must exit."""
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    tasks = await kopf.spawn_tasks(
        registry=handlers,
        settings=framework_settings(watched),
        identity=cast(Any, "llmservice-operator"),  # otherwise kopf needs a user name, and the image has none
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    await kopf.run_tasks(tasks, ignored=_OtherTasks())


async def end(streaming: "asyncio.Task[None]") -> None:
    """Ends ``stream``, which runs in that task, and all that kopf has begun for it. After an error kopf may wait for
    ever for a task of its own, and leave others behind."""
    others = _OtherTasks()
    left = set() if streaming.done() else {streaming}
    for _ in range(ROUNDS):
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        left = {task for task in asyncio.all_tasks() if task is streaming or task not in others}
        if not left:
            return
    logger.warning("%d tasks of the watches have not ended after they were cancelled", len(left))


class _OtherTasks(Collection["asyncio.Task[Any]"]):
    """Tasks whose coroutine is not kopf's. At its end kopf cancels all tasks that began after it, except ignored ones:
    that would end reconciliations, and then the process."""

    _PACKAGE = str(Path(kopf.__file__).parent)

    def __contains__(self, task: object) -> bool:
        coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
        return not (inspect.iscoroutine(coroutine) and coroutine.cr_code.co_filename.startswith(self._PACKAGE))

    def __iter__(self) -> Iterator["asyncio.Task[Any]"]:
        return (task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
