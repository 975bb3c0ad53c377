"""What the termination message of an ended container says to people.

The runtime leaves a diagnosis: a cause, what was wrong, what to do. The one of 0.1.0 left plain text: the cause as a
paragraph of its own, and after it the end of the log. Any other text is the end of a log.
"""

import dataclasses

from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis, NotADiagnosis, diagnosis_from_json
from llmservice_operator.core import reasons, words

_LOG_FOLLOWS = "\nIts last lines:\n"
"""Stands in the plain text before the end of the log."""

_MOST = 800
"""Characters of what is told."""

_REASONS = {
    causes.HOST_OUT_OF_MEMORY.name: reasons.OOM_KILLED,
    causes.READY_TIMEOUT.name: reasons.LOADING_TOO_LONG,
}


@dataclasses.dataclass(frozen=True)
class LastWords:
    """Why a container ended, by its own account."""

    text: str
    """For the end of a sentence; empty where it left no words."""
    cause: str = ""
    """The name of the cause; empty where the runtime knows none."""
    reason: str = reasons.CRASHED
    """The reason of the condition."""


def read(message: str) -> LastWords:
    """What ``message`` tells."""
    try:
        diagnosis = diagnosis_from_json(message)
    except NotADiagnosis:
        return LastWords(_plain(message))
    text = _what_and_fix(diagnosis)
    if diagnosis.cause == causes.UNKNOWN.name:
        return LastWords(text)
    return LastWords(text, diagnosis.cause, _REASONS.get(diagnosis.cause, reasons.CRASHED))


def _what_and_fix(diagnosis: Diagnosis) -> str:
    """What to do is told whole: it is worth more than the end of a long account of what was wrong."""
    fix = diagnosis.fix.strip()
    what = words.beginning(diagnosis.message, max(200, _MOST - len(fix)))
    return words.beginning(f"{what} {fix}".strip(), 2 * _MOST)


def _plain(message: str) -> str:
    head, _, log = message.partition(_LOG_FOLLOWS)
    told, _, how = head.strip().partition("\n\n")
    if log and how:
        return words.beginning(told)
    return words.clipped(log or message)
