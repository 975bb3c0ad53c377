"""Groups of real processes, with a stand-in for vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.groups import Group


@pytest.fixture
def make_group(tmp_path: Path) -> Iterator[Callable[[int], Group]]:
    """Makes a group of so many ranks; nothing of it is left after the test."""
    with ExitStack() as stack:
        names = iter("abcdef")
        yield lambda nodes: stack.enter_context(Group(tmp_path / next(names), nodes))
