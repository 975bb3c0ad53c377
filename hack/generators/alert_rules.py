"""Prints the recording rules and alerts of the chart, as a file of Prometheus with the chart's placeholders."""

import sys

import yaml
from insight.alerts import GROUPS
from insight.rules import Recording, groups

INTERVAL = "30s"
RUNBOOKS = "RUNBOOKS"
"""The chart puts the address of the runbooks here."""


def document() -> dict[str, object]:
    """The groups, as in a PrometheusRule."""
    found: list[dict[str, object]] = [
        {
            "name": name,
            "interval": INTERVAL if name != "llmservice.budget" else "10m",
            "rules": [_recording(rule) for rule in rules],
        }
        for name, rules in groups().items()
    ]
    for name, alerts in GROUPS.items():
        rules = [
            {
                "alert": alert.name,
                "expr": alert.expression,
                "for": alert.lasting,
                "labels": {"severity": alert.severity},
                "annotations": {
                    "summary": alert.summary,
                    "description": alert.description,
                    "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
                },
            }
            for alert in alerts
        ]
        found.append({"name": name, "interval": INTERVAL, "rules": rules})
    return {"groups": found}


def _recording(rule: Recording) -> dict[str, object]:
    labels = {"labels": dict(rule.labels)} if rule.labels else {}
    return {"record": rule.record, "expr": rule.expression, **labels}


if __name__ == "__main__":
    sys.stdout.write("# Written by hack/generators/alert_rules.py; change hack/generators/insight.\n")
    yaml.safe_dump(document(), sys.stdout, sort_keys=False, width=150)
