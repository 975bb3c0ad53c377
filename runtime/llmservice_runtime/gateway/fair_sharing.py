"""Keys share the engine fairly: the priorities by which vLLM takes its waiting requests.

vLLM's scheduling policy `priority` takes the waiting request with the lowest priority first, and if its KV cache is
full it preempts the running request with the highest. Here each request to the engine gets the virtual time at which it
begins if its key has its share of the engine (start-time fair queueing: P. Goyal, H. Vin, H. Cheng, SIGCOMM 1996; for
several requests at once: W. Jin, J. Chase, J. Kaur, SIGMETRICS 2004). Service is counted in tokens, one of an answer
like two of a prompt (virtual token counters: Y. Sheng et al., Fairness in Serving Large Language Models, OSDI 2024).

- The virtual time is the priority of the last request that the engine has begun.
- A request's priority is the virtual time, or the end of what its key has asked for before, if that is later. So a key
  that asks for more than its share waits behind its own requests, and one that asks for less is the next.
- The end of a key moves on by the tokens of each request, divided by the weight of the key. How long an answer becomes
  is estimated from the key's last answers, and corrected when the request ends.

No request starves: priorities never change, and those of new requests rise with the virtual time. All requests stay in
vLLM's own queue, so its metrics count them. Requests of a single key keep the order of their arrival.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

ANSWER_TOKEN = 2.0
"""What a token of an answer counts; one of a prompt counts 1."""
FIRST_ESTIMATE = 256.0
"""Tokens of an answer before the first one has ended."""
LEARNED = 0.2
"""Part of an estimate that the last request replaces."""
MOST_KEYS = 10_000
"""Keys that are remembered."""
SEVERAL_SECONDS = 60.0
"""How long several keys count as active after requests of two of them arrived, one after the other."""
CHECK_SECONDS = 1.0
"""Between two looks at a request that the engine has not got although it should have begun."""
LOWEST_PRIORITY = 2**40
"""Of requests that use idle capacity alone: no other one has so high a number."""
_SWEEP_AT = 1024
"""Requests and keys above which those that no longer matter are looked for."""


@dataclass(slots=True, eq=False)
class _Sequence:
    """One request to the engine: one answer to one prompt."""

    priority: float
    prompt: float
    """What its prompt counts."""
    answer: float
    """What its answer is expected to count."""
    state: Any
    """vLLM's `RequestState`."""
    request: ShareOfRequest

    @property
    def has_begun(self) -> bool:
        """Whether the engine has made something of it. An object of another form counts as begun."""
        return getattr(self.state, "is_prefilling", False) is not True


class ActiveKeys:
    """Whether requests of several keys arrived lately."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: str | None = None
        self._until: float | None = None

    def saw(self, key_id: str) -> None:
        """A request of this key has arrived."""
        if self._last is not None and key_id != self._last:
            self._until = self._now() + SEVERAL_SECONDS
        self._last = key_id

    @property
    def are_several(self) -> bool:
        """Whether requests of different keys followed each other in the last SEVERAL_SECONDS."""
        return self._until is not None and self._now() < self._until


class FairShares:
    """The virtual time, and how far each key is."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._keys = ActiveKeys(now)
        self._time = 0.0
        self._ends: dict[str, float] = {}
        """By key; absent: the virtual time or earlier."""
        self._held: Counter[str] = Counter()
        """Requests that are held before the engine, by key."""
        self._waiting: list[tuple[float, int, _Sequence]] = []
        """A heap of what may not have begun; the number keeps the order of arrival."""
        self._count = 0
        self._open = 0
        """HTTP requests that have not ended."""
        self._answers: OrderedDict[str, float] = OrderedDict()
        """Tokens of an answer, by key."""
        self._usual = FIRST_ESTIMATE
        """The same of all keys together, for a key that has none yet."""
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        """Keys and requests that are remembered, beside the estimates."""
        return len(self._ends) + len(self._waiting)

    @property
    def has_several_keys(self) -> bool:
        """Whether there is more than one active key."""
        return self._keys.are_several

    def position(self, key_id: str) -> float:
        """The priority that the key's next request would get."""
        self._advance()
        end = self._ends.get(key_id, 0.0)
        return end if key_id in self._held else max(self._time, end)

    @contextlib.contextmanager
    def holding(self, key_id: str) -> Iterator[None]:
        """A request of this key is held before the engine: meanwhile its position does not follow the virtual time."""
        self._ends[key_id] = self.position(key_id)
        self._held[key_id] += 1
        try:
            yield
        finally:
            self._held[key_id] -= 1
            if not self._held[key_id]:
                del self._held[key_id]

    def answer(self, key_id: str) -> float:
        """Tokens that an answer of this key is expected to have."""
        return self._answers.get(key_id, self._usual)

    def begin(self, key_id: str, weight: int, is_last: bool = False) -> ShareOfRequest:
        """One HTTP request of a key; `end` of the result has to follow. `is_last`: it is after all others, and its key
        is not charged for it."""
        if not is_last:
            self._keys.saw(key_id)
        self._advance()
        self._open += 1
        return ShareOfRequest(self, key_id, weight, is_last)

    def add(self, request: ShareOfRequest, state: Any, prompt_tokens: int, most_tokens: float) -> int:
        """The priority of one more request to the engine."""
        priority = self.position(request.key_id)
        expected = min(most_tokens, self.answer(request.key_id))
        sequence = _Sequence(priority, float(prompt_tokens), ANSWER_TOKEN * expected, state, request)
        self.charge(request, sequence.prompt + sequence.answer)
        request.add(sequence)
        self._count += 1
        heapq.heappush(self._waiting, (priority, self._count, sequence))
        return int(priority)

    def charge(self, request: ShareOfRequest, counted: float) -> None:
        """Moves the end of the request's key."""
        key_id = request.key_id
        self._ends[key_id] = self.position(key_id) + counted / request.weight

    def end(self, request: ShareOfRequest, excess: float, answer_tokens: float | None) -> None:
        """A request has ended. `excess`: what was charged beyond what it used; `answer_tokens`: of each answer."""
        self._open -= 1
        key_id = request.key_id
        if key_id in self._ends:
            self._ends[key_id] -= excess / request.weight
        elif excess < 0:
            self.charge(request, -excess)
        if answer_tokens is not None:
            before = self._answers.pop(key_id, self._usual)
            self._answers[key_id] = before + LEARNED * (answer_tokens - before)
            self._usual += LEARNED * (answer_tokens - self._usual)
            while len(self._answers) > MOST_KEYS:
                self._answers.popitem(last=False)

    def _advance(self) -> None:
        """Sets the virtual time to the priority of the last request that has begun."""
        while self._waiting:
            priority, _, first = self._waiting[0]
            if first.has_begun:
                self._time = max(self._time, priority)
            elif not first.request.has_ended:
                break
            heapq.heappop(self._waiting)
        if not self._open:
            # No request waits or runs: all keys begin at the same point.
            self._time = max(self._time, *self._ends.values(), 0.0)
            self._ends.clear()
        elif len(self) > self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """Forgets what no longer matters. The engine may have begun requests before the first one that waits: one
        waits for its grammar, for example."""
        begun = [priority for priority, _, each in self._waiting if each.has_begun]
        self._time = max(self._time, *begun, 0.0)
        kept = [each for each in self._waiting if not (each[2].has_begun or each[2].request.has_ended)]
        heapq.heapify(kept)
        self._waiting = kept
        later = ((end, key_id) for key_id, end in self._ends.items() if end > self._time or key_id in self._held)
        self._ends = {key_id: end for end, key_id in heapq.nlargest(MOST_KEYS, later)}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self))


class ShareOfRequest:
    """The requests to the engine of one HTTP request."""

    __slots__ = ("_answer", "_begun", "_coming", "_is_last", "_waiting", "has_ended", "key_id", "order", "weight")

    def __init__(self, shares: FairShares, key_id: str, weight: int, is_last: bool = False) -> None:
        self._is_last = is_last
        self.order = shares
        self.key_id = key_id
        self.weight = weight
        self._coming = 0
        """Those that are on their way to the engine."""
        self._waiting: list[_Sequence] = []
        """Those that may not have begun."""
        self._begun = 0
        self._answer = 0.0
        """What those that have begun were charged for their answers."""
        self.has_ended = False

    @property
    def has_begun(self) -> bool:
        """Whether the engine has made something of it."""
        self._sort()
        return self._begun > 0

    @property
    def is_queued(self) -> bool:
        """Whether it is prepared, and the engine has made nothing of it yet."""
        return not self.has_begun and bool(self._waiting or self._coming)

    @property
    def step(self) -> float:
        """How much farther its key is expected to be after one more answer."""
        return ANSWER_TOKEN * self.order.answer(self.key_id) / self.weight

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """One more request is on its way to the engine."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def priority(self, state: Any, prompt_tokens: int, most_tokens: float) -> int:
        """The priority of one more request to the engine."""
        if self._is_last:
            return LOWEST_PRIORITY
        return self.order.add(self, state, prompt_tokens, most_tokens)

    def add(self, sequence: _Sequence) -> None:
        """One more, that has been charged."""
        # A beam search adds some for each token.
        if len(self._waiting) >= 64 and not len(self._waiting) % 64:
            self._sort()
        self._waiting.append(sequence)

    def end(self, answer_tokens: int | None) -> None:
        """It has ended, with so many tokens of all answers; None if they are not known."""
        if self.has_ended:
            return
        self._sort()
        self.has_ended = True
        unused = sum(each.prompt + each.answer for each in self._waiting)
        if answer_tokens is None or not self._begun:
            self.order.end(self, unused, None)
        else:
            excess = unused + self._answer - ANSWER_TOKEN * answer_tokens
            self.order.end(self, excess, answer_tokens / self._begun)

    def _sort(self) -> None:
        waiting = []
        for each in self._waiting:
            if each.has_begun:
                self._begun += 1
                self._answer += each.answer
            else:
                waiting.append(each)
        self._waiting = waiting


class QueueDeadline:
    """When a request has to have begun."""

    def __init__(self, request: ShareOfRequest, seconds: float, refuse: Callable[[], None]) -> None:
        """`refuse`: called after so many seconds if the request is still queued; `cancel` has to follow."""
        self._request = request
        self._refuse = refuse
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._check)

    def cancel(self) -> None:
        """The request has ended."""
        self._timer.cancel()

    def _check(self) -> None:
        if self._request.is_queued:
            self._refuse()
        elif not self._request.has_begun:
            # The engine has not got it yet.
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)


_current: ContextVar[ShareOfRequest | None] = ContextVar("share_of_request", default=None)


@contextlib.contextmanager
def sharing(request: ShareOfRequest | None) -> Iterator[None]:
    """Requests to the engine meanwhile, of this task and those that it starts, get their priority from `request`."""
    before = _current.set(request)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> ShareOfRequest | None:
    """Of the HTTP request of this task."""
    return _current.get()


def install(engine_client: Any) -> None:
    """Sets from now on the priority of each request to the engine, whatever priority its client asked for.

    vLLM registers each request at its output processor before the engine gets it. An engine that is built in another
    way is left as it is.
    """
    processor = getattr(engine_client, "output_processor", None)
    add_request, states = getattr(processor, "add_request", None), getattr(processor, "request_states", None)
    if processor is None or not callable(add_request) or not isinstance(states, dict):
        return

    def with_priority(request: Any, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(request, "priority"):
            return add_request(request, *args, **kwargs)
        name = getattr(request, "request_id", None)
        # vLLM keeps the priority of a session that gets more input.
        is_new = name not in states
        request.priority = 0
        answer = add_request(request, *args, **kwargs)
        share, state = _current.get(), states.get(name)
        if share is not None and is_new and state is not None:
            index = kwargs.get("request_index", args[2] if len(args) > 2 else 0)
            request.priority = share.priority(state, _prompt_tokens(state) if index == 0 else 0, _most_tokens(request))
        return answer

    processor.add_request = with_priority


def _prompt_tokens(state: Any) -> int:
    tokens = getattr(state, "prompt_len", None)
    return tokens if isinstance(tokens, int) else 0


def _most_tokens(request: Any) -> float:
    """Tokens that its answer may have. Requests to pooling models have none."""
    parameters = getattr(request, "sampling_params", None)
    if parameters is None:
        return 0.0
    most = getattr(parameters, "max_tokens", None)
    return float(most) if isinstance(most, int) else math.inf
