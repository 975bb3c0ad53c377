"""The Events that the operator records about a service."""

from llmservice_operator.planner.model.plan import Event
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.reasons import ConditionType
from llmservice_operator.planner.status import conditions

LONGEST_EVENT_BYTES = 1024
"""Maximum length of an Event's message in the API server, in bytes."""


def events(state: ServiceState) -> list[Event]:
    """An Event for a change of Ready, one for a change of Accepted that Ready does not report, and one for each change
    of ScalingActive."""
    found = []
    accepted, ready = conditions.accepted(state), conditions.ready(state)
    for kind, verdict in ((ConditionType.ACCEPTED, accepted), (ConditionType.READY, ready)):
        reported_by_ready = kind is ConditionType.ACCEPTED and verdict.reason == ready.reason
        event = reasons.of(verdict.reason).event
        reported = not reported_by_ready and event is not reasons.EventType.NONE
        if reported and conditions.changed(state.previous, kind, verdict):
            normal = verdict.good or event is reasons.EventType.NORMAL
            message = phrases.within_bytes(verdict.message, LONGEST_EVENT_BYTES)
            found.append(Event("Normal" if normal else "Warning", verdict.reason, message))
    scaling = conditions.result(state, ConditionType.SCALING_ACTIVE).verdict
    before = state.previous.get(ConditionType.SCALING_ACTIVE, {})
    news = scaling is not None and scaling.status != "Unknown" and before.get("message") != scaling.message
    if scaling is not None and news and (before or not scaling.good):
        message = phrases.within_bytes(scaling.message, LONGEST_EVENT_BYTES)
        found.append(Event("Normal" if scaling.good else "Warning", scaling.reason, message))
    return found
