"""The chart's dashboards as tests ask them: every expression, with Grafana's variables filled in."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support.prometheus_server import PrometheusServer

FOLDER = Path(__file__).parents[2] / "charts" / "llmservice-operator" / "dashboards"
ALL = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SERVICES = ("inference-performance", "resource-utilization", "request-analytics", "model-performance")
"""Dashboards of services."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """One expression of one panel."""

    dashboard: str
    panel: str
    expression: str

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.panel}"

    def filled(self, variables: Mapping[str, str]) -> str:
        """The expression as Grafana sends it."""
        text = self.expression
        for name, value in variables.items():
            text = text.replace(f"${name}", value)
        return text


def panels(dashboard: str) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard, without rows."""
    yield from (each for each in ALL[dashboard]["panels"] if each["type"] != "row")


def expressions(*dashboards: str) -> Iterator[Asked]:
    """Every expression of these dashboards."""
    for dashboard in dashboards:
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Asked(dashboard, panel["title"], target["expr"])


def without_numbers(server: PrometheusServer, asked: Iterator[Asked], variables: Mapping[str, str]) -> list[str]:
    """The panels whose expression gives no series with a number now."""
    return sorted(
        f"{each.name}: {each.filled(variables)}"
        for each in asked
        if not any(math.isfinite(float(row["value"][1])) for row in server.query(each.filled(variables)))
    )
