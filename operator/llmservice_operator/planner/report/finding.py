"""A finding in sentences for people, made from its fields. Nothing is read back from a sentence."""

import dataclasses

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import phrases


def account(finding: Finding) -> str:
    """What is the matter and how sure that is, without where and without what to do."""
    if not finding.alternative:
        return finding.message
    if phrases.ended(finding.message):
        return f"{finding.message} Likely; else {finding.alternative}."
    return f"{finding.message} (likely; else {finding.alternative})"


def sentence(finding: Finding) -> str:
    """For a condition: where, what is the matter, how sure that is, and what to do."""
    text = phrases.joined(account(finding), finding.fix)
    return f"{finding.subject}: {text}" if finding.subject else text


def where(finding: Finding) -> str:
    """The pods that it is about, for people; empty if it is about none in particular."""
    others = finding.affected_pods - 1
    if not finding.subject or others < 1:
        return finding.subject
    return f"{finding.subject} and {others} more pod{'' if others == 1 else 's'}"


def of_pods(finding: Finding, names: list[str]) -> Finding:
    """The same of several pods, the first of which it names."""
    return dataclasses.replace(finding, subject=names[0], affected_pods=len(names))
