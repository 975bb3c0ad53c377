"""Tokens that vLLM's engine has read and made for a request until now, as its API server counts them.

vLLM keeps an object for each prompt that the engine works on, and counts in it the tokens that come, whether the answer
is a stream or not. The gateway notes these objects as they are made: `AsyncLLM` hands each request to its
`OutputProcessor.add_request` within the task that serves the HTTP request, so a context variable tells whose it is.
(vllm/v1/engine/async_llm.py and output_processor.py of vLLM 0.32.) A vLLM that is built in another way is not counted
so: then `is_known` stays false, and `usage` estimates. The plug-in installs this when vLLM starts. No other module of
the gateway knows vLLM's objects.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_SWEEP_AT = 64
"""States above which those that vLLM has dropped are looked for."""


class EngineCounts:
    """The tokens of one HTTP request; it may have several prompts, and several answers to each.

    What vLLM has dropped is kept as two numbers: a beam search makes one state for each beam and token, and each of
    them holds all tokens before it.
    """

    __slots__ = ("_first", "_live", "_made", "_prompts_left", "_read", "_sweep_at", "is_known")

    def __init__(self, prompts: int | None = None) -> None:
        """`prompts`: as many are counted, the first ones: a beam search hands its prompts on with each token."""
        self._live: dict[str, tuple[Any, dict[str, Any]]] = {}
        """vLLM's states (`RequestState`) by their names, and vLLM's own table of them."""
        self._prompts_left = math.inf if prompts is None else prompts
        self._read = self._made = 0
        """Tokens of all prompts, and of answers that vLLM has dropped."""
        self._sweep_at = _SWEEP_AT
        self._first: Any = None
        """vLLM's state of the first answer."""
        self.is_known = False
        """Whether the engine has got the request, and its tokens are counted."""

    def __len__(self) -> int:
        """States that are kept."""
        return len(self._live)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompts that the engine has got."""
        return self._read

    @property
    def completion_tokens(self) -> int:
        """Tokens that the engine has made."""
        self._sweep()
        return self._made + sum(_made(state) for state, _ in self._live.values())

    @property
    def has_begun(self) -> bool:
        """Whether the engine has made a token of an answer."""
        return self.completion_tokens > 0

    @property
    def first_token_seconds(self) -> float | None:
        """From the arrival of the request at vLLM to the first token of its first answer; None if there is none."""
        seconds = getattr(getattr(self._first, "stats", None), "first_token_latency", None)
        return seconds if isinstance(seconds, float) and seconds > 0 else None

    def wait(self) -> None:
        """The gateway holds the request, which has used nothing yet."""
        self.is_known = True

    def add(self, name: str, states: dict[str, Any], is_first: bool) -> None:
        """One more answer, by its name in vLLM's table; `is_first`: of those to its prompt: the engine reads it once.

        An object that is built in another way is not counted.
        """
        state = states.get(name)
        if state is None or not _can_be_counted(state):
            return
        self.is_known = True
        self._first = self._first or state
        if len(self._live) >= self._sweep_at:
            self._sweep()
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._live))
        self._live[name] = (state, states)
        if is_first and self._prompts_left > 0:
            self._prompts_left -= 1
            self._read += state.prompt_len

    def _sweep(self) -> None:
        for name in [name for name, (state, states) in self._live.items() if states.get(name) is not state]:
            self._made += _made(self._live.pop(name)[0])


def _can_be_counted(state: object) -> bool:
    detokenizer = getattr(state, "detokenizer", None)
    counts = detokenizer is None or hasattr(detokenizer, "num_output_tokens")
    return counts and isinstance(getattr(state, "prompt_len", None), int)


def _made(state: Any) -> int:
    # Pooling models make none.
    return 0 if state.detokenizer is None else int(state.detokenizer.num_output_tokens())


_current: ContextVar[EngineCounts | None] = ContextVar("engine_counts", default=None)


@contextlib.contextmanager
def counting(counts: EngineCounts) -> Iterator[None]:
    """Requests to the engine meanwhile, of this task and those that it starts, are in `counts`."""
    before = _current.set(counts)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> EngineCounts | None:
    """Of the HTTP request of this task."""
    return _current.get()


def install(engine_client: Any) -> None:
    """Notes from now on what the engine gets. An engine that is built in another way is left as it is."""
    processor = getattr(engine_client, "output_processor", None)
    add_request, states = getattr(processor, "add_request", None), getattr(processor, "request_states", None)
    if processor is None or not callable(add_request) or not isinstance(states, dict):
        return

    def noted(request: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(request, "request_id", None)
        is_new = name not in states
        answer = add_request(request, *args, **kwargs)
        counts = _current.get()
        if counts is not None and is_new and isinstance(name, str):
            index = kwargs.get("request_index", args[2] if len(args) > 2 else 0)
            counts.add(name, states, is_first=index == 0)
        return answer

    processor.add_request = noted
