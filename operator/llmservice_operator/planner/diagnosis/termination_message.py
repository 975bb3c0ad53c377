"""What the termination message of an ended container says to people.

The runtime leaves a diagnosis: a cause, what was wrong, what to do. The one of 0.1.0 left plain text: the cause as a
paragraph of its own, and after it the end of the log. Any other text is the end of a log.
"""

import dataclasses
import re

from llmservice_contract import causes
from llmservice_contract.diagnosis import NotADiagnosis, diagnosis_from_json
from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import phrases, reasons

_LOG_FOLLOWS = "\nIts last lines:\n"
"""Stands in the plain text before the end of the log."""

_LEAST, _MOST = 200, 800
"""Characters of what is told."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


@dataclasses.dataclass(frozen=True)
class TerminationReport:
    """Why a container ended, by its own account."""

    finding: Finding
    """Its message is empty if the container left no words."""
    cause: str = ""
    """The name of the cause; empty if the runtime knows none."""
    kind: str = reasons.CRASHED
    """The category of the reason."""


def read(message: str) -> TerminationReport:
    """What ``message`` tells."""
    try:
        finding = diagnosis_from_json(message).finding
    except NotADiagnosis:
        text = _plain(message)
        return TerminationReport(Finding(reasons.CRASHED, text, alternative=_LAST_LINES if text else ""))
    fix = phrases.head(finding.fix, _MOST)  # worth more than the end of a long account of what was wrong
    text = phrases.head(finding.message, max(_LEAST, _MOST - len(fix)))
    row = _of_end(finding.reason)
    if row.reported_as == reasons.CRASHED:
        return TerminationReport(
            Finding(reasons.CRASHED, text, numbers=finding.numbers, alternative=finding.alternative or _LAST_LINES)
        )
    told = dataclasses.replace(
        finding,
        reason=row.reported_as,
        message=text,
        subject="",
        affected_pods=0,
        alternative=phrases.head(finding.alternative, _MOST),
        fix=fix,
    )
    return TerminationReport(told, row.name, row.category)


def _of_end(name: str) -> reasons.Reason:
    """The row of a cause that a container names. A later runtime may know more causes than this operator; the name of
    something else is none."""
    if name in causes.BY_NAME:
        return reasons.of(name)
    if name in reasons.TABLE or not _NAME.fullmatch(name):
        return reasons.of(reasons.CRASHED)
    return reasons.Reason(name, category=reasons.CRASHED)


_LAST_LINES = "an earlier error in the log"
"""What else it may be, where the most telling line is all that is known."""


def _plain(message: str) -> str:
    head, _, log = message.partition(_LOG_FOLLOWS)
    told, _, how = head.strip().partition("\n\n")
    if log and how:
        return phrases.head(told)
    return phrases.tail(log or message)
