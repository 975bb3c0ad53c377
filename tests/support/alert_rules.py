"""The chart's rules as Prometheus reads them, with the placeholders filled as the chart does."""

import re
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "charts" / "llmservice-operator" / "rules" / "rules.yaml"
OPERATOR = "llmservice-system"
RUNBOOKS = "docs/operations/alerts"
BUDGET = 0.005
_TIMES = re.compile(r"(?<=\[)(\d+)([mhd])(?=[\]:])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def text() -> str:
    """The file, for one that allows 0.5 % of errors."""
    filled = FILE.read_text().replace("OPERATOR_NAMESPACE", OPERATOR).replace("RUNBOOKS", RUNBOOKS)
    return filled.replace("ERROR_BUDGET", str(BUDGET))


def groups() -> list[dict[str, Any]]:
    """The groups of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(text())["groups"]
    return found


def recordings() -> list[dict[str, Any]]:
    """All recording rules."""
    return [rule for group in groups() for rule in group["rules"] if "record" in rule]


def alerts() -> dict[str, dict[str, Any]]:
    """All alerts by name."""
    return {rule["alert"]: rule for group in groups() for rule in group["rules"] if "alert" in rule}


def faster(factor: float) -> str:
    """The same file with all windows, waiting times and intervals divided by a factor, at least one second each."""

    def shorter(amount: str, unit: str) -> str:
        return f"{max(1, round(int(amount) * _SECONDS[unit] / factor))}s"

    document = yaml.safe_load(_TIMES.sub(lambda found: shorter(*found.groups()), text()))
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = shorter(rule["for"][:-1], rule["for"][-1])
    return yaml.safe_dump(document)
