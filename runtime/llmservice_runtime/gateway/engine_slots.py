"""Some of the engine's sequences stay free for keys that have few of them.

vLLM never interrupts a running request for a waiting one. If one key's requests have all of `max_num_seqs` sequences,
a request of another key waits until one of them ends, whatever its priority. So while several keys are active, a key
gets the last sequences only if it has few; its other requests are held here, and vLLM gets them when sequences end. As
long as there is one key, nothing is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from llmservice_runtime.gateway import engine_counts, fair_sharing

RESERVED = 8
"""One sequence of so many stays free."""
CHECK_SECONDS = 0.01
"""Between two looks at what has ended, while something is held."""
COUNT_PAUSE = 20
"""The engine's sequences are counted by key at most for one part in so many of the time."""
_SWEEP_AT = 1024
"""Names above which those of ended sequences are forgotten."""


class Order(Protocol):
    """Which key is the next."""

    @property
    def has_several_keys(self) -> bool:
        """Whether there is more than one."""

    def position(self, key_id: str) -> float:
        """How far a key is; the one with the lowest number is the next."""

    def holding(self, key_id: str) -> AbstractContextManager[None]:
        """A request of this key is held."""


class Asking(Protocol):
    """A request of a key."""

    @property
    def key_id(self) -> str: ...
    @property
    def order(self) -> Order: ...
    @property
    def step(self) -> float:
        """How much farther its key is expected to be after one sequence."""


@dataclass(slots=True, eq=False)
class _Held:
    sequences: int
    step: float
    released: asyncio.Future[None]


class EngineSlots:
    """Who may hand requests to the engine now, and who waits."""

    def __init__(self, most: int, states: Mapping[str, Any]) -> None:
        """`most`: sequences that the engine runs at once. `states`: vLLM's table of those that it has."""
        self._most = most
        self._reserve = max(1, most // RESERVED) if most > 1 else 0
        self._few = max(1, self._reserve // 2)
        self._states = states
        self._owners: dict[str, str] = {}
        """The key of each sequence, by vLLM's name; some may have ended."""
        self._coming: Counter[str] = Counter()
        """Sequences that were let in and that the engine does not have yet, by key."""
        self._held: dict[str, OrderedDict[_Held, None]] = {}
        self._order: Order | None = None
        self._is_checking = False
        self._counted: Counter[str | None] = Counter()
        """Sequences at the engine, by key, and those that came since they were counted."""
        self._counted_until = 0.0
        self.held = 0
        """Sequences that are held."""

    def note(self, name: str, key_id: str) -> None:
        """The engine has got a sequence of this key."""
        self._owners[name] = key_id
        self._counted[key_id] += 1
        if len(self._owners) >= 2 * len(self._states) + _SWEEP_AT:
            self._owners = {each: owner for each, owner in self._owners.items() if each in self._states}
            self._counted, self._counted_until = Counter(), 0.0

    @contextlib.asynccontextmanager
    async def place(self, request: Asking, sequences: int) -> AsyncIterator[None]:
        """Waits until the engine may get so many more sequences of it; in the context they count as coming."""
        key_id = request.key_id
        with contextlib.ExitStack() as stack:
            if self.is_full_for(request):
                self._order = request.order
                stack.enter_context(request.order.holding(key_id))
                await self._wait(key_id, _Held(sequences, request.step, asyncio.get_running_loop().create_future()))
            else:
                self._coming[key_id] += sequences
            stack.callback(self._came, key_id, sequences)
            yield

    def is_full_for(self, request: Asking) -> bool:
        """Whether it has to wait. One with several sequences waits for the first of them."""
        key_id = request.key_id
        return request.order.has_several_keys and (key_id in self._held or not self._has_room(key_id))

    def _came(self, key_id: str, sequences: int) -> None:
        self._coming[key_id] -= sequences
        if not self._coming[key_id]:
            del self._coming[key_id]

    def _has_room(self, key_id: str) -> bool:
        used = len(self._states) + self._coming.total()
        if used < self._most - self._reserve:
            return True
        owned = self._owned(key_id)
        return not owned or (owned < self._few and used < self._most)

    def _owned(self, key_id: str) -> int:
        """Sequences of this key at the engine, or on their way to it."""
        now = asyncio.get_running_loop().time()
        if now >= self._counted_until:
            begun = time.perf_counter()
            self._counted = Counter(map(self._owners.get, self._states))
            self._counted_until = now + max(CHECK_SECONDS, COUNT_PAUSE * (time.perf_counter() - begun))
        return self._counted[key_id] + self._coming[key_id]

    async def _wait(self, key_id: str, held: _Held) -> None:
        self._held.setdefault(key_id, OrderedDict())[held] = None
        self.held += held.sequences
        self._check_later()
        try:
            await held.released
        except asyncio.CancelledError:
            if not held.released.cancelled():
                self._came(key_id, held.sequences)
            elif held in self._held.get(key_id, ()):
                self._drop(key_id, held)
            raise

    def _drop(self, key_id: str, held: _Held) -> None:
        self.held -= held.sequences
        queue = self._held[key_id]
        del queue[held]
        if not queue:
            del self._held[key_id]

    def _check_later(self) -> None:
        if self._held and not self._is_checking:
            self._is_checking = True
            asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """Releases what there is room for, the key with the lowest position first."""
        self._is_checking = False
        order = self._order
        if order is None:
            return
        everything = not order.has_several_keys
        keys = [(order.position(key_id), key_id) for key_id in self._held]
        heapq.heapify(keys)
        while keys:
            position, key_id = heapq.heappop(keys)
            first = next(iter(self._held[key_id]))
            if not (everything or self._has_room(key_id)):
                continue
            self._drop(key_id, first)
            if not first.released.done():
                self._coming[key_id] += first.sequences
                first.released.set_result(None)
            if key_id in self._held:
                heapq.heappush(keys, (position + first.sequences * first.step, key_id))
        self._check_later()


def install(engine_client: Any) -> None:
    """Holds requests from now on before vLLM gets them, and counts them among those that wait in vLLM's metrics.

    An engine that is built in another way is left as it is.
    """
    most, processor = _most_sequences(engine_client), getattr(engine_client, "output_processor", None)
    states, register = getattr(processor, "request_states", None), getattr(processor, "add_request", None)
    manager = getattr(engine_client, "logger_manager", None)
    add_request, record = getattr(engine_client, "add_request", None), getattr(manager, "record", None)
    if most is None or processor is None or manager is None or not isinstance(states, dict):
        return
    if add_request is None or record is None or register is None:
        return
    slots = EngineSlots(most, states)

    @functools.wraps(add_request)
    async def in_its_turn(*args: Any, **kwargs: Any) -> Any:
        share = fair_sharing.current()
        if share is None:
            return await add_request(*args, **kwargs)
        sequences = _sequences(args, kwargs)
        counts = engine_counts.current()
        if counts is not None and slots.is_full_for(share):
            counts.wait()
        with share.coming():
            async with slots.place(share, sequences):
                return await add_request(*args, **kwargs)

    def noted(request: Any, *args: Any, **kwargs: Any) -> Any:
        answer = register(request, *args, **kwargs)
        share, name = fair_sharing.current(), getattr(request, "request_id", None)
        if share is not None and isinstance(name, str):
            slots.note(name, share.key_id)
        return answer

    def with_held(*args: Any, **kwargs: Any) -> Any:
        stats = kwargs.get("scheduler_stats")
        if slots.held and stats is not None and not kwargs.get("engine_idx"):
            stats.num_waiting_reqs += slots.held
        return record(*args, **kwargs)

    engine_client.add_request = in_its_turn
    processor.add_request = noted
    manager.record = with_held


def _most_sequences(engine_client: Any) -> int | None:
    """Sequences that all engines of the process run at once."""
    config = getattr(engine_client, "vllm_config", None)
    scheduler = getattr(config, "scheduler_config", None)
    engines = getattr(getattr(config, "parallel_config", None), "data_parallel_size", 1)
    most = getattr(scheduler, "max_num_active_seqs", None) or getattr(scheduler, "max_num_seqs", None)
    return most * engines if isinstance(most, int) and isinstance(engines, int) else None


def _sequences(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The answers of one request to the engine: `n` of its parameters."""
    parameters = kwargs.get("params", args[2] if len(args) > 2 else None)
    answers = getattr(parameters, "n", 1)
    return answers if isinstance(answers, int) and answers > 0 else 1
