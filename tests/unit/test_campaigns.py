"""`make campaigns` runs every test whose long form CI leaves out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LONG = re.compile(r"\bimport FULL\b|\bmark\.campaign\b|\"CAMPAIGN\"")
RECIPE = (ROOT / "Makefile").read_text().partition("\ncampaigns:")[2].partition("\n\n")[0]
FILES = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if LONG.search(path.read_text())]


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in FILES if path.name != "test_campaigns.py"])
def test_a_test_with_a_long_form_is_in_the_campaigns(path: str) -> None:
    directory, _, name = path.removeprefix("tests/").partition("/")
    whole = re.search(rf"tests/{directory}(\s|$)", RECIPE)
    stem = name.removeprefix("test_").removesuffix(".py")
    assert whole or path in RECIPE or re.search(rf"\$\(addprefix tests/{directory}/test_,.*[, ]{stem}\b", RECIPE)
