"""A model of one engine: continuous batching with chunked prefill, and a prefix cache of bounded size. Pure.

Time is that of the caller: ``step`` says how long the next step takes, ``finish`` what it produced. Nothing here waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK_TOKENS = 512
"""Tokens of a block, as in Mooncake's traces."""


@dataclass(frozen=True)
class Settings:
    """An engine's speed and size: about those of a model with 8 thousand million parameters on one large GPU."""

    step_seconds: float = 0.006
    """What each step costs, however small."""
    prefill_tokens_per_second: float = 50_000.0
    generating_seconds: float = 0.0001
    """What each sequence that generates adds to a step."""
    step_tokens: int = 2048
    """Most tokens of a step, as vLLM's max_num_batched_tokens."""
    sequences: int = 256
    """Most sequences at a time, as vLLM's max_num_seqs."""
    cache_blocks: int = 1500
    """Blocks of KV cache: those of requests in work, and those that are kept for their prefixes."""


@dataclass(eq=False)
class Job:
    """A request. ``blocks`` are the hashes of its prompt's whole blocks; each covers those before it."""

    blocks: Sequence[int]
    prompt_tokens: int
    output_tokens: int
    computed: int = 0
    """Tokens of the prompt whose KV cache is there."""
    cached: int = 0
    """Those of them that were there before."""
    generated: int = 0
    pinned: int = 0
    """Its first blocks that are in the prefix cache and can't be evicted."""

    @property
    def all_blocks(self) -> int:
        """Blocks of the prompt and the whole answer, which are reserved at its start: nothing is preempted."""
        return -(-(self.prompt_tokens + self.output_tokens) // BLOCK_TOKENS)


@dataclass
class Produced:
    """What a step produced: requests with one more token, and those of them that are complete."""

    generated: list[Job] = field(default_factory=list)
    finished: list[Job] = field(default_factory=list)


class Engine:
    """One engine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cache: OrderedDict[int, int] = OrderedDict()
        """Cached blocks, each with the number of requests in work that use it; the least recently used comes first."""
        self._own = 0
        """Blocks of requests in work that are not in the cache."""
        self._pinned = 0
        """Blocks in the cache that a request in work uses."""
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, None] = {}
        self._scheduled: list[tuple[Job, int]] = []
        self.prompt_tokens = 0
        """Of all requests that were begun."""
        self.cached_tokens = 0
        """Those of them that were cached."""

    def add(self, job: Job) -> None:
        """Queues a request."""
        self.waiting.append(job)

    def drop(self, job: Job) -> None:
        """Forgets a request whose client has gone."""
        if job in self.running:
            self._end(job)
        elif job in self.waiting:
            self.waiting.remove(job)

    def step(self) -> float | None:
        """Schedules the next step; its seconds, or None if there is nothing to do.

        As in vLLM each running request gets its next token or the next part of its prompt; the rest of the step's
        tokens goes to waiting ones, in their order.
        """
        left, prefill, generating = self._settings.step_tokens, 0, 0
        self._scheduled = []
        for job in self.running:
            missing = job.prompt_tokens - job.computed
            part = min(missing, left)
            if missing and not part:
                continue
            self._scheduled.append((job, part))
            left -= part or 1
            prefill += part
            generating += not missing
        while left > 0 and self.waiting and self._admit(self.waiting[0]):
            job = self.waiting.popleft()
            part = min(job.prompt_tokens - job.computed, left)
            self._scheduled.append((job, part))
            left -= part
            prefill += part
        if not self._scheduled:
            return None
        computing = prefill / self._settings.prefill_tokens_per_second
        return self._settings.step_seconds + computing + generating * self._settings.generating_seconds

    def finish(self) -> Produced:
        """Ends the step."""
        produced = Produced()
        for job, part in self._scheduled:
            if job not in self.running:
                continue
            job.computed += part
            if part:
                self._keep(job)
            if job.computed < job.prompt_tokens:
                continue
            job.generated += 1
            produced.generated.append(job)
            if job.generated >= job.output_tokens:
                produced.finished.append(job)
                self._end(job)
        return produced

    def _admit(self, job: Job) -> bool:
        # The last token of a prompt is always computed.
        most, hits = (job.prompt_tokens - 1) // BLOCK_TOKENS, 0
        while hits < min(most, len(job.blocks)) and job.blocks[hits] in self._cache:
            hits += 1
        pinned = self._pinned + sum(not self._cache[block] for block in job.blocks[:hits])
        needed = pinned + self._own + job.all_blocks - hits
        if self.running and (len(self.running) >= self._settings.sequences or needed > self._settings.cache_blocks):
            return False
        self._own += job.all_blocks
        self._pin(job, hits)
        job.computed = job.cached = hits * BLOCK_TOKENS
        self.prompt_tokens += job.prompt_tokens
        self.cached_tokens += job.cached
        self.running[job] = None
        self._evict()
        return True

    def _keep(self, job: Job) -> None:
        """Blocks that are computed whole are in the cache from now on."""
        self._pin(job, min(job.computed // BLOCK_TOKENS, len(job.blocks)))

    def _pin(self, job: Job, until: int) -> None:
        for block in job.blocks[job.pinned : until]:
            users = self._cache.get(block, 0)
            self._cache[block] = users + 1
            self._pinned += not users
            self._own -= 1
        job.pinned = max(job.pinned, until)

    def _end(self, job: Job) -> None:
        del self.running[job]
        # The last blocks of a prompt are evicted first, as in vLLM: a prefix is of use without what follows it.
        for block in reversed(job.blocks[: job.pinned]):
            self._cache[block] -= 1
            self._pinned -= not self._cache[block]
            self._cache.move_to_end(block)
        self._own -= job.all_blocks - job.pinned
        self._evict()

    def _evict(self) -> None:
        excess = len(self._cache) + self._own - self._settings.cache_blocks
        if excess <= 0:
            return
        for block in [block for block, users in self._cache.items() if not users][:excess]:
            del self._cache[block]
