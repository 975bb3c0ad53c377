"""A finding: one cause of a problem of a service, as data, with the sentences that explain it to people.

The runtime writes it into a termination message, the operator into ``status.findings``, and kubectl llm shows it. All
of them use this class and the same JSON. No code parses the sentences: facts that code needs have their own fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

Certainty = Literal["Certain", "Likely"]

MOST_NUMBERS = 16
LONGEST_NAME, LONGEST_NUMBER = 63, 128
"""Maximum length of a number's name, and of the number, in characters."""
LONGEST_TEXT = 2048
"""Maximum length of each text, in characters."""
_NAME = re.compile(r"[a-z][A-Za-z0-9]*")


class NotAFinding(ValueError):
    """The value is not the JSON of a finding."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One cause."""

    reason: str
    """A name for programs: one CamelCase word."""
    message: str
    """What is wrong, with numbers: sentences or a part of one, without the subject and the fix."""
    subject: str = ""
    """The pod that it is about, the first one of several; empty if it is not about a pod."""
    affected_pods: int = 0
    """Number of affected pods; 0 if it is not about pods."""
    numbers: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    """Numbers and quantities in the message, by a camelCase name, as text."""
    certainty: Certainty = "Certain"
    """Certain: the observation has no other possible cause. Likely: it may have."""
    alternative: str = ""
    """Another possible cause, as part of a sentence; empty if there is none or none is known."""
    field: str = ""
    """Path of the LLMService's field to change first; empty if no field helps."""
    fix: str = ""
    """What to do, as a part of a sentence or as sentences."""

    def __post_init__(self) -> None:
        if self.alternative:
            object.__setattr__(self, "certainty", "Likely")
        if self.subject and not self.affected_pods:
            object.__setattr__(self, "affected_pods", 1)


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """The JSON object, without empty values."""
    parts = {
        "reason": finding.reason,
        "message": finding.message,
        "subject": finding.subject,
        "affectedPods": finding.affected_pods,
        "numbers": dict(finding.numbers),
        "certainty": finding.certainty,
        "alternative": finding.alternative,
        "field": finding.field,
        "fix": finding.fix,
    }
    return {key: value for key, value in parts.items() if value or key in ("reason", "message")}


def finding_from_json(data: object) -> Finding:
    """The finding in a JSON object. Unknown keys and values of a wrong type are ignored. Raises NotAFinding without a
    reason or a message."""
    if not isinstance(data, Mapping) or not all(isinstance(data.get(name), str) for name in ("reason", "message")):
        raise NotAFinding("it is not a JSON object with a reason and a message")
    pods = data.get("affectedPods")
    return Finding(
        _text(data, "reason"),
        _text(data, "message"),
        subject=_text(data, "subject"),
        affected_pods=pods if type(pods) is int and 0 <= pods <= 1_000_000 else 0,
        numbers=_numbers(data.get("numbers")),
        certainty="Likely" if data.get("certainty") == "Likely" else "Certain",
        alternative=_text(data, "alternative"),
        field=_text(data, "field"),
        fix=_text(data, "fix"),
    )


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _numbers(found: object) -> dict[str, str]:
    if not isinstance(found, Mapping):
        return {}
    good = ((name, value) for name, value in found.items() if is_number(name, value))
    return dict(list(good)[:MOST_NUMBERS])


def is_number(name: object, value: object) -> bool:
    """Whether it is a valid entry of a finding's numbers."""
    named = isinstance(name, str) and len(name) <= LONGEST_NAME and bool(_NAME.fullmatch(name))
    return named and isinstance(value, str) and 0 < len(value) <= LONGEST_NUMBER
