"""A gateway, and stand-ins for replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from support.nginx_gateway import Gateway, Replica, nginx_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway of one module."""
    with nginx_gateway(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """The gateway of one test."""
    with nginx_gateway(tmp_path / "gateway") as made:
        yield made


@pytest.fixture
def replica() -> Iterator[Callable[..., Replica]]:
    """Makes replicas."""
    made: list[Replica] = []

    def make(keys: Sequence[str] | None = None, name: str = "replica") -> Replica:
        made.append(Replica(keys, name))
        return made[-1]

    yield make
    for each in made:
        each.finish.set()
        each.stop()
