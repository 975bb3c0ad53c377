"""Tricks with paths, headers and Host against an application that answers 200 to everything: none gets in."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

RAW_PATHS = [
    *("/v1/models", "/v1/models/", "//v1/models", "/v1//models", "/./v1/models", "/v1/./models", "/v1/x/../models"),
    *("/health/../v1/models", "/health/..%2fv1/models", "/health%2f..%2fv1%2fmodels", "/health;/v1/models"),
    *("/%2e/v1/models", "/%76%31/models", "/v1%2fmodels", "/v1%2Fmodels", "/v1%5cmodels", "\\v1\\models"),
    *("/V1/MODELS", "/v1/models%00", "/v1/models%20", "/v1/models%0a", "/v1/models#/health", "/v1/models;/health"),
    *("/health%00/v1/models", "/health%3f/../v1/models", "/health%23", "/healthz", "/health/", "/HEALTH", "/%68ealth"),
    *("/metrics", "/metrics/", "/metrics/../v1/models", "/metricsx", "/metrics%2f", "/ping/", "/ready/", "/ready%2f"),
    *("http://localhost/health", "http://localhost/v1/models", "//localhost/health", "*", "", "/", "/."),
    *("/v1/completions", "/v1/chat/completions", "/invocations", "/tokenize", "/drain", "/load", "/docs"),
    *("/openapi.json", "/v1/responses/a%2f..%2f..%2fhealth", "/v2/rerank", "/static/../v1/models", "/v1/mod%65ls"),
]
GOOD_FORM = b"llm_abcdefghjkmnp_" + b"A" * 43
HEADERS: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"authorization", b"")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer ")],
    [(b"authorization", b"Bearer null")],
    [(b"authorization", b"Bearer " + GOOD_FORM)],
    [(b"authorization", b"Bearer " + GOOD_FORM), (b"authorization", b"Bearer " + GOOD_FORM)],
    [(b"authorization", b"Basic YWRtaW46YWRtaW4=")],
    [(b"authorization", b"Bearer\x00" + GOOD_FORM)],
    [(b"proxy-authorization", b"Bearer " + GOOD_FORM)],
    [(b"x-api-key", GOOD_FORM)],
    [(b"api-key", GOOD_FORM)],
    [(b"cookie", b"authorization=Bearer " + GOOD_FORM)],
    [(b"host", b"localhost/health")],
    [(b"host", b"127.0.0.1:8000"), (b"x-forwarded-for", b"127.0.0.1")],
    [(b"host", b"service/health?")],
    [(b"x-original-url", b"/health")],
    [(b"x-rewrite-url", b"/health")],
    [(b"x-forwarded-prefix", b"/health")],
    [(b"x-forwarded-path", b"/health")],
    [(b"x-http-method-override", b"OPTIONS")],
    [(b"x-forwarded-for", b"127.0.0.1"), (b"forwarded", b"for=127.0.0.1")],
    [(b"origin", b"null")],
    [(b"upgrade", b"websocket"), (b"connection", b"upgrade")],
    [(b"x-amzn-sagemaker-session-id", b"NEW_SESSION")],
]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH", "get", "CONNECT", ""]


def refused(reply: Any) -> bool:
    return reply.status in (401, 403)


def not_found(reply: Any) -> bool:
    return reply.status in (403, 404, 405)


@pytest.mark.parametrize("raw", RAW_PATHS)
async def test_no_path_gets_in_without_a_key(house: Any, raw: str) -> None:
    for method in METHODS:
        for path in {raw, unquote(raw)}:
            assert refused(await house.ask(method, path, key=None, raw_path=raw.encode())), (method, path)
    assert house.app.scopes == []


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_no_header_stands_for_a_key(house: Any, headers: list[tuple[bytes, bytes]]) -> None:
    for path in ("/v1/models", "/v1/completions", "/metrics", "/tokenize", "/sleep", "/drain", "/nowhere"):
        for method in METHODS:
            assert refused(await house.ask(method, path, key=None, headers=headers)), (method, path)
    assert house.app.scopes == []


@pytest.mark.parametrize(
    "changed",
    [
        {"root_path": "/v1"},
        {"root_path": "/v1/models"},
        {"scheme": "https"},
        {"query_string": b"path=/health"},
        {"raw_path": b"/health"},
        {"raw_path": None},
        {"path": "/health", "raw_path": b"/v1/models"},
        {"path": "/health", "root_path": "/health"},
        {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)},
        {"type": "websocket"},
        {"type": "websocket", "path": "/health", "raw_path": b"/health"},
        {"type": "websocket", "path": "/metrics", "raw_path": b"/metrics"},
    ],
    ids=str,
)
async def test_no_other_part_of_a_request_gets_in(house: Any, changed: dict[str, Any]) -> None:
    scope = house.scope("GET", "/v1/models") | {"extensions": {"websocket.http.response": {}}} | changed
    assert refused(await house.send(scope))
    assert house.app.scopes == []


async def test_a_clients_key_opens_no_trick_either(house: Any) -> None:
    opened = {"/v1/models", "/v1/completions", "/v1/chat/completions", "/tokenize", "/v2/rerank"}
    for raw in RAW_PATHS:
        if raw not in opened:
            assert not_found(await house.ask("GET", unquote(raw), raw_path=raw.encode())), raw
    assert house.app.scopes == []
