"""Sentences for people, made from the fields of a finding. No code parses them."""

import dataclasses

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import phrases


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
