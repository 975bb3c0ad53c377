"""Commands that readers copy from the documentation."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "charts/llmservice-operator/templates/NOTES.txt", *(ROOT / "docs").rglob("*.md")]


def commands(page: Path, program: str) -> list[str]:
    """Commands of this program, each on one line."""
    text = page.read_text().replace("\\\n", " ")
    return re.findall(rf"^\s*{program} .*$", text, re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "curl")], ids=lambda page: page.name)
def test_requests_with_a_body_say_that_it_is_json(page: Path) -> None:
    bodies = [each for each in commands(page, "curl") if re.search(r"\s-d\s", each)]
    assert [each for each in bodies if "Content-Type: application/json" not in each] == [], "vLLM refuses other bodies"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "helm upgrade")], ids=lambda page: page.name)
def test_upgrades_use_the_values_of_the_new_chart(page: Path) -> None:
    ours = [each for each in commands(page, "helm upgrade") if "charts/llmservice-operator" in each]
    assert [each for each in ours if not re.search(r" (-n|--namespace)[ =]llmservice-system", each)] == []
    wrong = [each for each in ours if "--reuse-values" in each]
    assert wrong == [], "with the old chart's values, templates of the new one find no value for what is new"
