#!/usr/bin/env python3
"""Draws the dashboards of the chart with matplotlib, without Grafana: the queries of each panel over some minutes.

    .venv/bin/python hack/dashboards/draw.py http://localhost:9090 --minutes 15 --out DIRECTORY [DASHBOARD ...]

The pictures show what Grafana shows: the same panels in the same places, their units and legends. They do not look like
Grafana's own. An expression that gives no series is written into its panel as "No data".
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.dates as dates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = ROOT / "charts" / "llmservice-operator" / "dashboards"
POINTS = 180
MOST_SERIES = 12
"""Series of a panel that are drawn."""
INCHES = (18.0, 0.42)
"""Width of a picture, and height of one row of Grafana's grid."""

Series = tuple[str, np.ndarray, np.ndarray]


class Prometheus:
    """Answers range queries."""

    def __init__(self, url: str, minutes: float) -> None:
        self._url, self.end = url.rstrip("/"), time.time()
        self.start = self.end - 60 * minutes
        self.step = max(1.0, (self.end - self.start) / POINTS)

    def range(self, expression: str) -> list[dict[str, Any]]:
        """The matrix of an expression."""
        window = f"{max(15, round(4 * self.step))}s"
        filled = expression.replace("$__rate_interval", window)
        for variable in ("operator_namespace", "namespace", "service"):
            filled = filled.replace(f"${variable}", ".+")
        asked = {"query": filled, "start": f"{self.start:.3f}", "end": f"{self.end:.3f}", "step": f"{self.step:.3f}"}
        with urllib.request.urlopen(
            f"{self._url}/api/v1/query_range?{urllib.parse.urlencode(asked)}", timeout=60
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    def series(self, target: dict[str, Any]) -> list[Series]:
        """Legend, times and values of each series of a panel's target."""
        return [
            (
                _legend(target["legendFormat"], row["metric"]),
                np.array([dates.date2num(datetime.fromtimestamp(float(at))) for at, _ in row["values"]]),
                np.array([float(value) for _, value in row["values"]]),
            )
            for row in self.range(target["expr"])
        ]


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def _scaled(value: float, units: Sequence[str], by: float) -> str:
    for unit in units:
        if abs(value) < by or unit == units[-1]:
            return f"{value:.3g} {unit}".strip()
        value /= by
    return ""


def _seconds(value: float) -> str:
    if abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if abs(value) < 120 else f"{value / 60:.3g} min"


FORMS: dict[str, Callable[[float], str]] = {
    "s": _seconds,
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "percent": lambda value: f"{value:.3g} %",
    "bytes": lambda value: _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024),
    "Bps": lambda value: _scaled(value, ("B/s", "kB/s", "MB/s", "GB/s"), 1000),
    "reqps": lambda value: f"{value:.3g} req/s",
    "cps": lambda value: f"{value:.3g} /s",
    "watt": lambda value: f"{value:.3g} W",
    "celsius": lambda value: f"{value:.3g} °C",
    "dateTimeAsIso": lambda value: f"{datetime.fromtimestamp(value / 1000):%Y-%m-%d %H:%M:%S}",
    "short": lambda value: _scaled(value, ("", "k", "M", "G"), 1000),
}


def _lines(axes: Axes, panel: dict[str, Any], found: list[Series], prometheus: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    form = FORMS[defaults["unit"]]
    shown = found[:MOST_SERIES]
    largest = max((float(np.nanmax(each[2])) for each in shown if np.isfinite(each[2]).any()), default=1.0)
    if defaults["custom"]["stacking"]["mode"] == "normal" and all(len(each[1]) == len(shown[0][1]) for each in shown):
        values = [np.nan_to_num(each[2]) for each in shown]
        largest = float(np.sum(values, axis=0).max())
        axes.stackplot(shown[0][1], values, labels=[each[0] for each in shown], alpha=0.55)
    else:
        for name, at, values in shown:
            axes.plot(at, values, linewidth=1.1, label=name)
    axes.set_xlim(*(dates.date2num(datetime.fromtimestamp(each)) for each in (prometheus.start, prometheus.end)))
    if "min" in defaults:
        axes.set_ylim(defaults["min"], defaults.get("max", largest * 1.25 or 1.0))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=6.5)
    if any(each[0] for each in shown):
        axes.legend(loc="upper left", fontsize=5.5, framealpha=0.7, ncols=2 if len(shown) > 4 else 1)


def _stat(axes: Axes, panel: dict[str, Any], found: list[Series]) -> None:
    form = FORMS[panel["fieldConfig"]["defaults"]["unit"]]
    axes.set_axis_off()
    lasts = [(name, values[np.isfinite(values)][-1]) for name, _, values in found if np.isfinite(values).any()][:4]
    for number, (name, last) in enumerate(lasts):
        middle = (number + 0.5) / len(lasts)
        size = 17 if len(lasts) < 3 else 12
        axes.text(middle, 0.55, form(float(last)), ha="center", va="center", fontsize=size, color="#1a7f37")
        axes.text(middle, 0.14, name[:44], ha="center", va="center", fontsize=5.5, color="#555555")


def _heatmap(axes: Axes, found: list[Series]) -> None:
    rows = sorted(found, key=lambda each: math.inf if each[0] == "+Inf" else float(each[0]))
    length = min(len(each[1]) for each in rows)
    cumulated = np.nan_to_num(np.array([each[2][-length:] for each in rows]))
    cells = np.diff(cumulated, axis=0, prepend=0).clip(min=0)
    used = max((number for number in range(len(rows)) if cells[number].any()), default=0) + 2
    times = rows[0][1][-length:]
    shown = min(used, len(rows))
    axes.imshow(cells[:shown], aspect="auto", origin="lower", cmap="Blues", extent=(times[0], times[-1], 0, shown))
    axes.set_yticks(np.arange(shown) + 0.5, [each[0] for each in rows[:shown]], fontsize=6)
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.tick_params(labelsize=6.5)


def _table(axes: Axes, panel: dict[str, Any], prometheus: Prometheus) -> None:
    hidden = {"__name__", "instance", "job", "endpoint", "container"}
    found = [row["metric"] for row in prometheus.range(panel["targets"][0]["expr"])]
    columns = sorted({name for row in found for name in row} - hidden)
    axes.set_axis_off()
    cells = [[row.get(name, "") for name in columns] for row in found[:8]]
    table = axes.table(cells, colLabels=columns, loc="upper center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    table.scale(1, 1.4)


def draw(name: str, prometheus: Prometheus, out: Path) -> list[str]:
    """Writes NAME.png; returns the panels without a series."""
    document = json.loads((DASHBOARDS / f"{name}.json").read_text())
    rows = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in document["panels"])
    figure = plt.figure(figsize=(INCHES[0], INCHES[1] * (rows + 2)), dpi=80)
    figure.suptitle(f"{document['title']}", fontsize=13, x=0.01, ha="left", y=1 - 0.3 / rows)
    grid = GridSpec(
        rows, 24, figure=figure, left=0.03, right=0.99, top=1 - 1.6 / rows, bottom=0.5 / rows, hspace=4.5, wspace=6
    )
    empty = []
    for panel in document["panels"]:
        at = panel["gridPos"]
        axes = figure.add_subplot(grid[at["y"] : at["y"] + at["h"], at["x"] : at["x"] + at["w"]])
        if panel["type"] == "row":
            axes.set_axis_off()
            axes.text(0, 0.5, panel["title"], fontsize=10, weight="bold", color="#333333", va="center")
            continue
        axes.set_title(panel["title"], fontsize=8, loc="left", pad=3)
        found = (
            []
            if panel["type"] == "table"
            else [each for target in panel["targets"] for each in prometheus.series(target)]
        )
        if panel["type"] == "table":
            _table(axes, panel, prometheus)
        elif not found:
            empty.append(panel["title"])
            axes.set_axis_off()
            axes.text(0.5, 0.5, "No data", ha="center", va="center", color="#888888")
        elif panel["type"] == "stat":
            _stat(axes, panel, found)
        elif panel["type"] == "heatmap":
            _heatmap(axes, found)
        else:
            _lines(axes, panel, found, prometheus)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.png")
    plt.close(figure)
    return empty


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the chart's dashboards from a Prometheus.")
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("dashboards", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    prometheus = Prometheus(given.prometheus, given.minutes)
    for name in given.dashboards or [path.stem for path in sorted(DASHBOARDS.glob("*.json"))]:
        empty = draw(name, prometheus, given.out)
        print(f"{given.out / name}.png" + (f": no data in {', '.join(empty)}" if empty else ""))


if __name__ == "__main__":
    main()
