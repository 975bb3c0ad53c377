"""The chart's files agree with the project and with each other. Helm is not needed here."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "llmservice-operator"


def paths(values: dict[str, Any], schema: dict[str, Any], at: str = "") -> set[str]:
    """Every key of the values that the schema closes (it lists what may be there)."""
    found = set()
    for key, value in values.items():
        found.add(at + key)
        below = schema.get("properties", {}).get(key, {})
        if isinstance(value, dict) and below.get("properties"):
            found |= paths(value, below, f"{at}{key}.")
    return found


def schema_paths(schema: dict[str, Any], at: str = "") -> set[str]:
    """Every key that the schema lists."""
    found = set()
    for key, below in schema.get("properties", {}).items():
        found |= {at + key} | schema_paths(below, f"{at}{key}.")
    return found


def test_the_charts_crd_is_a_copy_of_the_projects() -> None:
    crds = {each.name.removeprefix("llmservice.dev_"): each.read_text() for each in (ROOT / "crds").iterdir()}
    copies = {each.name.removeprefix("crd-"): each.read_text() for each in (CHART / "files").glob("crd-*")}
    assert copies == crds, "run manifests/render.sh"


def test_the_chart_is_of_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'\nversion = "{chart["version"]}"\n' in (ROOT / "pyproject.toml").read_text()
    assert chart["appVersion"] == chart["version"]


def test_values_and_their_schema_list_the_same_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    listed = schema_paths(schema) - {"global", "resources.claims"}
    assert paths(yaml.safe_load((CHART / "values.yaml").read_text()), schema) == listed


def test_every_object_of_the_schema_is_closed() -> None:
    def check(schema: dict[str, Any], at: str) -> None:
        if "properties" in schema:
            assert schema["additionalProperties"] is False, at
        for key, below in schema.get("properties", {}).items():
            check(below, f"{at}.{key}")

    check(json.loads((CHART / "values.schema.json").read_text()), "values")
