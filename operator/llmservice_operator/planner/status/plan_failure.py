"""The status of a service without a plan, because planning failed or takes too long.

The operator changes nothing then: a service that is Ready stays Ready.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from llmservice_contract.finding import Finding
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.finding import sentence, to_status
from llmservice_operator.planner.status import findings


def over_budget(seconds: float, most: float) -> Finding:
    """Planning took ``seconds`` of CPU time, more than ``most``."""
    return Finding(
        reasons.PLAN_OVER_BUDGET,
        f"planning takes {seconds:.2g} s of CPU, more than the {most:g} s that each service may take: the operator "
        f"does not change running pods, and retries in ten minutes",
        fix="Change the spec to retry at once. Delete objects that have the service's labels and do not belong to "
        "it, lower spec.replicas, or serve the model as several services.",
    )


def failed(error: Exception) -> Finding:
    """Planning failed with ``error``."""
    return Finding(
        reasons.PLAN_FAILED,
        f"planning failed with {type(error).__name__}: the operator does not change running pods, and retries",
        fix="Check the service's objects for changes by others, such as annotations. Report it as a bug, with the "
        "operator's log.",
    )


def beyond(namespace: str, most: int) -> Finding:
    """The service is not one of the ``most`` oldest of its namespace."""
    return Finding(
        reasons.TOO_MANY_SERVICES,
        f"namespace {namespace} has more than {most} LLMServices, and the operator reconciles only the {most} "
        f"oldest: it does not change the running pods of this one",
        fix="Delete LLMServices that are not needed, create this one in another namespace, or ask the platform team to "
        "raise the chart value servicesPerNamespace.",
    )


def too_much(namespace: str) -> Finding:
    """The LLMServices of the namespace have more data than the operator keeps for one namespace."""
    return Finding(
        reasons.TOO_MANY_SERVICES,
        f"the LLMServices of namespace {namespace} have more data than the operator keeps in memory for one "
        f"namespace: it does not change the running pods of this one",
        fix="Delete LLMServices that are not needed, or create this one in another namespace. If the namespace has "
        "only a few, ask the platform team for a higher memory limit of the operator.",
    )


def not_accepted(
    status: Mapping[str, Any] | None, finding: Finding, now: datetime.datetime, generation: int | None
) -> dict[str, Any]:
    """As ``with_finding``, and with Accepted=False for that generation."""
    before = (status or {}).get("conditions") or ()
    accepted = {"type": "Accepted", "status": "False", "reason": finding.reason, "message": finding.message}
    since = (each["lastTransitionTime"] for each in before if each["type"] == "Accepted" and each["status"] == "False")
    accepted["lastTransitionTime"] = next(since, timestamps.show(now))
    result = with_finding(status, finding, now)
    others = [each for each in result["conditions"] if each["type"] != "Accepted"]
    seen = {} if generation is None else {"observedGeneration": generation}
    result["conditions"] = [{**each, **seen} for each in (accepted, *others)]
    return {**result, **seen}


def with_finding(status: Mapping[str, Any] | None, finding: Finding, now: datetime.datetime) -> dict[str, Any]:
    """``status`` with the reason why the operator does nothing for the service. ``now`` is the transition time of
    conditions that change."""
    result = dict(status or {})
    entry = to_status(finding).model_dump(mode="json", by_alias=True, exclude_none=True)
    others = [each for each in result.get("findings") or () if not reasons.of(str(each.get("reason"))).without_plan]
    result["findings"] = [entry, *others][: findings.MOST]
    conditions = {each["type"]: dict(each) for each in result.get("conditions") or ()}
    conditions.pop("Reconciling", None)

    def verdict(kind: str, value: str) -> None:
        old = conditions.get(kind, {})
        same = old.get("status") == value and old.get("lastTransitionTime")
        conditions[kind] = {
            **({"observedGeneration": old["observedGeneration"]} if "observedGeneration" in old else {}),
            "type": kind,
            "status": value,
            "reason": finding.reason,
            "message": sentence(finding),
            "lastTransitionTime": old["lastTransitionTime"] if same else timestamps.show(now),
        }

    verdict("Stalled", "True")
    if conditions.get("Ready", {}).get("status") != "True":
        verdict("Ready", "False")
    result["conditions"] = list(conditions.values())
    return result


def reported(status: Mapping[str, Any] | None, reason: str) -> bool:
    """Whether the status reports this reason already."""
    conditions = (status or {}).get("conditions") or ()
    return any(each["type"] == "Stalled" and each.get("reason") == reason for each in conditions)
