"""Options of the test run."""

import gc

import hypothesis
import pytest

from support.campaign import FULL

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("project", deadline=None, max_examples=100 if FULL else 40)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--update-golden`."""
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the mark ``campaign`` are for `make campaigns`."""
    for item in items:
        if item.get_closest_marker("campaign") is not None and not FULL:
            item.add_marker(pytest.mark.skip(reason="takes minutes: make campaigns runs it (CAMPAIGN=full)"))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: without this each collection of garbage looks through it."""
    gc.collect()
    gc.freeze()
