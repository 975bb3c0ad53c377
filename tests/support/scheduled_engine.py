"""An engine with vLLM's scheduling policy `priority`, in steps: each step makes a token of each running request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from llmservice_runtime.gateway.fair_sharing import FairShares, ShareOfRequest


@dataclass(eq=False)
class Job:
    """One request of a key: its answer has `tokens`, and `most_tokens` is what it asked for."""

    key: str
    tokens: int
    prompt: int
    arrived: int
    number: int
    share: ShareOfRequest
    priority: int = 0
    begun: int | None = None
    made: int = 0
    state: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(is_prefilling=True))

    @property
    def waited(self) -> int:
        """Steps until it began."""
        assert self.begun is not None
        return self.begun - self.arrived


class ScheduledEngine:
    """With `slots` requests at the same time; `fair=False` takes them in the order of their arrival."""

    def __init__(self, slots: int, fair: bool = True, shares: FairShares | None = None) -> None:
        self.shares = shares or FairShares(lambda: 0.0)
        self.step_number = 0
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.ended: list[Job] = []
        self._slots = slots
        self._fair = fair
        self._number = 0

    def ask(self, key: str, tokens: int, prompt: int = 10, weight: int = 1, most: float | None = None) -> Job:
        """A request arrives."""
        share = self.shares.begin(key, weight)
        self._number += 1
        job = Job(key, tokens, prompt, self.step_number, self._number, share)
        priority = share.priority(job.state, prompt, tokens if most is None else most)
        job.priority = priority if self._fair else 0
        self.waiting.append(job)
        return job

    def leave(self, job: Job) -> None:
        """Its client disconnects."""
        (self.waiting if job in self.waiting else self.running).remove(job)
        job.share.end(job.made)

    def step(self) -> None:
        """One step of the engine."""
        self.waiting.sort(key=lambda job: (job.priority, job.number))
        while self.waiting and len(self.running) < self._slots:
            job = self.waiting.pop(0)
            job.begun = self.step_number
            self.running.append(job)
        self.step_number += 1
        for job in list(self.running):
            job.made += 1
            job.state.is_prefilling = False
            if job.made >= job.tokens:
                self.running.remove(job)
                self.ended.append(job)
                job.share.end(job.made)

    def run(self, steps: int, before: Callable[[int], None] = lambda _: None) -> None:
        """So many steps; `before` is called before each with its number."""
        for _ in range(steps):
            before(self.step_number)
            self.step()

    def served(self, key: str) -> int:
        """Tokens of the key's answers until now."""
        return sum(job.made for job in (*self.running, *self.ended) if job.key == key)

    def of(self, key: str) -> list[Job]:
        """The key's requests that have begun."""
        return [job for job in (*self.ended, *self.running) if job.key == key]
