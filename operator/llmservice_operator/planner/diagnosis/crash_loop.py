"""An engine that ends again and again is told by how it ended first: later ends may only follow from that one.

A disk that was full leaves a file that is cut short; a process that was killed leaves memory taken. The kubelet keeps
the latest end alone, so the first is taken from the status as it is, as long as that is on the same spec. A later end
counts instead where it can't follow from the first: then somebody has put that right.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_contract.finding import Finding
from llmservice_operator.planner.diagnosis import Problem
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.finding import account


def with_root_cause(state: ServiceState, problems: Sequence[Problem]) -> list[Problem]:
    """``problems``, the gravest first, with the first end before those that may only follow from it."""
    ended = [problem for problem in problems if reasons.of(problem.kind).engine_ended]
    first = next(filter(None, (_end(state, told) for told in state.findings)), None)
    if first is None or not ended:
        return list(problems)
    same = [problem for problem in ended if _same(problem.finding, first)]
    if same:
        return [*same, *(problem for problem in problems if problem not in same)]
    later = [problem for problem in ended if first.affected_pods > 1 or first.subject == problem.finding.subject]
    if not later or not all(_may_follow(problem.reason, first.reason) for problem in later):
        return list(problems)
    again = dataclasses.replace(first, subject=later[0].finding.subject, affected_pods=1)
    return [Problem(later[0].kind, again), *problems]


def _end(state: ServiceState, found: Finding) -> Finding | None:
    """What the status says of how an engine ended; None if it is about something else, or a pod that is no more."""
    known = {pods.name(pod) for pod in state.members}
    about_one_of_them = found.affected_pods > 1 or found.subject in known
    return found if about_one_of_them and reasons.of(found.reason).root_cause else None


def _same(now: Finding, first: Finding) -> bool:
    """Whether this is the first end come again. A named cause may come with other numbers."""
    return now.reason == first.reason and (now.reason != reasons.CRASHED or account(now) == account(first))


def _may_follow(later: str, first: str) -> bool:
    after = reasons.of(later)
    return after.transient or (after.model_incomplete and reasons.of(first).may_truncate_model)
