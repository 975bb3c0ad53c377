"""Golden files: what a test's result is compared with, and written to with `pytest --update-golden`."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a golden file of that name; with --update-golden it writes the file."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.exists(), f"{path.name} is missing: make it with `pytest --update-golden` and read it"
        assert text == path.read_text(), f"{path.name} differs; if that is meant: `pytest --update-golden`"

    return compare
