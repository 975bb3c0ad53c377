"""An engine that ends again and again is told by how it ended first: later ends may only follow from that one.

A disk that was full leaves a file that is cut short; a process that was killed leaves memory taken. The kubelet keeps
the latest end alone, so the first is taken from the status as it is, as long as that is on the same spec. A later end
counts instead where it can't follow from the first: then somebody has put that right.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_operator.api.status import Finding as Told
from llmservice_operator.core import pods, reasons
from llmservice_operator.core.diagnosis import Problem
from llmservice_operator.core.finding import SEVERAL, Finding, read_back
from llmservice_operator.core.situation import Situation


def remembered(situation: Situation, problems: Sequence[Problem]) -> list[Problem]:
    """``problems``, the gravest first, with the first end before those that may only follow from it."""
    ended = [problem for problem in problems if reasons.of(problem.kind).engine_ended]
    first = next(filter(None, (_end(situation, told) for told in situation.findings)), None)
    if first is None or not ended:
        return list(problems)
    same = [problem for problem in ended if _same(problem.finding, first)]
    if same:
        return [*same, *(problem for problem in problems if problem not in same)]
    later = [
        problem for problem in ended if first.subject == problem.finding.subject or SEVERAL.fullmatch(first.subject)
    ]
    if not later or not all(_may_follow(problem.reason, first.reason) for problem in later):
        return list(problems)
    again = dataclasses.replace(first, subject=later[0].finding.subject)
    return [Problem(later[0].kind, again), *problems]


def _end(situation: Situation, told: Told) -> Finding | None:
    """What was told of how an engine ended; None where that was something else, or of a pod that is no more."""
    if not reasons.of(told.reason).root_cause:
        return None
    found = read_back(told)
    known = {pods.name(pod) for pod in situation.members}
    return found if found.subject in known or SEVERAL.fullmatch(found.subject) else None


def _same(now: Finding, first: Finding) -> bool:
    """Whether this is the first end come again. A named cause may come with other numbers."""
    return now.reason == first.reason and (now.reason != reasons.CRASHED or now.account == first.account)


def _may_follow(later: str, first: str) -> bool:
    after = reasons.of(later)
    return after.transient or (after.model_incomplete and reasons.of(first).may_truncate_model)
