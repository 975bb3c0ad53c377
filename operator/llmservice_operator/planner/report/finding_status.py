"""Conversion between a finding and its entry in ``status.findings``. The entry has every field of the finding."""

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
