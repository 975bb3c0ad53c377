"""The pages that people read name what the code has."""

import re
import tomllib
from pathlib import Path

import pytest

from llmservice_operator.core import reasons

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
REASONS = sorted(value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str))
SHOWN_WHEN_WELL = {"Accepted", "Scheduled", "Serving", "Ready", "RolledOut"}


@pytest.mark.parametrize("reason", sorted(set(REASONS) - SHOWN_WHEN_WELL))
def test_every_reason_is_explained(reason: str) -> None:
    assert f"| `{reason}` |" in OPERATIONS, f"docs/operations.md has no row for {reason}"


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
        assert named <= targets, f"{page.name} names make targets that are not there: {sorted(named - targets)}"


def test_every_package_of_the_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=!\[; ]", each)[0].lower().replace("_", "-") for each in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "hack/requirements-dev.txt").read_text().splitlines()}
    assert names <= pinned, f"run `make lock`: hack/requirements-dev.txt lacks {sorted(names - pinned)}"
