"""50 hostile requests: 42 that attack for a few seconds each, 8 that try to get more tokens than their key's limit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from hostile_parts.requests_http import Server

COUNT = 50
COMPLETIONS, CHAT, RESPONSES, MESSAGES = "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"
MIB = 1 << 20
Statuses = Counter[int]
Attack = Callable[[Server, float], Awaitable[Statuses]]


@dataclasses.dataclass(frozen=True)
class RequestCase:
    """One attack: what it does with a server for so many seconds, and the statuses that it got."""

    name: str
    family: str
    attack: Attack
    tier: str = "attacker"
    """Of its key."""


def all_cases() -> tuple[RequestCase, ...]:
    """All but those of requests_limits.py, each by a name of its own."""
    return (*_heads(), *_bodies(), *_many(), *_fields(), *_grammars(), *_floods())


def flood(path: str, body: Any, at_once: int = 8, patience: float = 10.0, **more: str) -> Attack:
    """The same request again and again, so many at once."""

    async def attack(server: Server, seconds: float) -> Statuses:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await loop(lambda: _status(server, path, raw, patience, more), seconds, at_once)

    return attack


async def loop(once: Callable[[], Awaitable[int]], seconds: float, at_once: int) -> Statuses:
    """Call it again and again, so many at once, until the time is over; what is under way ends with it."""
    found: Statuses = Counter()
    deadline = asyncio.get_running_loop().time() + seconds

    async def client() -> None:
        while asyncio.get_running_loop().time() < deadline:
            found[await once()] += 1

    clients = [asyncio.create_task(client()) for _ in range(at_once)]
    await asyncio.wait(clients, timeout=seconds + 0.5)
    for each in clients:
        each.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return found


async def _status(server: Server, path: str, raw: bytes, patience: float, more: Mapping[str, str]) -> int:
    return (await server.post(path, raw, patience, more)).status


def completion(**more: Any) -> dict[str, Any]:
    """A usual one, with these fields."""
    return {"model": "tiny", "prompt": "The quick brown fox", "max_tokens": 4, "temperature": 0, **more}


def chat(**more: Any) -> dict[str, Any]:
    """A usual one, with these fields."""
    messages = [{"role": "user", "content": "Hello, how are you today?"}]
    return {"model": "tiny", "messages": messages, "max_tokens": 4, "temperature": 0, **more}


def _heads() -> Iterator[RequestCase]:
    """8 of them: heads of requests, most of them without a key."""
    line = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
    many = b"".join(b"x-%d: y\r\n" % number for number in range(100_000))

    def sent(raw: bytes, at_once: int = 4) -> Attack:
        async def attack(server: Server, seconds: float) -> Statuses:
            async def once() -> int:
                return (await server.send(raw, 3.0)).status

            return await loop(once, seconds, at_once)

        return attack

    def dripped(piece: bytes, pause: float, connections: int) -> Attack:
        async def attack(server: Server, seconds: float) -> Statuses:
            replies = await asyncio.gather(*(server.drip([line, piece], pause, seconds) for _ in range(connections)))
            return Counter(each.status for each in replies)

        return attack

    yield RequestCase("head-10-mib", "heads", sent(line + b"a: " + b"x" * (10 * MIB) + b"\r\n\r\n"))
    yield RequestCase("head-100000-fields", "heads", sent(line + many + b"\r\n"))
    yield RequestCase("head-without-end", "heads", dripped(b"a: " + b"x" * 60_000 + b"\r\n", 0.0, 4))
    yield RequestCase("head-one-field-without-end", "heads", dripped(b"x" * 60_000, 0.0, 4))
    yield RequestCase("head-slow-300", "heads", dripped(b"a: b\r\n", 1.0, 300))
    yield RequestCase("head-url-8-mib", "heads", sent(b"GET /" + b"a" * (8 * MIB) + b" HTTP/1.1\r\nHost: x\r\n\r\n"))
    yield RequestCase(
        "head-authorization", "heads", sent(line + b"Authorization: Bearer " + b"k" * (4 * MIB) + b"\r\n\r\n")
    )
    yield RequestCase("head-pipelined", "heads", sent(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000, 2))


def _bodies() -> Iterator[RequestCase]:
    """9 of them: bodies as large or as slow as they may be."""

    async def slow(server: Server, seconds: float) -> Statuses:
        head = server.head("POST", CHAT, 8 * MIB)
        replies = await asyncio.gather(
            *(server.drip([head, b'{"a":"', b"x" * 65_536], 0.05, seconds) for _ in range(60))
        )
        return Counter(each.status for each in replies)

    async def held(server: Server, seconds: float) -> Statuses:
        head, most = server.head("POST", CHAT, 8 * MIB), b'{"a":"' + b"x" * (8 * MIB - 100)
        replies = await asyncio.gather(*(server.drip([head, most, b"x"], 0.5, seconds) for _ in range(40)))
        return Counter(each.status for each in replies)

    async def cancelled(server: Server, seconds: float) -> Statuses:
        head = server.head("POST", f"{RESPONSES}/resp_1/cancel", 8 * MIB)
        replies = await asyncio.gather(*(server.drip([head, b"x" * 65_536], 0.02, seconds) for _ in range(60)))
        return Counter(each.status for each in replies)

    objects = b'{"model":"tiny","messages":[' + b",".join([b"{}"] * 2_700_000) + b"]}"
    lists = b'{"model":"tiny","messages":' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}"
    keys = b'{"model":"tiny",' + b",".join(b'"k%d":1' % number for number in range(600_000)) + b"}"
    yield RequestCase("body-objects-8-mib", "bodies", flood(CHAT, objects, 2))
    yield RequestCase("body-nested-8-mib", "bodies", flood(CHAT, lists, 2))
    yield RequestCase("body-digits-8-mib", "bodies", flood(CHAT, b'{"n":' + b"9" * (8 * MIB - 20) + b"}", 2))
    yield RequestCase("body-escapes-8-mib", "bodies", flood(CHAT, b'{"a":"' + b"\\u0041" * 1_390_000 + b'"}', 2))
    yield RequestCase("body-keys-8-mib", "bodies", flood(CHAT, keys, 2))
    yield RequestCase("body-one-prompt-8-mib", "bodies", flood(COMPLETIONS, completion(prompt="fox " * 2_000_000), 2))
    yield RequestCase("bodies-slow-60", "bodies", slow)
    yield RequestCase("bodies-held-40-of-8-mib", "bodies", held)
    yield RequestCase("bodies-of-cancel", "bodies", cancelled)


def _many() -> Iterator[RequestCase]:
    """7 of them: many of what one is fine of."""
    messages = [{"role": "user", "content": "a"}]
    parts = [{"type": "text", "text": "a"}] * 20_000
    yield RequestCase("many-messages", "many", flood(CHAT, chat(messages=messages * 2000), 4))
    yield RequestCase("many-messages-50000", "many", flood(CHAT, chat(messages=messages * 50_000), 2))
    yield RequestCase("many-parts", "many", flood(CHAT, chat(messages=[{"role": "user", "content": parts}]), 4))
    yield RequestCase("many-prompts", "many", flood(COMPLETIONS, completion(prompt=["a"] * 1000, max_tokens=1), 2))
    yield RequestCase("many-token-ids", "many", flood(COMPLETIONS, completion(prompt=[5] * 290_000), 2))
    yield RequestCase("many-stop-strings", "many", flood(COMPLETIONS, completion(stop=["x" * 60_000] * 16), 2))
    yield RequestCase("many-batch-prompts", "many", flood("/v1/batch", {"prompts": ["a b"] * 1000, "max_tokens": 1}, 2))


def _fields() -> Iterator[RequestCase]:
    """9 of them: fields of vLLM that cost more than they look."""
    bias = {str(number): 1.0 for number in range(1000)}
    long = "fox " * 500
    media = [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data/"}}]
    template = "{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}"
    rows = "{{ 'x' * 99999999 }}"
    yield RequestCase(
        "field-user-64-kib", "fields", flood(RESPONSES, {"model": "tiny", "input": "a", "user": "u" * 65_536})
    )
    yield RequestCase("field-logit-bias", "fields", flood(COMPLETIONS, completion(logit_bias=bias, max_tokens=50)))
    yield RequestCase(
        "field-bad-words", "fields", flood(COMPLETIONS, completion(bad_words=[f"w{n} x" for n in range(20_000)]), 2)
    )
    yield RequestCase(
        "field-prompt-logprobs",
        "fields",
        flood(COMPLETIONS, completion(prompt=long, prompt_logprobs=20, logprobs=20, max_tokens=20)),
    )
    yield RequestCase("field-allowed-ids", "fields", flood(COMPLETIONS, completion(allowed_token_ids=[5] * 250_000), 2))
    yield RequestCase("field-template", "fields", flood(CHAT, chat(chat_template=template), 2))
    yield RequestCase("field-template-memory", "fields", flood(CHAT, chat(chat_template=rows), 2))
    yield RequestCase("field-media-url", "fields", flood(CHAT, chat(messages=[{"role": "user", "content": media}])))
    yield RequestCase(
        "field-background",
        "fields",
        flood(
            RESPONSES, {"model": "tiny", "input": "a", "background": True, "store": "false", "max_output_tokens": 900}
        ),
    )


def _grammars() -> Iterator[RequestCase]:
    """7 of them: what an answer has to keep to, which vLLM compiles."""

    def of(**structured: Any) -> Attack:
        return flood(COMPLETIONS, completion(structured_outputs=structured), 2)

    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    optional = {f"p{number}": {"type": "string"} for number in range(1500)}
    yield RequestCase("grammar-regex-nested", "grammars", of(regex="(a+)+(b+)+(c+)+$"))
    yield RequestCase("grammar-regex-counted", "grammars", of(regex="((a{1,100}){1,100}){1,100}"))
    yield RequestCase(
        "grammar-regex-alternatives", "grammars", of(regex="(" + "|".join(f"a{n}.*b" for n in range(6000)) + ")+")
    )
    yield RequestCase("grammar-schema-deep", "grammars", of(json=deep))
    yield RequestCase("grammar-schema-wide", "grammars", of(json={"type": "object", "properties": optional}))
    yield RequestCase("grammar-choices", "grammars", of(choice=[f"choice number {n}" for n in range(2500)]))
    yield RequestCase(
        "grammar-recursive", "grammars", of(grammar='root ::= a a a a\na ::= (a a) | (a) | "x" | ""\n' * 1)
    )


def _floods() -> Iterator[RequestCase]:
    """2 of them: what is refused, again and again."""

    async def websockets(server: Server, seconds: float) -> Statuses:
        more = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        raw = (
            server.head("GET", "/v1/realtime?model=tiny", None, more)
            + b"\x82\xff"
            + (9 * MIB).to_bytes(8, "big")
            + b"\0" * 4
        )

        async def once() -> int:
            return (await server.send(raw + b"x" * MIB, 2.0)).status

        return await loop(once, seconds, 16)

    yield RequestCase("flood-websockets", "floods", websockets)
    large = {"model": "tiny", "messages": [{"role": "user", "content": "x" * (7 * MIB)}]}
    yield RequestCase("flood-refused-for-rate", "floods", flood(CHAT, large, 4), "one")
