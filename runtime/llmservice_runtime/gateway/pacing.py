"""Prompts are handed to vLLM a few at a time, so that other clients and /health are served in between.

vLLM makes a request to the engine of each prompt. It tokenizes all of them in one pass of the event loop, makes their
parameters in another one and starts them in a third: a thousand prompts in one request keep the loop for 0.1 s and
more. Here each of them waits until earlier passes had their share. The HTTP request with the fewest waiting prompts is
the next one, so one with a single prompt never waits for the thousand of another, and of two with a thousand the first
one is done before the second begins. A prompt that need not wait costs a microsecond, and the tokens of its answer cost
nothing.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from contextvars import ContextVar
from typing import Any

PROMPTS_IN_A_PASS = 16
"""About two milliseconds of the event loop."""
HTTP_REQUEST: ContextVar[object] = ContextVar("http_request", default=None)
"""What identifies the HTTP request that is being answered; its tasks inherit it."""


class Pace:
    """How many prompts may go on in the current pass of the event loop, and which of them wait for a later one."""

    def __init__(self, most: int = PROMPTS_IN_A_PASS) -> None:
        self._most = most
        self._free = most
        """Of the current pass."""
        self._is_scheduled = False
        self._waiting: dict[object, deque[asyncio.Future[None]]] = {}
        """By HTTP request."""

    async def wait(self) -> None:
        """Returns when one more prompt may go on."""
        loop = asyncio.get_running_loop()
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._next_pass, loop)
        if self._free and not self._waiting:
            self._free -= 1
            return
        ready = loop.create_future()
        self._waiting.setdefault(HTTP_REQUEST.get(), deque()).append(ready)
        await ready

    def _next_pass(self, loop: asyncio.AbstractEventLoop) -> None:
        self._free = self._most
        for request in sorted(self._waiting, key=lambda each: len(self._waiting[each])):
            waiting = self._waiting[request]
            while waiting and self._free:
                ready = waiting.popleft()
                # That of a client that has gone is cancelled.
                if not ready.done():
                    ready.set_result(None)
                    self._free -= 1
            if waiting:
                break
            del self._waiting[request]
        self._is_scheduled = self._free < self._most
        if self._is_scheduled:
            loop.call_soon(self._next_pass, loop)


def install(engine_client: Any, completions: Any = None) -> None:
    """Has vLLM tokenize, prepare and start prompts at a pace.

    `generate` and `encode` of the engine client both call its `add_request`, and its renderer calls
    `tokenize_prompt_async` for each prompt. The completion server awaits `_get_trace_headers` for each prompt for which
    it makes parameters, and nothing else. What a version of vLLM does not have is left as it is.
    """
    _pace(engine_client, "add_request")
    _pace(getattr(engine_client, "renderer", None), "tokenize_prompt_async")
    _pace(completions, "_get_trace_headers")


def _pace(owner: Any, name: str) -> None:
    method = getattr(owner, name, None)
    if method is None:
        return
    pace = Pace()

    @functools.wraps(method)
    async def paced(*args: Any, **kwargs: Any) -> Any:
        await pace.wait()
        return await method(*args, **kwargs)

    setattr(owner, name, paced)
