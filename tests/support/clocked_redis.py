"""A real Redis in which the script of the rate limits uses a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from redis import Redis

from llmservice_contract.policy import Store
from llmservice_runtime.rate_limits import script
from llmservice_runtime.rate_limits.shared import SharedLimiter
from support.redis_server import RedisServer

START = 1_750_000_000.0
_CLOCK = "redis.call('TIME')"
_TEST_CLOCK = "redis.call('LRANGE', 'test:clock', 0, 1)"
_numbers = count()


class ClockedRedis:
    """The server and its clock."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.client = Redis(port=server.port, decode_responses=True)

    async def set(self, now: float) -> None:
        pipeline = self.client.pipeline()
        pipeline.delete("test:clock").rpush("test:clock", int(now), int(now % 1 * 1_000_000))
        pipeline.execute()

    def limiter(self) -> SharedLimiter:
        """Limits under a prefix of their own."""
        return SharedLimiter(Store(self.server.address, prefix=f"{next(_numbers)}:"), batch_seconds=30)


@contextmanager
def clocked_redis(directory: Path) -> Iterator[ClockedRedis]:
    """One for a context; meanwhile the script goes by its clock."""
    with RedisServer(directory) as server, pytest.MonkeyPatch.context() as patch:
        assert script.SCRIPT.count(_CLOCK) == 1
        patch.setattr(script, "SCRIPT", script.SCRIPT.replace(_CLOCK, _TEST_CLOCK))
        clocked = ClockedRedis(server)
        yield clocked
        clocked.client.close()
