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


LEFT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with the mark ``campaign`` are for `make campaigns`."""
    left = [] if FULL else [item for item in items if item.get_closest_marker("campaign") is not None]
    config.stash[LEFT] = [item.nodeid for item in left]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which tests were left to it."""
    for test in config.stash.get(LEFT, []):
        terminalreporter.write_line(f"LEFT TO make campaigns (CAMPAIGN=full): {test}")
