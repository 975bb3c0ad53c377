"""Keeps what the gateway needs of all objects of one kind, by a list and a watch.

If the API server can't be reached, what is known stays: requests go on to the replicas that were ready last.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import aiohttp

from llmservice_operator.controller.client import bounded_json
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError
from llmservice_operator.controller.client.session import Connection
from llmservice_operator.resources.kinds import Kind

T = TypeVar("T")
WATCH_SECONDS = 240
SILENCE_SECONDS = WATCH_SECONDS + 30
LONGEST_BACK_OFF = 30.0
"""Maximum back-off in seconds, before jitter."""

logger = logging.getLogger(__name__)


class Reflector(Generic[T]):
    """The objects of one kind in one namespace (None: in all)."""

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        namespace: str | None,
        *,
        selector: str,
        read: Callable[[Mapping[str, Any]], T | None],
        on_change: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._namespace = namespace
        self._selector = selector
        self._read = read
        self._on_change = on_change
        self._found: dict[tuple[str, str], T] = {}
        self.listed = False
        """Whether all objects were read at least once."""

    @property
    def values(self) -> list[T]:
        """What ``read`` made of the objects, without None."""
        return list(self._found.values())

    async def run(self) -> None:
        """Lists and watches until cancelled. A failure is logged, and tried again later."""
        failures = 0
        while True:
            try:
                version = await self._list()
                while version:
                    version = await self._watch(version)
                    failures = 0
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError, bounded_json.Unreadable) as error:
                failures += 1
                logger.warning("cannot watch %s: %s", self._kind.plural, error)
            back_off = min(LONGEST_BACK_OFF, 2.0 ** min(failures, 10))
            await asyncio.sleep(back_off * random.uniform(0.1, 0.5))  # noqa: S311 (jitter)

    async def _list(self) -> str:
        found: dict[tuple[str, str], T] = {}
        version = ""
        pages = Cluster(self._connection.api).pages(self._kind, self._namespace, selector=self._selector)
        async for items, of_list in pages:
            version = of_list
            for item in items:
                self._put(found, item)
        changed = found != self._found or not self.listed
        self._found, self.listed = found, True
        if changed:
            self._on_change()
        return version

    async def _watch(self, version: str) -> str:
        """The resourceVersion from which to continue; empty: list again."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "labelSelector": self._selector,
        }
        url = self._connection.server.rstrip("/") + self._kind.path(self._namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
        async with self._connection.session.get(url, params=query, timeout=timeout) as response:
            if response.status == HTTPStatus.GONE:
                return ""
            response.raise_for_status()
            async for lines in response.content.iter_chunked(2**20):
                for line in lines.splitlines():
                    event = bounded_json.loads(line) if line.strip() else None
                    if event is None:
                        continue
                    if event["type"] == "ERROR":
                        return ""
                    version = event["object"]["metadata"].get("resourceVersion", version)
                    if event["type"] != "BOOKMARK":
                        self._event(event)
        return version

    def _event(self, event: Mapping[str, Any]) -> None:
        meta = event["object"]["metadata"]
        key = (meta.get("namespace", ""), meta.get("name", ""))
        before = self._found.pop(key, None)
        if event["type"] != "DELETED":
            self._put(self._found, event["object"])
        if self._found.get(key) != before:
            self._on_change()

    def _put(self, found: dict[tuple[str, str], T], obj: Mapping[str, Any]) -> None:
        value = self._read(obj)
        if value is not None:
            meta = obj["metadata"]
            found[meta.get("namespace", ""), meta.get("name", "")] = value
