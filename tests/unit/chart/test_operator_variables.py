"""The chart sets the variables that the operator, the gateway and batches read, within the bounds that these have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.config.batches import BatchesSettings
from llmservice_operator.config.gateway import GatewaySettings
from llmservice_operator.config.section import rule
from llmservice_operator.config.settings import SECTIONS

CHART = Path(__file__).parents[3] / "charts" / "llmservice-operator"
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
FIELDS = {
    variable: field
    for section in (*SECTIONS, GatewaySettings, BatchesSettings)
    for variable, field in section.variables().items()
}
SET_BY_VALUE = {
    variable: value.removeprefix("$prometheus.").removeprefix(".Values.")
    if not value.startswith("$prometheus.")
    else f"scaling.prometheus.{value.removeprefix('$prometheus.')}"
    for variable, value in re.findall(
        r"- name: (LLMSERVICE_\w+)\n\s*value: \{\{ ((?:\.Values|\$prometheus)[\w.]+) \| quote \}\}", TEMPLATES
    )
}
"""Variables that are a value of the chart as it is."""

DIFFERENT = {"LLMSERVICE_SCALING_ADAPTER", "LLMSERVICE_LOG_FORMAT"}
"""Defaults of the chart that are not those of an operator started by hand."""


def at(tree: Any, path: str, below: str = "") -> Any:
    for part in path.split("."):
        tree = (tree[below] if below else tree)[part]
    return tree


def test_the_chart_sets_what_is_read() -> None:
    assert set(re.findall(r"- name: (LLMSERVICE_\w+)", TEMPLATES)) == set(FIELDS)


@pytest.mark.parametrize("variable", SET_BY_VALUE)
def test_bounds_and_defaults_are_those_of_the_chart(variable: str) -> None:
    path, field = SET_BY_VALUE[variable], FIELDS[variable]
    bounds, schema = rule(field).bounds, at(SCHEMA, path, "properties")
    if bounds is not None:
        # 0 disables a port, and the chart's pod has all of them.
        least = 1 if path.startswith("ports.") else bounds[0]
        assert (schema["minimum"], schema["maximum"]) == (least, bounds[1])
    value = at(VALUES, path)
    if value is None:
        assert field.get_default() is None
    elif (text := str(value)) and variable not in DIFFERENT:
        assert rule(field).convert(text) == field.get_default()


def test_some_are_compared() -> None:
    bounded = [variable for variable in SET_BY_VALUE if rule(FIELDS[variable]).bounds is not None]
    assert len(bounded) >= 6 and len(SET_BY_VALUE) >= 12
