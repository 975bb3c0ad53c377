"""An engine that ends again and again is told by how it ended first: later ends may only follow from that one.

A disk that was full leaves a file that is cut short; a process that was killed leaves memory taken. The kubelet keeps
the latest end alone, so the first is taken from the status as it is, as long as that is on the same spec. A later end
counts instead where it can't follow from the first: then somebody has put that right.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_contract import causes
from llmservice_operator.api.status import Finding as Told
from llmservice_operator.core import pods, reasons
from llmservice_operator.core.diagnosis import Problem
from llmservice_operator.core.finding import SEVERAL, Finding, read_back
from llmservice_operator.core.situation import Situation

PASSING = frozenset(
    cause.name
    for cause in (
        causes.HUB_UNREACHABLE,
        causes.GPU_MEMORY_TAKEN,
        causes.PORT_IN_USE,
        causes.DISK_FULL,
        causes.GPU_FAULT,
        causes.RANKS_LOST,
        causes.RANKS_APART,
        causes.KILLED,
        causes.ENGINE_DIED,
        causes.HOST_OUT_OF_MEMORY,
        causes.OOM_KILLED,
        causes.UNKNOWN,
    )
)
"""Causes that another start may not meet; any other that the runtime names is in what it was told to run."""
_PASSING_TOO = frozenset({reasons.CRASHED, reasons.UNRESPONSIVE})
_BREAK_OFF = PASSING | frozenset({reasons.EVICTED_FOR_STORAGE, reasons.EVICTED_FOR_MEMORY, reasons.EVICTED})
"""Ends that may leave half a model behind."""
_HALF_A_MODEL = frozenset(
    cause.name
    for cause in (
        causes.BROKEN_WEIGHTS,
        causes.NO_WEIGHTS,
        causes.NO_TOKENIZER,
        causes.BAD_CONFIG,
        causes.MODEL_UNREADABLE,
    )
)
"""What an engine says that finds half a model."""


def remembered(situation: Situation, problems: Sequence[Problem]) -> list[Problem]:
    """``problems``, the gravest first, with the first end before those that may only follow from it."""
    ended = [problem for problem in problems if problem.kind in reasons.ENDED]
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
    if told.reason not in causes.BY_NAME and told.reason not in _PASSING_TOO and told.reason not in _BREAK_OFF:
        return None
    found = read_back(told)
    known = {pods.name(pod) for pod in situation.members}
    return found if found.subject in known or SEVERAL.fullmatch(found.subject) else None


def _same(now: Finding, first: Finding) -> bool:
    """Whether this is the first end come again. A named cause may come with other numbers."""
    named = now.reason not in _PASSING_TOO
    return now.reason == first.reason and (named or now.account == first.account)


def _may_follow(later: str, first: str) -> bool:
    if later in PASSING or later in _PASSING_TOO:
        return True
    return later in _HALF_A_MODEL and first in _BREAK_OFF
