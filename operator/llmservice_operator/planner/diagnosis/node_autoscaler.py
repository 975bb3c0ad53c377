"""How long a pod may wait for a node that a node autoscaler adds, and what the autoscaler reports in Events on the pod.

cluster-autoscaler reports TriggeredScaleUp or NotTriggerScaleUp. Karpenter reports Nominated, or FailedScheduling in
words of its own. Both ignore pods with a scheduling gate, and give up a node that is not ready after 15 minutes
(cluster-autoscaler's ``--max-node-provision-time``, the registration timeout of Karpenter's NodeClaims).
"""

import dataclasses
import datetime
from collections.abc import Iterable

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object, ObservedEvent
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases

PROVISION_SECONDS = 900
"""How long nodes may take after the autoscaler has reported that it adds them, if no setting says otherwise."""
MOST_PERIODS = 4
"""Further reports prolong the wait up to this many times the period, because an autoscaler that gets no machine reports
each attempt."""

_CLUSTER_AUTOSCALER, _KARPENTER = "cluster-autoscaler", "Karpenter"
_OF_KARPENTER = "Failed to schedule pod"
"""Begin of Karpenter's message for its FailedScheduling; the scheduler uses the same reason."""


@dataclasses.dataclass(frozen=True)
class AutoscalerReport:
    """The latest report about pods without a node."""

    adds_nodes: bool
    message: str
    time: datetime.datetime | None


def limit_seconds(state: ServiceState) -> int | None:
    """How long nodes may take to come: of the service, otherwise of the platform. 0: the autoscaler adds none. None:
    only Events say whether one adds nodes."""
    if state.observed.fixed_nodes:
        return 0
    own = state.spec.scheduling.max_node_provision_seconds if state.spec is not None else None
    return own if own is not None else state.observed.platform.max_node_provision_seconds


def latest_report(state: ServiceState, waiting: Iterable[Object]) -> AutoscalerReport | None:
    """The latest report about one of these pods; one that nodes are added takes precedence. None without any."""
    found = [
        report
        for pod in waiting
        for event in state.reported("Pod", pods.name(pod))
        if event.uid in ("", pod["metadata"].get("uid")) and (report := _report(event)) is not None
    ]
    return max(found, key=lambda each: (each.adds_nodes, _seconds(each.time)), default=None)


def waits_until(
    state: ServiceState, waiting: Iterable[Object], since: datetime.datetime, patience_seconds: float
) -> datetime.datetime:
    """Until when these pods may lack a node, if they have lacked it since ``since``: for ``patience_seconds`` without a
    node autoscaler."""
    limit = limit_seconds(state)
    until = since + datetime.timedelta(seconds=limit or patience_seconds)
    report = latest_report(state, waiting) if limit != 0 else None
    if report is None or not report.adds_nodes or report.time is None:
        return until
    period = datetime.timedelta(seconds=limit or PROVISION_SECONDS)
    return max(until, min(report.time + period, since + MOST_PERIODS * period))


def _report(event: ObservedEvent) -> AutoscalerReport | None:
    match event.reason:
        case "TriggeredScaleUp":
            author, adds_nodes = _CLUSTER_AUTOSCALER, True
        case "NotTriggerScaleUp":
            author, adds_nodes = _CLUSTER_AUTOSCALER, False
        case "Nominated":
            author, adds_nodes = _KARPENTER, True
        case "FailedScheduling" if event.note.startswith(_OF_KARPENTER):
            author, adds_nodes = _KARPENTER, False
        case _:
            return None
    return AutoscalerReport(adds_nodes, f"{author}: {phrases.tail(event.note)}", event.time)


def _seconds(time: datetime.datetime | None) -> float:
    return time.timestamp() if time is not None else 0.0
