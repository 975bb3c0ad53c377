"""Reads the termination message of a container.

The runtime writes a diagnosis: reason, message, fix. The runtime of 0.1.0 wrote plain text: the cause as a paragraph,
and after it the end of the log. Any other text is the end of a log.
"""

import dataclasses
import re

from llmservice_contract import causes
from llmservice_contract.diagnosis import NotADiagnosis, diagnosis_from_json
from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import phrases, reasons

_LOG_FOLLOWS = "\nIts last lines:\n"
"""Precedes the end of the log in the plain text."""

_LEAST, _MOST = 200, 800
"""Minimum and maximum length of the reported message, in characters."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


@dataclasses.dataclass(frozen=True)
class TerminationReport:
    """Why a container exited, according to its termination message."""

    finding: Finding
    """Its message is empty if there is no termination message."""
    cause: str = ""
    """The name of the cause; empty if the runtime knows none."""
    kind: str = reasons.CRASHED
    """The category of the reason."""


def read(message: str) -> TerminationReport:
    """The report in ``message``."""
    try:
        finding = diagnosis_from_json(message).finding
    except NotADiagnosis:
        text = _plain(message)
        return TerminationReport(Finding(reasons.CRASHED, text, alternative=_LAST_LINES if text else ""))
    fix = phrases.head(finding.fix, _MOST)  # more useful than the end of a long message
    text = phrases.head(finding.message, max(_LEAST, _MOST - len(fix)))
    row = _row_of(finding.reason)
    if row.reported_as == reasons.CRASHED:
        return TerminationReport(
            Finding(reasons.CRASHED, text, numbers=finding.numbers, alternative=finding.alternative or _LAST_LINES)
        )
    reported = dataclasses.replace(
        finding,
        reason=row.reported_as,
        message=text,
        subject="",
        affected_pods=0,
        alternative=phrases.head(finding.alternative, _MOST),
        fix=fix,
    )
    return TerminationReport(reported, row.name, row.category)


def _row_of(name: str) -> reasons.Reason:
    """The row of a cause that a container names. The cause may be of a later runtime version and unknown to this
    operator; names of reasons that are not causes don't count."""
    if name in causes.BY_NAME:
        return reasons.of(name)
    if name in reasons.TABLE or not _NAME.fullmatch(name):
        return reasons.of(reasons.CRASHED)
    return reasons.Reason(name, category=reasons.CRASHED)


_LAST_LINES = "an earlier error in the log"
"""The alternative cause if only the most relevant log line is known."""


def _plain(message: str) -> str:
    head, _, log = message.partition(_LOG_FOLLOWS)
    cause, _, how = head.strip().partition("\n\n")
    if log and how:
        return phrases.head(cause)
    return phrases.tail(log or message)
