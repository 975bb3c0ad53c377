"""Batches in work, and the lanes on which their lines wait."""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections import deque

from llmservice_operator.batches import model
from llmservice_operator.batches.lines import Lines
from llmservice_operator.batches.model import Batch
from llmservice_operator.batches.pace import Pace
from llmservice_operator.batches.results import Result, Results


class Lane:
    """The lines of one owner for one model."""

    def __init__(self, name: str, most: int) -> None:
        self.model = name
        self.pace = Pace(most)
        self.runs: deque[Run] = deque()
        """Batches with lines for it, the oldest first."""


class Opened:
    """The files of a batch."""

    def __init__(self, lines: Lines, results: Results) -> None:
        self.lines, self.results = lines, results
        self.waiting: dict[str, deque[int]] = {}
        """Lines that are to be sent, by model."""
        for number, is_done in enumerate(results.done):
            if not is_done:
                self.waiting.setdefault(lines.models[lines.model_of[number]], deque()).append(number)


class Run:
    """A batch in work."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.key: str | None = None
        self.has_key = False
        self.opened: Opened | None = None
        self.attempts: Count[int] = Count()
        self.unsaved: list[Result] = []
        self.changed = asyncio.Event()
        """Something is to be saved, or the batch is to end."""
        self.sending: set[asyncio.Task[None]] = set()
        self.is_cancelled = batch.status == model.CANCELLING

    async def stop_sending(self) -> None:
        """Ends the lines that have no answer yet."""
        for task in self.sending:
            task.cancel()
        await asyncio.gather(*self.sending, return_exceptions=True)
