"""Findings for people: as sentences, which no code parses, and as entries of ``status.findings`` with every field."""

import dataclasses

from llmservice_contract.finding import LONGEST_NUMBER, MOST_NUMBERS, Finding, is_number
from llmservice_operator.api import status
from llmservice_operator.planner.report import phrases

LONGEST = 2048
"""Maximum length of a text in the status, in characters."""
LONGEST_SUBJECT = 253
LONGEST_FIELD = 256


def to_status(finding: Finding) -> status.Finding:
    """The entry, with each text cut to the maximum length in the status."""
    numbers = ((name, value[:LONGEST_NUMBER]) for name, value in finding.numbers.items())
    good = [(name, value) for name, value in numbers if is_number(name, value)]
    return status.Finding(
        reason=finding.reason,
        certainty=finding.certainty,
        message=phrases.head(finding.message, LONGEST - 1),
        subject=finding.subject[:LONGEST_SUBJECT] or None,
        affected_pods=finding.affected_pods or None,
        numbers=dict(good[:MOST_NUMBERS]) or None,
        alternative=phrases.head(finding.alternative, LONGEST - 1) or None,
        field=finding.field[:LONGEST_FIELD] or None,
        fix=phrases.sentence(phrases.head(finding.fix, LONGEST - 2)) or None,
    )


def from_status(entry: status.Finding) -> Finding:
    """The finding in an entry of ``status.findings``."""
    return Finding(
        entry.reason,
        entry.message,
        subject=entry.subject or "",
        affected_pods=entry.affected_pods or 0,
        numbers=entry.numbers or {},
        certainty=entry.certainty,
        alternative=entry.alternative or "",
        field=entry.field or "",
        fix=entry.fix or "",
    )


def account(finding: Finding) -> str:
    """The message and its certainty, without the subject and the fix."""
    if not finding.alternative:
        return finding.message
    if phrases.ended(finding.message):
        return f"{finding.message} Likely; else {finding.alternative}."
    return f"{finding.message} (likely; else {finding.alternative})"


def sentence(finding: Finding) -> str:
    """The message of a condition: subject, message, certainty, fix."""
    text = phrases.joined(account(finding), finding.fix)
    return f"{finding.subject}: {text}" if finding.subject else text


def where(finding: Finding) -> str:
    """The affected pods; empty if the finding is not about a pod."""
    others = finding.affected_pods - 1
    if not finding.subject or others < 1:
        return finding.subject
    return f"{finding.subject} and {others} more pod{'' if others == 1 else 's'}"


def of_pods(finding: Finding, names: list[str]) -> Finding:
    """``finding`` for several pods. The first one becomes the subject."""
    return dataclasses.replace(finding, subject=names[0], affected_pods=len(names))
