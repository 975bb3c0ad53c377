"""The status after the API server has rejected a part of the plan.

A failed write does not change the verdict on running pods: a service that is Ready stays Ready.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from llmservice_contract.finding import Finding
from llmservice_operator.planner.diagnosis import admission
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.finding import to_status
from llmservice_operator.planner.status import findings

MAX_MESSAGE = 2048


def status_with_apply_error(
    status: Mapping[str, Any] | None, error: str, now: datetime.datetime, generation: int | None = None
) -> dict[str, Any]:
    """``status`` with ``error``, the message of the API server, as the reason why the spec is not applied.

    ``now`` is the transition time of conditions that change. The operator retries, so the service is Reconciling, not
    Stalled.
    """
    result = dict(status or {})
    conditions = {condition["type"]: dict(condition) for condition in result.get("conditions") or ()}
    message = error if len(error) <= MAX_MESSAGE else error[: MAX_MESSAGE - 1] + "…"

    def verdict(kind: str, value: str) -> None:
        old = conditions.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == value else timestamps.show(now)
        conditions[kind] = {
            "type": kind,
            "status": value,
            "reason": reasons.APPLY_FAILED,
            "message": message,
            "lastTransitionTime": since,
        }
        if generation is not None:
            conditions[kind]["observedGeneration"] = generation

    finding = admission.judge(error) or Finding(reasons.APPLY_FAILED, phrases.tail(error))
    entry = to_status(finding).model_dump(mode="json", by_alias=True, exclude_none=True)
    result["findings"] = [entry, *(result.get("findings") or ())][: findings.MOST]
    conditions.pop("Stalled", None)
    verdict("Reconciling", "True")
    if conditions.get("Ready", {}).get("status") != "True":
        verdict("Ready", "False")
    result["conditions"] = list(conditions.values())
    return result
