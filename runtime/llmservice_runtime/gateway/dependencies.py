"""What the gateway depends on. Each dependency can be replaced by the caller, including clocks and random numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from llmservice_contract.policy import Policy
from llmservice_runtime.gateway.asgi import Headers, Message
from llmservice_runtime.gateway.files import Watcher
from llmservice_runtime.gateway.keyring import KeyRing
from llmservice_runtime.gateway.log import Log
from llmservice_runtime.gateway.media import MediaRule
from llmservice_runtime.rate_limits.limiter import Limiter


class Meter(Protocol):
    """Counts and times requests."""

    def admitted(self, route: str, tier: str) -> None:
        """A request for work goes to the engine."""

    def rejected(self, reason: str, tier: str) -> None:
        """A request was refused."""

    def first_token(self, tier: str, seconds: float) -> None:
        """An admitted request got its first token after so long."""

    def finished(
        self, route: str, tier: str, key_id: str, seconds: float, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """An admitted request has ended."""


class Span(Protocol):
    """The trace's view of one request."""

    @property
    def headers(self) -> Headers:
        """The request's headers, with this span as the parent of vLLM's."""

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Adds an attribute."""

    def end(self, status: int) -> None:
        """The request has ended."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, headers: Headers, route: str, request_id: str) -> Span | None:
        """The span of a request; None if nothing is traced."""


class Drain(Protocol):
    """Whether the replica still takes work, and how much it has."""

    @property
    def refuses(self) -> bool:
        """Whether new work is refused."""

    def enter(self) -> None:
        """Work begins."""

    def leave(self) -> None:
        """Work has ended."""


class Lines(Protocol):
    """Turns the messages of an answer into JSON lines."""

    def start(self, message: Message) -> Message:
        """The answer's head."""

    def body(self, message: Message) -> Message:
        """A part of its body."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """All of them."""

    keys: KeyRing
    policy: Callable[[], Policy]
    """What holds now."""
    files: Watcher
    limiter: Limiter
    meter: Meter
    tracer: Tracer
    drain: Drain
    lines: Callable[[Headers], Lines | None]
    """The converter for a request with these headers, if it asks for one."""
    log: Log
    new_id: Callable[[], str]
    now: Callable[[], float]
    """Seconds on a clock that never goes back."""
    close: Callable[[], Awaitable[None]]
    """Ends what the parts hold open, when the application has ended."""
    media: MediaRule = field(default_factory=MediaRule)
