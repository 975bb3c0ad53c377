"""Reads from the API server that are shared for some seconds. After a failure the value is unknown for a while."""

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from llmservice_operator.controller.client.errors import RequestRefused, TooLong
from llmservice_operator.controller.client.single_flight import SingleFlight

REFUSED_SECONDS = 300.0
"""Pause before the next request after permission was refused or a response took too long."""
READ_SECONDS = 60.0
"""Timeout of one read. A read may include the pods of all namespaces."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class _Reading(Generic[T]):
    value: T | None
    begun: float
    """The loop's time."""
    is_refused: bool = False
    """Whether the operator may not read it, or can't within READ_SECONDS."""


class SharedReads(Generic[T]):
    """At most ``limit`` values, each counted by ``size``."""

    def __init__(self, limit: int = 1, size: Callable[[T | None], int] = lambda _: 1) -> None:
        self._readings: SingleFlight[str, _Reading[T]] = SingleFlight(limit, size=lambda reading: size(reading.value))

    def last(self, what: str) -> T | None:
        """The last value, at any age; None if the read failed or never happened."""
        reading = self._readings.last(what)
        return None if reading is None else reading.value

    async def get(self, what: str, read: Callable[[], Coroutine[Any, Any, T | None]], oldest: float) -> T | None:
        """The value, at most ``oldest`` seconds old; with 0, from a read that begins after the call. None if the
        operator may not read it, or can't in READ_SECONDS."""
        asked = asyncio.get_running_loop().time()

        def seconds(last: _Reading[T]) -> float:
            if last.is_refused:
                return REFUSED_SECONDS
            return oldest or (math.inf if last.begun >= asked else 0)

        while True:
            reading = await self._readings.get(what, lambda: _bounded(what, read), seconds)
            # A read that others wait for may have begun before.
            if seconds(reading) > 0:
                return reading.value


async def _bounded(what: str, read: Callable[[], Coroutine[Any, Any, T | None]]) -> _Reading[T]:
    begun = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(READ_SECONDS):
            return _Reading(await read(), begun)
    except (TimeoutError, TooLong) as error:
        text = "%s: unknown for the next %.0f s, because the read took longer than %.0f s or was too large (%s)"
        logger.warning(text, what, REFUSED_SECONDS, READ_SECONDS, type(error).__name__)
    except RequestRefused as error:
        logger.info("%s: unknown for the next %.0f s: %s", what, REFUSED_SECONDS, error.message)
    return _Reading(None, begun, is_refused=True)
