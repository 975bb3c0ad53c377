"""The memory estimate as a question and its answer.

A plan asks the question and is given the answer, because a model's configuration is a stranger's: the operator works it
out in a process of its own, ``kubectl llm`` in its own. What is needed for that is imported here, and no more.
"""

from __future__ import annotations

import dataclasses
import functools

from llmservice_contract.configuration import NotAConfiguration, unpacked
from llmservice_operator.gpu_memory.fit import each_fit, failed
from llmservice_operator.gpu_memory.ledger import Fit
from llmservice_operator.gpu_memory.request import Request


@dataclasses.dataclass(frozen=True)
class Question:
    """Whether one model fits each of some GPUs."""

    configuration: str
    """What memory depends on of its config.json, packed."""
    requests: tuple[Request, ...]
    """One for each GPU, without the configuration."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The answers to ``question``, one for each of its requests."""

    question: Question
    fits: tuple[Fit, ...]


@functools.lru_cache(maxsize=64)
def estimated(question: Question) -> Estimate:
    """The answer, worked out here and now, within the bounds of ``memory``."""
    try:
        config = unpacked(question.configuration)
    except NotAConfiguration:
        config = {}
    requests = [dataclasses.replace(request, config=config) for request in question.requests]
    return Estimate(question, tuple(each_fit(requests)))


def without_answer(question: Question, why: str) -> Estimate:
    """The answer where there is none: Unknown. ``why`` follows the words "the estimate"."""
    return Estimate(question, tuple(failed(request, why) for request in question.requests))
