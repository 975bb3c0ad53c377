"""Values that a page names are the chart's, or fields of a service's spec."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "charts" / "llmservice-operator" / "values.schema.json").read_text())
CRD = yaml.safe_load((ROOT / "crds" / "llmservice.dev_llmservices.yaml").read_text())
SPEC = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("operations/**/*.md"))]


def exists(path: str, schema: dict[str, Any] = SCHEMA) -> bool:
    """Whether the schema knows this value; of an open object, such as labels, it knows all."""
    for part in path.split("."):
        if "properties" not in schema:
            return schema.get("type") == "object"
        if part not in schema["properties"]:
            return False
        schema = schema["properties"][part]
    return True


def named(page: Path) -> set[str]:
    """Values with a dot in their name, as a page has them in quotes or behind --set."""
    text = page.read_text()
    words = re.findall(r"`([a-zA-Z]+(?:\.[a-zA-Z]+)+)(?:: [^`]*)?`", text)
    words += re.findall(r"--set '?([a-zA-Z]+(?:\.[a-zA-Z]+)*)", text)
    return {word for word in words if word.partition(".")[0] in SCHEMA["properties"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_value_that_a_page_names_exists(page: Path) -> None:
    assert [each for each in sorted(named(page)) if not exists(each) and not exists(each, SPEC)] == []


def test_pages_on_scaling_name_its_values() -> None:
    assert {"scaling.adapter", "scaling.prometheus.url"} <= named(ROOT / "docs" / "scaling.md")
