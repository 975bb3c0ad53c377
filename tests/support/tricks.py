"""Requests without a valid key that try to bypass authentication, by name; see Trick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from support.raw_http import request

MODELS = "/v1/models"
COMPLETIONS = "/v1/completions"
ASK = json.dumps({"model": "tiny", "prompt": "Hello", "max_tokens": 1})
UNKNOWN_KEY = "llm_abcdefghjkmnp_" + "A" * 43
"""It has the form of a key."""
SWITCH = ("Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
WEBSOCKET = ("Upgrade: websocket", *SWITCH)


@dataclass(frozen=True)
class Trick:
    """What is sent, and how many answers of it are everybody's."""

    sent: bytes
    public: int = 0


def tricks() -> dict[str, Trick]:
    """All of them."""
    return dict(
        [*_paths(), *_headers(), *_forwarded(), *_hosts(), *_methods(), *_frames(), *_versions(), *_websockets()]
    )


def _paths() -> Iterator[tuple[str, Trick]]:
    targets = {
        "slash at the end": "/v1/models/",
        "double slash": "//v1/models",
        "double slash inside": "/v1//models",
        "dot segment": "/./v1/models",
        "dot segment inside": "/v1/./models",
        "up from a public path": "/health/../v1/models",
        "up from a public path, slash escaped": "/health/..%2fv1/models",
        "up from a public path, all escaped": "/health%2f..%2fv1%2fmodels",
        "up from a public path, escaped twice": "/health/%252e%252e/v1/models",
        "the mounted metrics": "/metrics",
        "up from the mounted metrics": "/metrics/../v1/models",
        "below the mounted metrics": "/metrics/v1/models",
        "beside the mounted metrics": "/metricsx",
        "up from the root": "/../../v1/models",
        "slash escaped": "/v1%2Fmodels",
        "slash escaped twice": "/v1%252Fmodels",
        "letter escaped": "/v1/mod%65ls",
        "all letters escaped": "/%76%31/%6d%6f%64%65%6c%73",
        "public path with a letter escaped": "/%68ealth",
        "backslash": "\\v1\\models",
        "backslash escaped": "/v1%5cmodels",
        "upper case": "/V1/MODELS",
        "public path in upper case": "/HEALTH",
        "null byte escaped": "/v1/models%00",
        "null byte after a public path": "/health%00/v1/models",
        "space escaped": "/v1/models%20",
        "line end escaped": "/v1/models%0d%0aX:%20y",
        "dot at the end": "/v1/models.",
        "suffix": "/v1/models.json",
        "parameter": "/v1/models;/health",
        "parameter of a public path": "/health;/v1/models",
        "fragment": "/v1/models#/health",
        "fragment escaped": "/health%23/../v1/models",
        "query names a public path": "/v1/models?path=/health&x=/metrics",
        "query mark escaped": "/v1/models%3f/health",
        "overlong UTF-8": "/v1%c0%afmodels",
        "full-width letters": "/v1/%ef%bd%8dodels",
        "letter beyond ASCII": "/v1/mod\xe8ls",
        "no slash at the beginning": "v1/models",
        "asterisk": "*",
        "absolute form": "http://a/v1/models",
        "absolute form that begins as a public path": "http://a/health/../v1/models",
        "absolute form with a public host": "http://health/v1/models",
        "absolute form with a user": "http://admin:admin@a/v1/models",
        "absolute form, other scheme": "ftp://a/v1/models",
        "admin route": "/version",
        "schema": "/openapi.json",
        "drain, slash at the end": "/drain/",
        "file of a mount": "/static/../v1/models",
    }
    yield from ((f"path: {name}", Trick(request(target))) for name, target in targets.items())
    yield "path: absolute form of a public path", Trick(request("http://a/health"), public=1)
    yield "path: public query that names another", Trick(request("/health?path=/v1/models"), public=1)
    for target in ("//drain", "/%64rain", "/DRAIN", "http://a/drain/"):
        yield f"path: {target}", Trick(request(target, "Content-Length: 0", method="POST"))
    for target in ("/v1/completions/", "//v1/completions", "/v1/%63ompletions", "/health/../v1/completions"):
        yield f"path: {target}", Trick(request(target, method="POST", body=ASK))


def _headers() -> Iterator[tuple[str, Trick]]:
    headers = {
        "empty": ["Authorization:"],
        "scheme alone": ["Authorization: Bearer"],
        "null": ["Authorization: Bearer null"],
        "unknown key": [f"Authorization: Bearer {UNKNOWN_KEY}"],
        "unknown key twice": [f"Authorization: Bearer {UNKNOWN_KEY}"] * 2,
        "empty and unknown": ["Authorization: Bearer ", f"Authorization: Bearer {UNKNOWN_KEY}"],
        "two keys in one": [f"Authorization: Bearer {UNKNOWN_KEY}, Bearer {UNKNOWN_KEY}"],
        "basic": ["Authorization: Basic YWRtaW46YWRtaW4="],
        "null byte": [f"Authorization: Bearer\0{UNKNOWN_KEY}"],
        "beyond ASCII": ["Authorization: Bearer llm_\xe9"],
        "path of a file": ["Authorization: Bearer ../../etc/passwd"],
        "space before the colon": [f"Authorization : Bearer {UNKNOWN_KEY}"],
        "folded": ["Authorization: Bearer", f" {UNKNOWN_KEY}"],
        "underscore": [f"Authorization_: Bearer {UNKNOWN_KEY}"],
        "immense": [f"Authorization: Bearer {'A' * 40_000}"],
        "of a proxy": [f"Proxy-Authorization: Bearer {UNKNOWN_KEY}"],
        "as others name it": [f"X-Api-Key: {UNKNOWN_KEY}", f"Api-Key: {UNKNOWN_KEY}"],
        "cookie": [f"Cookie: Authorization=Bearer {UNKNOWN_KEY}"],
    }
    for name, sent in headers.items():
        yield f"authorization: {name}", Trick(request(MODELS, *sent))
    yield (
        "authorization: in the query",
        Trick(request(f"{MODELS}?api_key={UNKNOWN_KEY}&authorization=Bearer%20{UNKNOWN_KEY}")),
    )
    yield "authorization: none, with work", Trick(request(COMPLETIONS, method="POST", body=ASK))


def _forwarded() -> Iterator[tuple[str, Trick]]:
    named = (
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
        "X-Forwarded-Uri",
        "X-Script-Name",
    )
    for name in named:
        yield f"{name}: a public path", Trick(request(MODELS, f"{name}: /health"))
        yield f"{name}: on a public path", Trick(request("/health", f"{name}: {MODELS}"), public=1)
    for name, value in (
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "::1"),
        ("Forwarded", "for=127.0.0.1;host=localhost;proto=https"),
        ("X-Forwarded-Host", "localhost/health"),
        ("Via", "1.1 localhost"),
    ):
        yield f"{name}: local", Trick(request(MODELS, f"{name}: {value}"))
        yield f"{name}: on the drain", Trick(request("/drain", f"{name}: {value}", "Content-Length: 0", method="POST"))


def _hosts() -> Iterator[tuple[str, Trick]]:
    hosts = [
        "",
        "localhost",
        "a.",
        "a/health",
        "a/health?",
        "a/health#",
        "a:0/metrics",
        "[::1]",
        "a@b",
        "a\\health",
        "\xe9",
        None,
    ]
    for host in hosts:
        yield f"host: {host!r}", Trick(request(MODELS, host=host))
    yield "host: two", Trick(request(MODELS, "Host: a/health"))


def _methods() -> Iterator[tuple[str, Trick]]:
    for method in ("HEAD", "OPTIONS", "TRACE", "CONNECT", "PUT", "get", "PROPFIND", "G\tET"):
        yield f"method: {method!r}", Trick(request(MODELS, method=method))
    yield (
        "method: overridden",
        Trick(
            request(
                f"{COMPLETIONS}?_method=OPTIONS",
                "X-HTTP-Method-Override: OPTIONS",
                "X-Method: HEAD",
                method="POST",
                body=ASK,
            )
        ),
    )
    yield "method: CONNECT to itself", Trick(request("a:80", method="CONNECT"))
    yield "method: OPTIONS with an origin", Trick(request(MODELS, "Origin: http://b", method="OPTIONS"))
    preflight = ("Origin: http://b", "Access-Control-Request-Method: GET")
    yield "method: preflight in a GET", Trick(request(MODELS, *preflight))
    yield "method: preflight", Trick(request(MODELS, *preflight, method="OPTIONS"))


def _frames() -> Iterator[tuple[str, Trick]]:
    """Requests within requests: what is public may be answered, what is hidden in it may not."""
    hidden = request(MODELS).decode()
    chunked = f"0\r\n\r\n{hidden}"
    one_chunk = f"{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n"
    for name, headers, body in (
        ("length and chunks", (f"Content-Length: {len(chunked)}", "Transfer-Encoding: chunked"), chunked),
        (
            "chunks and length",
            ("Transfer-Encoding: chunked", "Content-Length: 4"),
            one_chunk,
        ),
        ("chunks twice", ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), chunked),
        ("chunks after something", ("Transfer-Encoding: identity, chunked",), chunked),
        ("chunks by another name", ("Transfer-Encoding: xchunked",), chunked),
        ("chunks after a tab", ("Transfer-Encoding:\tchunked",), chunked),
        ("chunks before a colon", ("Transfer-Encoding : chunked",), chunked),
        ("chunks in two lines", ("Transfer-Encoding:", " chunked"), chunked),
        ("chunk with an extension", ("Transfer-Encoding: chunked",), f"0;{'x' * 64}\n\r\n\r\n{hidden}"),
        ("two lengths", ("Content-Length: 0", f"Content-Length: {len(hidden)}"), hidden),
        ("two lengths in one", (f"Content-Length: 0, {len(hidden)}",), hidden),
        ("negative length", ("Content-Length: -1",), hidden),
        ("length with a plus", ("Content-Length: +0",), hidden),
        ("length as hexadecimal", ("Content-Length: 0x0",), hidden),
        ("length too short", ("Content-Length: 0",), hidden),
    ):
        for target in ("/health", MODELS):
            public = int(target == "/health")
            yield f"frame: {name}, {target}", Trick(request(target, *headers, body=body), public)
    yield "frame: next in line", Trick(request("/health") + request(MODELS), public=1)
    yield "frame: between public ones", Trick(request("/health") + request(MODELS) + request("/health"), public=2)
    yield "frame: header with a request in it", Trick(request("/health", f"X: y\n\n{hidden}"), public=1)
    yield "frame: line feeds alone", Trick(request(MODELS).replace(b"\r\n", b"\n"))
    yield "frame: null byte in the path", Trick(request("/health\0/v1/models"))
    yield "frame: carriage return in the path", Trick(request("/health\r/v1/models"))


def _versions() -> Iterator[tuple[str, Trick]]:
    for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 HTTP/1.1", "ICY/1.0"):
        yield f"version: {version}", Trick(request(MODELS, version=version))
    yield "version: none", Trick(request(MODELS, version="", host=None))
    yield "version: 1.0 without a host", Trick(request(MODELS, version="HTTP/1.0", host=None))
    yield (
        "version: 1.0, kept alive",
        Trick(request("/health", "Connection: keep-alive", version="HTTP/1.0") + request(MODELS), public=1),
    )
    yield "version: 2 by preface", Trick(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    yield "version: 2 by upgrade", Trick(request(MODELS, *upgrade))


def _websockets() -> Iterator[tuple[str, Trick]]:
    for target in ("/v1/realtime", "/v1/realtime?model=tiny", MODELS, "/health", "/metrics", "/ready", "/drain", "/"):
        yield f"websocket: {target}", Trick(request(target, *WEBSOCKET))
    protocol = f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{UNKNOWN_KEY}"
    yield "websocket: key as a protocol", Trick(request("/v1/realtime", *WEBSOCKET, protocol))
    yield "websocket: in a POST", Trick(request(COMPLETIONS, *WEBSOCKET, method="POST", body=ASK))
    yield "websocket: half an upgrade", Trick(request(MODELS, "Upgrade: websocket"))
