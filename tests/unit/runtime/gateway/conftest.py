"""The gateway around a small application, with dependencies that record their calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmservice_contract.keys import Role, StoredKey, make_key
from llmservice_contract.policy import Policy
from llmservice_runtime.gateway.dependencies import Dependencies
from llmservice_runtime.gateway.files import Watcher
from llmservice_runtime.gateway.keyring import KeyRing
from llmservice_runtime.gateway.log import Log
from llmservice_runtime.gateway.middleware import Pipeline
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant, LimitState

Message = dict[str, Any]


def fixed_key(number: int, role: Role, tier: str = "default") -> tuple[str, StoredKey]:
    return make_key(bytes([number]) * 40, tier, role)


@dataclass
class FakeLimiter:
    asks: list[Ask] = field(default_factory=list)
    settled: list[tuple[Ask, int]] = field(default_factory=list)
    """Asks that have ended, and all that they were charged."""
    charges: list[tuple[int, int]] = field(default_factory=list)
    """Tokens used, and those still reserved."""
    exceeded: bool = False
    has_room: bool = True
    """Whether a request that was granted gets more."""
    denial: Denial | Exception | None = None
    standing: LimitState = field(default_factory=LimitState)

    async def reserve(self, ask: Ask) -> Grant | Denial:
        self.asks.append(ask)
        if isinstance(self.denial, Exception):
            raise self.denial
        if not (self.has_room or ask.requests):
            return Denial(self.standing, 1.0, "tokens", hopeless=False)
        return self.denial or Grant(ask, self.standing, 0, shared=False)

    def charge(self, grant: Grant, used: int, held: int) -> None:
        self.charges.append((used, held))
        grant.owed += used
        grant.held = held
        grant.exceeded = self.exceeded
        if not held:
            self.settled.append((grant.ask, grant.owed))


@dataclass
class FakeMeter:
    admissions: list[tuple[str, str]] = field(default_factory=list)
    rejections: list[tuple[str, str]] = field(default_factory=list)
    endings: list[tuple[Any, ...]] = field(default_factory=list)
    first_tokens: list[tuple[str, float]] = field(default_factory=list)

    def admitted(self, route: str, tier: str) -> None:
        self.admissions.append((route, tier))

    def rejected(self, reason: str, tier: str) -> None:
        self.rejections.append((reason, tier))

    def first_token(self, tier: str, seconds: float) -> None:
        self.first_tokens.append((tier, seconds))

    def finished(self, *ending: Any) -> None:
        self.endings.append(ending)


@dataclass
class FakeDrain:
    refuses: bool = False
    active: int = 0

    def enter(self) -> None:
        self.active += 1

    def leave(self) -> None:
        self.active -= 1


@dataclass
class FakeSpan:
    headers: list[tuple[bytes, bytes]]
    values: dict[str, Any] = field(default_factory=dict)
    status: int | None = None

    def set(self, name: str, value: Any) -> None:
        self.values[name] = value

    def end(self, status: int) -> None:
        self.status = status


@dataclass
class FakeTracer:
    spans: list[FakeSpan] = field(default_factory=list)

    def begin(self, headers: list[tuple[bytes, bytes]], _route: str, _request_id: str) -> FakeSpan:
        self.spans.append(FakeSpan([*headers, (b"traceparent", b"of-the-front")]))
        return self.spans[-1]


@dataclass(frozen=True)
class Reply:
    """What the client got."""

    messages: list[Message]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])


@dataclass
class App:
    """Answers 200 to everything, or does what `answer` says; remembers what reached it."""

    answer: Callable[[Message, Any, Any], Awaitable[None]] | None = None
    scopes: list[Message] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if self.answer is not None:
            await self.answer(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        if scope["method"] not in ("GET", "HEAD"):
            self.bodies.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})


class House:
    """A front, its parts and its application."""

    def __init__(self, directory: Path) -> None:
        self.client_key, client = fixed_key(1, Role.CLIENT)
        self.premium_key, premium = fixed_key(2, Role.CLIENT, "premium")
        self.admin_key, admin = fixed_key(3, Role.ADMIN)
        for key in (client, premium, admin):
            (directory / key.id).write_text(key.entry())
        self.client_id = client.id
        self.app = App()
        self.policy = Policy(require_keys=True)
        self.limiter, self.meter, self.drain, self.tracer = FakeLimiter(), FakeMeter(), FakeDrain(), FakeTracer()
        self.log = StringIO()
        self.closed = False
        log = Log(self.log, as_json=True, now=lambda: 0.0)
        keys = KeyRing(directory, log.say)
        keys.read()
        self.parts = Dependencies(
            keys=keys,
            policy=lambda: self.policy,
            files=Watcher([], log.say),
            limiter=self.limiter,
            meter=self.meter,
            tracer=self.tracer,
            drain=self.drain,
            lines=lambda headers: None,
            log=log,
            new_id=lambda: "made-up",
            now=lambda: asyncio.get_running_loop().time(),
            close=self._close,
        )
        self.pipeline = Pipeline(self.app, self.parts)

    def caps(self, **changed: Any) -> None:
        """Changes some caps."""
        caps = msgspec.structs.replace(self.policy.caps, **changed)
        self.policy = msgspec.structs.replace(self.policy, caps=caps)

    def with_parts(self, **changed: Any) -> None:
        """Puts other parts in."""
        self.pipeline = Pipeline(self.app, replace(self.parts, **changed))

    def scope(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]] = (), **more: Any) -> Message:
        """As a server hands it on."""
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
        ends = {"client": ("10.0.0.9", 4711), "server": ("10.0.0.1", 8000)}
        return scope | ends | {"headers": list(headers)} | more

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = "", **more: Any) -> Reply:
        """One request; with the client's key unless another or None is given."""
        headers = list(more.pop("headers", ()))
        if key is not None:
            headers.append((b"authorization", f"Bearer {key or self.client_key}".encode()))
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        messages = more.pop("messages", [{"type": "http.request", "body": raw}])
        return await self.send(self.scope(method, path, headers, **more), messages)

    async def send(self, scope: Message, messages: Sequence[Message] = ()) -> Reply:
        """Sends these messages, then nothing more until the answer is there."""
        waiting = list(messages)
        sent: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop(0)
            return await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Any) -> None:
            sent.append(message)

        await self.pipeline(scope, receive, send)
        return Reply(sent)

    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def _close(self) -> None:
        self.closed = True


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)
