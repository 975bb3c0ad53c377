"""``status.findings``: the causes of all conditions, those of Ready first. Equal causes of several pods are merged.

The order is that in which Ready checks the conditions. Progress, such as loading, is not a finding.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_contract.finding import Finding
from llmservice_operator.api import status
from llmservice_operator.planner.diagnosis import Problem
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.condition import Verdict
from llmservice_operator.planner.report.finding import of_pods, to_status

MOST = 8


def all_findings(
    before: Sequence[Verdict],
    problems: Sequence[Problem],
    after: Sequence[Verdict],
) -> list[status.Finding]:
    """At most eight findings. ``before`` are the verdicts that Ready checks before the ``problems`` of the pods,
    ``after`` are the others."""
    of_members = [problem.finding for problem in problems if not reasons.of(problem.reason).expected]
    found = [
        *(to_status(finding) for verdict in before for finding in verdict.findings),
        *map(to_status, _merged(of_members)),
    ]
    reported = {each.reason for each in found}
    rest = (finding for verdict in after for finding in verdict.findings)
    return [*found, *(to_status(finding) for finding in rest if finding.reason not in reported)][:MOST]


def _merged(found: Sequence[Finding]) -> list[Finding]:
    """Findings that differ only in their pod, as one."""
    subjects: dict[Finding, list[str]] = {}
    for each in found:
        subjects.setdefault(dataclasses.replace(each, subject="", affected_pods=0), []).append(each.subject)
    return [of_pods(finding, list(dict.fromkeys(names))) for finding, names in subjects.items()]
