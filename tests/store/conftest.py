"""A real Redis for tests of the limits that replicas share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.redis_server import RedisServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that this test has for itself."""
    with RedisServer(tmp_path / "redis") as server:
        yield server
