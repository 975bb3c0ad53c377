"""The watches of all kinds. They begin again with other kinds after an upgrade of the API server."""

import asyncio
import logging
from collections.abc import Callable

from llmservice_operator.controller.client.errors import ApiError
from llmservice_operator.controller.client.session import Connection, connect
from llmservice_operator.controller.cluster_features import ClusterFeatures
from llmservice_operator.controller.informer import watch
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.resources.kinds import Kind

LOOK_SECONDS = 1.0
"""Interval of checks whether the framework has ended its watches."""
END_SECONDS = 5.0
"""How long the framework may take to end all of them after it was asked to, or after one of them failed."""
logger = logging.getLogger(__name__)


class WatchesEnded(Exception):
    """The framework has ended its watches, and does not say why."""


class Streams:
    """Watches the kinds of ``features``. The other arguments are those of ``watch.registry``."""

    def __init__(
        self,
        cache: Cache,
        add: Callable[[ServiceKey], None],
        *,
        features: ClusterFeatures,
        namespaces: tuple[str, ...],
        on_listed: Callable[[], None],
        on_login: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._add = add
        self._features = features
        self._namespaces = namespaces
        self._on_listed = on_listed
        self._on_login = on_login
        self._watched: tuple[Kind, ...] = ()
        self._end = asyncio.Event()
        """Ends the streams that run now."""
        self._stopped = False

    async def run(self, on_change: Callable[[], None]) -> None:
        """Watches until ``stop``. Raises if watching can't continue: then the process must exit. If it can't because a
        kind is no longer served, calls ``on_change`` and watches the others."""
        while not self._stopped:
            self._end.clear()
            self._watched = self._features.watched()
            try:
                await self._stream()
            except Exception as error:
                if not await self._lost_a_kind():
                    raise
                logger.warning("The watches ended, and begin again without the missing kind: %s", error)
                on_change()
                continue
            if not self._end.is_set():
                return

    def stop(self) -> None:
        """Ends ``run``."""
        self._stopped = True
        self._end.set()

    def restart_if_kinds_changed(self) -> None:
        """Begins the watches again if the API server has other kinds now."""
        found = self._features.watched()
        for kind in set(self._watched) - set(found):
            self._cache.forget_kind(kind.kind)
        if found != self._watched:
            self._end.set()

    async def _lost_a_kind(self) -> bool:
        try:
            await self._features.read()
        except ApiError:
            return False
        return not set(self._watched) <= set(self._features.watched())

    async def _stream(self) -> None:
        """The framework closes the session at its end, so each time has one of its own. After an error it does not
        always return: the closed session shows that it has ended."""
        connection = await connect(streams=len(self._watched) * max(1, len(self._namespaces)))
        try:
            handlers = watch.registry(
                self._cache,
                self._add,
                watched=self._watched,
                on_listed=self._on_listed,
                server=connection.server,
                session=connection.session,
                on_login=self._on_login,
            )
            streaming = asyncio.create_task(
                watch.stream(handlers, watched=self._watched, namespaces=self._namespaces, stop=self._end)
            )
            try:
                await self._ended(streaming, connection)
            finally:
                await watch.end(streaming)
        finally:
            await connection.api.close()

    async def _ended(self, streaming: asyncio.Task[None], connection: Connection) -> None:
        while not (streaming.done() or connection.session.closed or self._end.is_set()):
            await asyncio.wait([streaming], timeout=LOOK_SECONDS)
        done, _ = await asyncio.wait([streaming], timeout=END_SECONDS)
        if done:
            await streaming
        elif not self._end.is_set():
            raise WatchesEnded("the watches ended after an error")
