"""Asks a server that may be unavailable for a short time: a hub or an object store.

Everything is bounded in time, whatever the server does: one question, the pause between two of them, and all of them
together. A pause grows, and is at least what the server asks for (Retry-After), up to its maximum. Once the time for
all questions is over, the next ones fail at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeVar

from llmservice_contract.causes import Cause
from llmservice_runtime.model.unreadable import ModelUnreadable

Answer = TypeVar("Answer")

TRY_SECONDS = 40.0
"""Time limit of one question. The clients retry by themselves within it."""
ALL_SECONDS = 120.0
"""Time limit of all questions to one server, since the first one that failed."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries."""


@dataclass(slots=True)
class Server:
    """One server, as this process sees it."""

    cause: Cause
    """The cause that is reported if it does not answer in time."""
    seconds: float = ALL_SECONDS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = field(default=lambda _: None)
    _ends_at: float | None = None
    _failed: ModelUnreadable | None = None

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """The answer. Raises ModelUnreadable; if it is transient, after all tries have failed."""
        if self._failed is not None:
            raise self._failed
        pause = FIRST_PAUSE
        while True:
            try:
                answer = answered_within(TRY_SECONDS, question, self.cause)
                self._ends_at = None
                return answer
            except ModelUnreadable as error:
                if not error.is_transient:
                    raise
                now = self.clock()
                if self._ends_at is None:
                    self._ends_at = now + self.seconds
                wait = min(LONGEST_PAUSE, max(pause * random.uniform(0.8, 1.2), error.retry_after))  # noqa: S311
                if now + wait >= self._ends_at:
                    self._failed = error
                    raise
                self.say(f"{error} Next try in {wait:.0f} s.")
                self.sleep(wait)
                pause *= 2


def answered_within(seconds: float, question: Callable[[], Answer], cause: Cause) -> Answer:
    """The answer of ``question``. Raises ModelUnreadable because of ``cause`` if it takes longer; then it may go on in
    its thread, which does not keep the process from its exit."""
    box: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            box.put((question(), None))
        except BaseException as error:
            box.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = box.get(timeout=seconds)
    except Empty:
        raise ModelUnreadable(cause, f"No complete answer within {seconds:g} s.") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # None only if that is the answer
