"""A real Redis for tests of the limits that replicas share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clocked_redis import ClockedRedis, clocked_redis
from support.redis_server import RedisServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that this test has for itself."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedRedis]:
    """A server whose script goes by a clock that the tests of one module set."""
    with clocked_redis(tmp_path_factory.mktemp("redis")) as made:
        yield made
