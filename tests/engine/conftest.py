"""Real vLLM on this machine, without a cluster. Two files may run beside each other; what shares an engine doesn't.

Tests with the mark ``own_engine`` share none with the others of their file. Files with several engines take longest, so
they begin first, then those tests: the last ones are short.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONGEST = ("test_fair_sharing.py", "test_chat.py", "guarded", "test_outgoing.py", "test_fit.py", "test_vllm.py")
"""Files and directories."""


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would begin with the groups of the most tests, and end with one that takes minutes."""
    config.option.loadscopereorder = False


def group(item: pytest.Item) -> str:
    """Its own name, that of its file, or that of its directory; none for a test of another directory."""
    if not item.path.is_relative_to(HERE):
        return ""
    return item.name if item.get_closest_marker("own_engine") else item.path.relative_to(HERE).parts[0]


def turn(item: pytest.Item) -> int:
    """The lower, the longer it or its file takes."""
    made = group(item)
    if made in LONGEST:
        return LONGEST.index(made)
    return len(LONGEST) + (item.get_closest_marker("own_engine") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file is a group of its own, each directory too, and each test with an engine of its own."""
    for item in items:
        if made := group(item):
            item.add_marker(pytest.mark.xdist_group(made))
    items.sort(key=turn)
