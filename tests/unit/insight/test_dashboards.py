"""Dashboards ask only for metrics and labels that exist, and can be loaded into any Grafana 11 or 12."""

from typing import Any

import pytest

from support.dashboards import ALL, SERVICES, expressions, panels
from support.known_metrics import KNOWN, TARGET_LABELS
from support.promql import matched_labels, metrics_of

UNITS = {"s", "short", "reqps", "cps", "percent", "percentunit", "bytes", "Bps", "watt", "celsius", "dateTimeAsIso"}
PANELS = [(name, panel) for name in ALL for panel in panels(name)]


def test_there_are_the_four_of_services_and_one_of_the_operator() -> None:
    assert set(ALL) == {*SERVICES, "operator"}
    assert len({each["uid"] for each in ALL.values()}) == len(ALL) == 5
    assert len(PANELS) > 60


@pytest.mark.parametrize("name", ALL)
def test_each_metric_exists_and_has_the_matched_labels(name: str) -> None:
    asked = list(expressions(name))
    unknown = {metric for each in asked for metric in metrics_of(each.expression)} - KNOWN.keys()
    assert not unknown, f"no program exports {sorted(unknown)}"
    wrong = {
        f"{metric}{{{label}}}"
        for each in asked
        for metric, label in matched_labels(each.expression)
        if label not in KNOWN[metric] | TARGET_LABELS
    }
    assert not wrong, f"no series has {sorted(wrong)}"


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda each: each if isinstance(each, str) else each["title"])
def test_a_panel_has_a_unit_a_description_and_the_chosen_datasource(name: str, panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["description"].endswith(".") and len(panel["description"]) > 20
    assert panel["type"] in {"timeseries", "stat", "heatmap", "table"}
    for each in (panel, *panel["targets"]):
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize("name", ALL)
def test_a_dashboard_has_its_variables_and_no_other_ones(name: str) -> None:
    dashboard = ALL[name]
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert {"datasource", "namespace", "service"} <= variables.keys()
    assert variables["datasource"]["type"] == "datasource" and not variables["datasource"]["current"]
    used = {word for each in expressions(name) for word in ("namespace", "service") if f"${word}" in each.expression}
    assert used == {"namespace", "service"}
    asked = {
        metric for each in variables.values() if each["type"] == "query" for metric in metrics_of(each["definition"])
    }
    assert asked - {"namespace", "pod", "llmservice", "llmservice_namespace"} <= KNOWN.keys()
    assert "__inputs" not in dashboard and "id" not in dashboard, "as provisioned from a file"


@pytest.mark.parametrize("name", ALL)
def test_no_panel_covers_another(name: str) -> None:
    taken = set[tuple[int, int]]()
    for each in ALL[name]["panels"]:
        at = each["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, each["title"]
        taken |= cells
    assert len({each["id"] for each in ALL[name]["panels"]}) == len(ALL[name]["panels"])
