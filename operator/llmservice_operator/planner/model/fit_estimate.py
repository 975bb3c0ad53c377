"""The memory estimate as a question and its answer.

A plan asks the question and gets the answer as an input, because a model's configuration is untrusted: the operator and
``kubectl llm`` compute it in a process of its own. This module imports only what that needs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from llmservice_contract.configuration import NotAConfiguration, unpacked
from llmservice_operator.gpu_memory.fit import each_fit, failed
from llmservice_operator.gpu_memory.ledger import Fit
from llmservice_operator.gpu_memory.request import Request


@dataclasses.dataclass(frozen=True)
class Question:
    """Whether one model fits some GPUs."""

    configuration: str
    """The parts of its config.json that memory depends on, compressed."""
    requests: tuple[Request, ...]
    """One request per GPU, without the configuration."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The answers to ``question``, one per request."""

    question: Question
    fits: tuple[Fit, ...]


@functools.lru_cache(maxsize=64)
def estimated(question: Question) -> Estimate:
    """The answer, computed in this process, within the bounds of ``gpu_memory``."""
    try:
        config = unpacked(question.configuration)
    except NotAConfiguration:
        config = {}
    requests = [dataclasses.replace(request, config=config) for request in question.requests]
    return Estimate(question, tuple(each_fit(requests)))


def estimated_with_draft(question: Question, draft_config: Mapping[str, Any] | None) -> Estimate:
    """The answer if the draft model has this config.json; None if it is not known."""
    if draft_config is None:
        return estimated(question)
    requests = (
        dataclasses.replace(request, draft=dataclasses.replace(request.draft, config=draft_config))
        if request.draft is not None
        else request
        for request in question.requests
    )
    return Estimate(question, estimated(dataclasses.replace(question, requests=tuple(requests))).fits)


def without_answer(question: Question, why: str) -> Estimate:
    """The answer Unknown. ``why`` follows the words "the estimate"."""
    return Estimate(question, tuple(failed(request, why) for request in question.requests))
