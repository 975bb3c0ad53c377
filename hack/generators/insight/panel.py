"""Panels as data, and the JSON of a dashboard as Grafana 11 and 12 read it (schema version 39)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from insight.queries import SERVICE

SCHEMA_VERSION = 39
WIDTH = 24
"""Columns of Grafana's grid."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_SERVICE = "{{namespace}}/{{llmservice}}"


@dataclasses.dataclass(frozen=True)
class Query:
    """One expression and the legend of its series."""

    expression: str
    legend: str = OF_SERVICE


@dataclasses.dataclass(frozen=True)
class Panel:
    """One panel. `unit`: by Grafana's names (s, percentunit, reqps, bytes, ...)."""

    title: str
    unit: str
    description: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    """timeseries, stat, heatmap or table."""
    width: int = 8
    minimum: float | None = 0
    maximum: float | None = None
    stacked: bool = False


@dataclasses.dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label, or what `pattern` takes of them."""

    name: str
    title: str
    series: str
    label: str
    pattern: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


@dataclasses.dataclass(frozen=True)
class Dashboard:
    """One dashboard; `name` is its file and uid."""

    name: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels in their order."""
        return [panel for row in self.rows for panel in row.panels]


NAMESPACE = Variable("namespace", "Namespace", "llm_active_requests", "namespace")
SERVICE_NAME = Variable("service", "Service", 'llm_active_requests{namespace=~"$namespace"}', "pod", "/(.+)-[0-9]+/")
OPERATOR_NAMESPACE = Variable("operator_namespace", "Operator's namespace", "llmservice_operator_leader", "namespace")
NAMESPACES_OF_SERVICES = Variable("namespace", "Namespace", "llmservice_replicas", "llmservice_namespace")
SERVICES_OF_OPERATOR = Variable(
    "service", "Service", 'llmservice_replicas{llmservice_namespace=~"$namespace"}', "llmservice"
)


def render(dashboard: Dashboard) -> str:
    """The JSON of a dashboard."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(
            {"type": "row", "id": len(panels) + 1, "title": row.title, "collapsed": False, "panels": []}
            | {"gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}}
        )
        top += 1
        left = 0
        height = 4 if all(panel.kind == "stat" for panel in row.panels) else 8
        for panel in row.panels:
            if left + panel.width > WIDTH:
                left, top = 0, top + height
            position = {"x": left, "y": top, "w": panel.width, "h": height}
            panels.append({"id": len(panels) + 1, **_panel(panel), "gridPos": position})
            left += panel.width
        top += height
    document = {
        "uid": f"llmservice-{dashboard.name}",
        "title": f"LLMService / {dashboard.title}",
        "description": dashboard.description,
        "tags": ["llmservice", "vllm"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {"title": "LLMService", "type": "dashboards", "tags": ["llmservice"], "asDropdown": True}
            | {"includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link", "url": ""}
        ],
        "templating": {"list": [_datasource(), *(_variable(each) for each in dashboard.variables)]},
        "panels": panels,
    }
    return json.dumps(document, indent=1) + "\n"


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.series}, {variable.label})"
    return {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": variable.pattern,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "options": [],
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "mappings": []}
    defaults |= {"thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]}}
    for key, bound in (("min", panel.minimum), ("max", panel.maximum)):
        if bound is not None and panel.kind != "heatmap":
            defaults[key] = bound
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind == "stat":
        options = {
            "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
            "colorMode": "value",
            "graphMode": "area",
            "textMode": "auto",
            "justifyMode": "auto",
            "orientation": "auto",
        }
    elif panel.kind == "heatmap":
        options = {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "blue"},
            "yAxis": {"axisPlacement": "left", "unit": panel.unit},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": False},
            "legend": {"show": True},
        }
    elif panel.kind == "table":
        options = {"showHeader": True, "cellHeight": "sm"}
    found: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
    }
    if panel.kind == "table":
        hidden = dict.fromkeys(("Time", "Value", "__name__", "instance", "job", "endpoint", "container"), True)
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    table, heat = panel.kind == "table", panel.kind == "heatmap"
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend,
        "range": not table,
        "instant": table,
        "format": "table" if table else "heatmap" if heat else "time_series",
    }


__all__ = ["OF_SERVICE", "SERVICE", "Dashboard", "Panel", "Query", "Row", "Variable", "render"]
