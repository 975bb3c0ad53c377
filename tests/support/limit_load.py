"""Load on a rate limit from many keys and kinds of clients, over several replicas, and the usage of each key.

The engines are simulated in steps of a second and at each charge; limiters and charges are those of the gateway. Usage
is counted in the second in which the engine generates it, and compared with the limit over any ten minutes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from llmservice_contract.policy import RateLimit
from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.charges import Charges
from llmservice_runtime.gateway.engine_counts import EngineCounts
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Size
from llmservice_runtime.gateway.usage import usage_of
from llmservice_runtime.rate_limits.limiter import WINDOW_SECONDS, Ask, Denial, Grant, Limiter

TEN_MINUTES = 600


@dataclass(frozen=True)
class Habit:
    """How one client asks."""

    name: str
    prompt: int
    answer: int
    """Tokens that the engine makes."""
    per_second: int
    most: int | None = None
    """The request's max_tokens."""
    streams: bool = True
    leaves_after: float = math.inf
    """Seconds after which the client goes away."""
    seldom: float = 1.0
    """Seconds between an answer and the next request."""
    counted: bool = True
    """Whether the engine's count of a running request can be read."""


BOUNDED = (
    Habit("short", prompt=40, answer=60, per_second=60, most=64),
    Habit("short, no stream", prompt=40, answer=100, per_second=50, most=128, streams=False),
    Habit("a minute and more", prompt=300, answer=1500, per_second=20, most=1500),
    Habit("ten minutes", prompt=100, answer=3000, per_second=5, most=3000),
    Habit("two minutes, no stream", prompt=100, answer=1200, per_second=10, most=1200, streams=False),
    Habit("leaves a stream", prompt=200, answer=2000, per_second=40, most=2000, leaves_after=12),
    Habit("leaves, no stream", prompt=200, answer=800, per_second=40, most=800, streams=False, leaves_after=6),
    Habit("reserves far more", prompt=50, answer=300, per_second=60, most=2000),
)
OPEN = (
    Habit("chat", prompt=60, answer=300, per_second=60),
    Habit("chat, no stream", prompt=60, answer=500, per_second=60, streams=False),
)
ENDLESS = (Habit("sixteen thousand tokens in 64 s", prompt=60, answer=16_000, per_second=250),)
ENDLESS_WITHOUT_STREAM = (replace(ENDLESS[0], name="the same, no stream", streams=False),)
ENDLESS_UNCOUNTED = (replace(ENDLESS[0], name="the same, another engine", counted=False),)


@dataclass
class Key:
    """What one key gets."""

    name: str
    limit: int
    got: list[int]
    """Tokens by second."""
    granted: int = 0
    denied: int = 0
    ended: int = 0
    """Answers that were ended since the key was above its limit."""
    habits: set[str] = field(default_factory=set)
    """Of requests that were granted."""

    def overrun_percent(self, seconds: int = TEN_MINUTES) -> float:
        """By how much it exceeds its limit in the worst of all windows of so many seconds."""
        sums = [0]
        for tokens in self.got:
            sums.append(sums[-1] + tokens)
        most = max(sums[end] - sums[max(0, end - seconds)] for end in range(1, len(sums)))
        return 100 * (most / (self.limit * seconds / 60) - 1)


class _Running:
    """One request that the engine answers."""

    def __init__(self, key: Key, habit: Habit, grant: Grant, size: Size, limiter: Limiter, begun: int) -> None:
        self.key, self.habit, self.size, self.begun, self.grant = key, habit, size, begun, grant
        self.made = 0
        self.answer = ResponseStream(None, [], None, None)  # type: ignore[arg-type]
        self.answer.status, self.answer.is_stream = 200 if habit.streams else 0, habit.streams
        self.is_ended = False
        self.counts = EngineCounts()
        if habit.counted:
            made = SimpleNamespace(num_output_tokens=lambda: self.made)
            states = {"0": SimpleNamespace(prompt_len=habit.prompt, detokenizer=made)}
            self.counts.add("0", states, is_first=True)
        self.charges = Charges(limiter, grant, Kind.CHAT, size, self.answer, self.counts, self._end)
        self.until_look = self.charges.pause

    async def advance(self, second: int) -> bool:
        """The engine works for a second; whether the request goes on."""
        habit = self.habit
        if not self.made:
            self.key.got[second] += habit.prompt
        left = second - self.begun >= habit.leaves_after
        at_first, passed = self.made, 0.0
        while passed < 1 and self.made < habit.answer and not left:
            step = min(1 - passed, self.until_look)
            passed += step
            self.until_look -= step
            made = min(int(at_first + habit.per_second * passed), habit.answer) - self.made
            self.made += made
            self.key.got[second] += made
            if habit.streams:
                self.answer.parts += made
            if self.until_look <= 1e-9 and self.made < habit.answer:
                self.charges.charge()
                await self.charges.settled()
                self.until_look = self.charges.pause
                left = self.is_ended
        if self.made < habit.answer and not left:
            return True
        self.key.ended += self.is_ended
        self.answer.complete = not left
        usage = b'{"usage":{"prompt_tokens":%d,"completion_tokens":%d}}' % (habit.prompt, self.made)
        self.answer.last = b"" if left else usage
        seconds = second - self.begun
        self.charges.end(sum(usage_of({}, Kind.CHAT, self.answer, self.size, seconds, self.counts)))
        return False

    @property
    def pause(self) -> float:
        """Seconds until its client asks again: what Retry-After says, if it gets one."""
        return WINDOW_SECONDS if self.is_ended and not self.habit.streams else self.habit.seldom

    def _end(self) -> None:
        self.is_ended = True


async def play(
    limiters: Sequence[Limiter],
    set_clock: Callable[[float], Awaitable[None]],
    start: float,
    seconds: int,
    habits: Sequence[Habit],
    keys: int = 20,
    seed: int = 1,
) -> list[Key]:
    """What each key got. Each of its clients asks again as soon as it may, mostly another replica."""
    chance = random.Random(seed)
    made = [Key(f"key{number}", chance.randrange(3_000, 30_000), [0] * seconds) for number in range(keys)]
    waiting = [(key, habit, chance.uniform(0, 5)) for key in made for habit in habits]
    running: list[_Running] = []
    for second in range(seconds):
        await set_clock(start + second)
        going = await asyncio.gather(*(each.advance(second) for each in running))
        ended = [each for each, goes_on in zip(running, going, strict=True) if not goes_on]
        running = [each for each in running if each not in ended]
        await _told([*running, *ended])
        due = [each for each in waiting if each[2] <= second]
        waiting = [each for each in waiting if each[2] > second]
        waiting += [(each.key, each.habit, second + each.pause) for each in ended]
        chance.shuffle(due)
        answers = await asyncio.gather(*(_ask(key, habit, chance.choice(limiters), second) for key, habit, _ in due))
        for (key, habit, _), answer in zip(due, answers, strict=True):
            if isinstance(answer, Denial):
                key.denied += 1
                waiting.append((key, habit, second + answer.retry_after))
            else:
                key.granted += 1
                key.habits.add(habit.name)
                running.append(answer)
    for each in running:
        each.charges.end(0)
    await _told(running)
    return made


async def _ask(key: Key, habit: Habit, limiter: Limiter, second: int) -> Denial | _Running:
    size = Size(1, habit.prompt, habit.most or 0, is_open=habit.most is None).within(key.limit)
    ask = Ask(key.name, RateLimit(None, key.limit), 1, size.prompt_tokens + size.completion_tokens)
    answer = await limiter.reserve(ask)
    return answer if isinstance(answer, Denial) else _Running(key, habit, answer, size, limiter, second)


async def _told(requests: Sequence[_Running]) -> None:
    """Returns once a store has all charges."""
    while any(each.grant.is_sending for each in requests):  # noqa: ASYNC110 - replies of the store make it false
        await asyncio.sleep(0)
