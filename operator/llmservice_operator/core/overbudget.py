"""A service that is left alone because planning it takes too long: told to the user in its status.

What runs goes on as it is, so a service that is Ready stays so.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from llmservice_operator.core import findings, reasons, times
from llmservice_operator.core.finding import Finding


def with_excess(
    status: Mapping[str, Any] | None, seconds: float, most: float, now: datetime.datetime
) -> dict[str, Any]:
    """``status`` with the reason why the operator no longer acts on it: planning took ``seconds`` of CPU, more than
    ``most``. ``now`` is the transition time of conditions that change by it."""
    result = dict(status or {})
    finding = Finding(
        reasons.PLAN_OVER_BUDGET,
        f"planning takes {seconds:.2g} s of CPU, more than the {most:g} s that each service may take: the operator "
        "leaves what runs as it is, and looks again in ten minutes",
        fix="Change the spec to have it looked at at once. Delete objects that carry the service's labels and are none "
        "of its own, lower spec.replicas, or serve the model as several services.",
    )
    told = finding.told().model_dump(mode="json", by_alias=True, exclude_none=True)
    others = [each for each in result.get("findings") or () if each.get("reason") != reasons.PLAN_OVER_BUDGET]
    result["findings"] = [told, *others][: findings.MOST]
    conditions = {each["type"]: dict(each) for each in result.get("conditions") or ()}
    conditions.pop("Reconciling", None)

    def verdict(kind: str, value: str) -> None:
        old = conditions.get(kind, {})
        same = old.get("status") == value and old.get("lastTransitionTime")
        conditions[kind] = {
            **({"observedGeneration": old["observedGeneration"]} if "observedGeneration" in old else {}),
            "type": kind,
            "status": value,
            "reason": reasons.PLAN_OVER_BUDGET,
            "message": finding.message,
            "lastTransitionTime": old["lastTransitionTime"] if same else times.show(now),
        }

    verdict("Stalled", "True")
    if conditions.get("Ready", {}).get("status") != "True":
        verdict("Ready", "False")
    result["conditions"] = list(conditions.values())
    return result


def told(status: Mapping[str, Any] | None) -> bool:
    """Whether the status says so already."""
    conditions = (status or {}).get("conditions") or ()
    return any(each["type"] == "Stalled" and each.get("reason") == reasons.PLAN_OVER_BUDGET for each in conditions)
