"""A finding as an entry of ``status.findings``, and back. The entry has every field of it."""

from llmservice_contract.finding import LONGEST_NUMBER, MOST_NUMBERS, Finding, is_number
from llmservice_operator.api import status
from llmservice_operator.planner.report import phrases

LONGEST = 2048
"""Characters of a text that the status takes."""
LONGEST_SUBJECT = 253
LONGEST_FIELD = 256


def to_status(finding: Finding) -> status.Finding:
    """The entry of the status, with each text cut to what the status takes."""
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
    """The finding that an entry of the status holds."""
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
