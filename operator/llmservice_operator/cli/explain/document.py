"""A report as a JSON document."""

from __future__ import annotations

from msgspec import UNSET

from llmservice_operator.cli import wire
from llmservice_operator.cli.explain.report import Cause, Report


def document(report: Report) -> wire.Explanation:
    """The JSON document of a report."""
    return wire.Explanation(
        namespace=report.namespace,
        name=report.name,
        ready=report.ready,
        summary=report.headline,
        operator=report.operator,
        desired=report.wants,
        current=report.present,
        placeable=report.room,
        memory=report.memory,
        cost=report.cost,
        findings=[_part(each) for each in report.causes],
        other_findings=[_part(each) for each in report.also],
        pending_approval=report.waits,
        pods=[
            wire.PodPart(
                name=each.name,
                state=each.state,
                node=each.node,
                age=each.age,
                restarts=each.restarts,
                ready=each.ready,
            )
            for each in report.pods
        ],
        autoscaler=report.scaling,
        quotas=list(report.quotas),
        nodes=report.nodes,
        events=[
            wire.EventPart(age=each.age, type=each.kind, reason=each.reason, object=each.about, message=each.message)
            for each in report.events
        ],
        logs=dict(report.logs),
        unreadable=list(report.unread),
    )


def _part(cause: Cause) -> wire.FindingPart:
    finding = cause.finding
    if cause.condition:
        return wire.FindingPart(reason=finding.reason, message=finding.message, condition=cause.condition)
    return wire.FindingPart(
        reason=finding.reason,
        message=finding.message,
        subject=finding.subject or UNSET,
        affected_pods=finding.affected_pods or UNSET,
        numbers=dict(finding.numbers) or UNSET,
        certainty=finding.certainty,
        alternative=finding.alternative or UNSET,
        field=finding.field or UNSET,
        fix=finding.fix or UNSET,
    )
