"""The root cause of a crash loop: the first exit of an engine, if later exits may only follow from it.

A full disk leaves a truncated file; a killed process may leave GPU memory in use. The kubelet reports only the latest
exit, so the first one is taken from the status, if that is about the same spec. A later exit counts instead if it can't
follow from the first: then the first cause has been fixed.
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
    """``problems``, the most severe first, but the root cause before the exits that may only follow from it."""
    ended = [problem for problem in problems if reasons.of(problem.kind).engine_ended]
    first = next(filter(None, (_exit(state, finding) for finding in state.findings)), None)
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


def _exit(state: ServiceState, found: Finding) -> Finding | None:
    """``found`` if it reports an exit of an engine whose pod still exists; otherwise None."""
    known = {pods.name(pod) for pod in state.members}
    about_one_of_them = found.affected_pods > 1 or found.subject in known
    return found if about_one_of_them and reasons.of(found.reason).root_cause else None


def _same(now: Finding, first: Finding) -> bool:
    """Whether the first exit has occurred again. The same named reason may have other numbers."""
    return now.reason == first.reason and (now.reason != reasons.CRASHED or account(now) == account(first))


def _may_follow(later: str, first: str) -> bool:
    after = reasons.of(later)
    return after.transient or (after.model_incomplete and reasons.of(first).may_truncate_model)
