"""One cause of what is the matter: how it is told in a condition, and as an entry of ``status.findings``.

Both say the same. A finding is certain where what was seen can have no other cause; else it names what else it may be.
"""

import dataclasses
import re

from llmservice_operator.api import status
from llmservice_operator.core import words

LONGEST = 2048
"""Characters of a text that the status takes."""
SEVERAL = re.compile(r"[0-9]+ of [0-9]+ pods")
"""Stands in the place of a pod's name in what is told of several."""
_LIKELY = re.compile(r"(?: \(likely; else |(?<=[.!?…]) Likely; else )")
"""Stands in a sentence of a condition between what is likely and what else it may be."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One cause."""

    reason: str
    """See ``reasons``."""
    what: str
    """What is the matter, with the numbers found: sentences, or a part of one."""
    subject: str = ""
    """The pod that it is the matter with; empty where it is none alone."""
    otherwise: str = ""
    """What else it may be, as a part of a sentence; empty where it can be nothing else."""
    field: str = ""
    """Path of the LLMService's field to change first; empty where none helps."""
    fix: str = ""
    """What to do, as a part of a sentence or as sentences."""

    @property
    def certain(self) -> bool:
        """Whether it can be nothing else."""
        return not self.otherwise

    @property
    def account(self) -> str:
        """What is the matter and how sure that is, without where."""
        if self.certain:
            return self.what
        return f"{self.what} Likely; else {self.otherwise}." if words.ended(self.what) else self._in_one_sentence

    @property
    def message(self) -> str:
        """For a condition: what is the matter, how sure that is, and what to do."""
        told = words.joined(self.account, self.fix)
        return f"{self.subject}: {told}" if self.subject else told

    def told(self, subject: str = "") -> status.Finding:
        """For the status; ``subject`` is where, if not with one pod."""
        where = subject or self.subject
        text = f"{where}: {self.account}" if where else self.account
        return status.Finding(
            reason=self.reason,
            certainty="Certain" if self.certain else "Likely",
            message=words.beginning(text, LONGEST - 1),
            field=self.field or None,
            fix=words.sentence(words.beginning(self.fix, LONGEST - 2)) or None,
        )

    @property
    def _in_one_sentence(self) -> str:
        return f"{self.what} (likely; else {self.otherwise})"


def read_back(told: status.Finding) -> Finding:
    """The finding that was told of a pod, or of several."""
    subject, _, text = told.message.partition(": ")
    what, otherwise = _parted(text)
    return Finding(told.reason, what, subject, otherwise, told.field or "", told.fix or "")


def kept(told: status.Finding) -> Finding:
    """The finding that was told of no pod."""
    what, otherwise = _parted(told.message)
    return Finding(told.reason, what, "", otherwise, told.field or "", told.fix or "")


def of_message(reason: str, message: str) -> Finding:
    """The finding that a condition's or a record's message tells, as far as that can be read back from it."""
    field = re.search(r"\bspec(?:\.[A-Za-z]+)+", message)
    what, otherwise = _parted(message)
    return Finding(reason, what, otherwise=otherwise, field=field[0] if field else "")


def _parted(text: str) -> tuple[str, str]:
    """What is the matter, and what else it may be; of several doubts the last."""
    found = list(_LIKELY.finditer(text))
    if not found:
        return text, ""
    begin, end = found[-1].start(), found[-1].end()
    if "(" not in found[-1][0]:
        otherwise, _, rest = text[end:].partition(".")
        return text[:begin] + rest, otherwise
    depth = 1
    for index, letter in enumerate(text[end:], end):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[:begin] + text[index + 1 :], text[end:index]
    return text[:begin], text[end:]
