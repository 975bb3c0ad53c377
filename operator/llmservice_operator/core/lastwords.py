"""What the termination message of an ended container says to people.

The runtime leaves a diagnosis: a cause, what was wrong, what to do. The one of 0.1.0 left plain text: the cause as a
paragraph of its own, and after it the end of the log. Any other text is the end of a log.
"""

import dataclasses

from llmservice_contract import causes
from llmservice_contract.diagnosis import NotADiagnosis, diagnosis_from_json
from llmservice_operator.core import reasons, words

_LOG_FOLLOWS = "\nIts last lines:\n"
"""Stands in the plain text before the end of the log."""

_LEAST, _MOST = 200, 800
"""Characters of what is told."""

_DOUBTS = {
    causes.KILLED.name: "somebody ended it by hand",
    causes.ENGINE_DIED.name: "somebody ended it by hand",
    causes.RANKS_LOST.name: "one of them failed first: the log of each tells",
    causes.GPU_FAULT.name: "an error of vLLM's kernels",
}
"""What else these may be, where a runtime of an earlier version does not say so itself."""


@dataclasses.dataclass(frozen=True)
class LastWords:
    """Why a container ended, by its own account."""

    text: str
    """What was wrong; empty where it left no words."""
    cause: str = ""
    """The name of the cause; empty where the runtime knows none."""
    kind: str = reasons.CRASHED
    """The class of the reason."""
    reason: str = reasons.CRASHED
    """The reason that is told."""
    otherwise: str = ""
    """What else it may be; empty where it can be nothing else."""
    field: str = ""
    """The field to change first."""
    fix: str = ""
    """What to do."""


def read(message: str) -> LastWords:
    """What ``message`` tells."""
    try:
        diagnosis = diagnosis_from_json(message)
    except NotADiagnosis:
        text = _plain(message)
        return LastWords(text, otherwise=_LAST_LINES if text else "")
    fix = words.beginning(diagnosis.fix, _MOST)  # worth more than the end of a long account of what was wrong
    text = words.beginning(diagnosis.message, max(_LEAST, _MOST - len(fix)))
    if diagnosis.cause == causes.UNKNOWN.name:
        return LastWords(text, otherwise=diagnosis.otherwise or _LAST_LINES)
    reason = _of_end(diagnosis.cause)
    return LastWords(
        text,
        diagnosis.cause,
        reason.category,
        reason.reported_as,
        diagnosis.otherwise or _DOUBTS.get(diagnosis.cause, ""),
        diagnosis.field,
        fix,
    )


def _of_end(cause: str) -> reasons.Reason:
    """The row of a cause that a container names. A name that is no cause of this version says no more than Crashed
    does; one that stands for something else is not taken."""
    if cause in causes.BY_NAME:
        return reasons.of(cause)
    known = cause in reasons.TABLE
    return reasons.of(reasons.CRASHED) if known else reasons.Reason(cause, category=reasons.CRASHED)


_LAST_LINES = "an error further up in the log"
"""What else it may be, where the most telling line is all that is known."""


def _plain(message: str) -> str:
    head, _, log = message.partition(_LOG_FOLLOWS)
    told, _, how = head.strip().partition("\n\n")
    if log and how:
        return words.beginning(told)
    return words.clipped(log or message)
