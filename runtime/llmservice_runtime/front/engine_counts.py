"""Tokens that vLLM's engine has read and made for a request until now, as its API server counts them.

vLLM keeps an object for each prompt that the engine works on, and counts in it the tokens that come, whether the answer
is a stream or not. The front notes these objects as they are made: `AsyncLLM` hands each request to its
`OutputProcessor.add_request` within the task that serves the HTTP request, so a context variable tells whose it is.
(vllm/v1/engine/async_llm.py and output_processor.py of vLLM 0.32.) A vLLM that is built in another way is not counted
so: then `is_known` stays false, and `usage` estimates. This is the only module of the front that knows vLLM's objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from llmservice_runtime.front.asgi import Scope

_MARK = "_llmservice_counts"


class EngineCounts:
    """The tokens of one HTTP request; it may have several prompts, and several answers to each."""

    __slots__ = ("_answers", "_prompts")

    def __init__(self) -> None:
        self._answers: list[Any] = []
        """vLLM's states (`RequestState`) of all answers."""
        self._prompts: list[Any] = []
        """Of the first answer to each prompt: the engine reads a prompt once for all of its answers."""

    @property
    def is_known(self) -> bool:
        """Whether the engine has got the request, and its tokens are counted."""
        return bool(self._answers)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompts that the engine has got."""
        return sum(state.prompt_len for state in self._prompts)

    @property
    def completion_tokens(self) -> int:
        """Tokens that the engine has made."""
        # Pooling models make none.
        return sum(each.detokenizer.num_output_tokens() for each in self._answers if each.detokenizer is not None)

    def add(self, state: Any, is_first: bool) -> None:
        """One more answer, vLLM's state of it; `is_first`: of those to its prompt. Another object is not counted."""
        detokenizer = getattr(state, "detokenizer", None)
        if not isinstance(getattr(state, "prompt_len", None), int):
            return
        if detokenizer is not None and not hasattr(detokenizer, "num_output_tokens"):
            return
        self._answers.append(state)
        if is_first:
            self._prompts.append(state)


_current: ContextVar[EngineCounts | None] = ContextVar("engine_counts", default=None)


@contextlib.contextmanager
def counting(scope: Scope, counts: EngineCounts) -> Iterator[None]:
    """What the application asks of the engine meanwhile, in this task and those that it starts, is in `counts`."""
    _watch(scope)
    before = _current.set(counts)
    try:
        yield
    finally:
        _current.reset(before)


def _watch(scope: Scope) -> None:
    """Notes from now on what the application's engine gets, if it is vLLM's."""
    state = getattr(scope.get("app"), "state", None)
    processor = getattr(getattr(state, "engine_client", None), "output_processor", None)
    if processor is None or hasattr(processor, _MARK):
        return
    add_request, states = getattr(processor, "add_request", None), getattr(processor, "request_states", None)
    if not callable(add_request) or not isinstance(states, dict):
        return

    def noted(request: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(request, "request_id", None)
        is_new = name not in states
        answer = add_request(request, *args, **kwargs)
        counts = _current.get()
        if counts is not None and is_new and (made := states.get(name)) is not None:
            index = kwargs.get("request_index", args[2] if len(args) > 2 else 0)
            counts.add(made, is_first=index == 0)
        return answer

    processor.add_request = noted
    setattr(processor, _MARK, True)
