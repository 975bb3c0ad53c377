"""``status.findings``: every cause that the conditions tell, that of Ready first, equal ones of several pods once.

The order is that in which Ready takes them. What passes by itself, such as loading, is no finding.
"""

from collections.abc import Iterator, Sequence

from llmservice_operator.api import status
from llmservice_operator.core import reasons, words
from llmservice_operator.core.diagnosis import Problem
from llmservice_operator.core.finding import Finding, of_message
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict

MOST = 8


def all_findings(
    situation: Situation,
    before: Sequence[Verdict],
    problems: Sequence[Problem],
    after: Sequence[Verdict | None],
) -> list[status.Finding]:
    """At most eight. ``before`` are the verdicts that Ready asks before it asks the pods with ``problems``; ``after``
    those of the rest."""
    of_pods = [problem.finding for problem in problems if not reasons.of(problem.reason).expected]
    found = [
        *(finding.told() for verdict in before for finding in of(verdict)),
        *_merged(of_pods, len(situation.members)),
    ]
    told = {each.reason for each in found}
    rest = (finding for verdict in after if verdict is not None for finding in of(verdict))
    return [*found, *(finding.told() for finding in rest if finding.reason not in told)][:MOST]


def of(verdict: Verdict) -> Iterator[Finding]:
    """The causes that a condition tells."""
    if verdict.findings:
        yield from verdict.findings
    elif verdict.status == "False" and not reasons.of(verdict.kind).expected:
        yield of_message(verdict.reason, verdict.message)


def _merged(found: Sequence[Finding], total: int) -> list[status.Finding]:
    """Equal ones of several pods as one."""
    subjects: dict[tuple[str, str, str, str], list[str]] = {}
    firsts: dict[tuple[str, str, str, str], Finding] = {}
    for each in found:
        key = (each.reason, each.account, each.field, each.fix)
        firsts.setdefault(key, each)
        subjects.setdefault(key, []).append(each.subject)
    return [
        finding.told("" if len(set(subjects[key])) == 1 else words.of(len(set(subjects[key])), total, "pod"))
        for key, finding in firsts.items()
    ]
