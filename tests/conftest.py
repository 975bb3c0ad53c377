"""Options of the test run."""

import hypothesis
import pytest

from support.campaign import FULL

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--update-golden`."""
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the mark ``campaign`` are for `make campaigns`."""
    for item in items:
        if item.get_closest_marker("campaign") is not None and not FULL:
            item.add_marker(pytest.mark.skip(reason="takes minutes: make campaigns runs it (CAMPAIGN=full)"))
