"""Errors of the gateway have the form of the API that was called."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from support.nginx_gateway import Gateway, Replica, chat, nginx_gateway, service

Make = Callable[..., Replica]
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages", {}),
        ("/v1/messages/count_tokens?beta=true", {}),
        ("/services/chat/v1/messages", {}),
        ("/namespaces/team-a/services/chat/v1/messages", {}),
        ("/namespaces/team-a/v1/models/chat", VERSION),
    ],
)
def test_anthropics_sdk_gets_its_errors(gateway: Gateway, path: str, headers: Mapping[str, str]) -> None:
    gateway.route({service(): []})
    found = gateway.ask(path, chat("chat"), headers={"X-Request-Id": "mine", **headers})
    assert (found.status, found.headers["Retry-After"]) == (503, "5")
    assert found.json == {
        "type": "error",
        "error": {
            "type": "overloaded_error",
            "message": "No replica of the LLMService team-a/chat is ready.",
            "code": "no_ready_replica",
        },
        "request_id": "mine",
    }
    assert (found.headers["Request-Id"], found.headers["X-Request-Id"]) == ("mine", "mine")


@pytest.mark.parametrize(
    ("path", "headers", "more"),
    [
        ("/v1/chat/completions", {}, {}),
        ("/v1/messagesx", {}, {}),
        ("/v1/responses", VERSION, {}),
        ("/v2/rerank", {}, {"id": "mine", "message": "No replica of the LLMService team-a/chat is ready."}),
    ],
)
def test_others_get_openais_errors(
    gateway: Gateway, path: str, headers: Mapping[str, str], more: dict[str, Any]
) -> None:
    gateway.route({service(): []})
    found = gateway.ask(path, chat("chat"), headers={"X-Request-Id": "mine", **headers})
    error = {
        "type": "server_error",
        "message": "No replica of the LLMService team-a/chat is ready.",
        "code": "no_ready_replica",
        "param": None,
    }
    assert found.json == {"type": "error", "error": error, **more}
    assert found.headers["X-Request-Id"] == "mine"
    assert "Request-Id" not in found.headers


@pytest.mark.parametrize(
    ("behavior", "body", "status", "kind", "code", "retry"),
    [
        ("reset", chat("chat"), 502, "api_error", "gateway_502", "1"),
        ("answer", chat("chat", "x" * 2**21), 413, "request_too_large", "gateway_413", None),
    ],
)
def test_errors_of_nginx_have_that_form_too(
    small: Gateway, replica: Make, behavior: str, body: object, status: int, kind: str, code: str, retry: str | None
) -> None:
    only = replica()
    only.behavior = behavior
    small.route({service(): [only]})
    found = small.ask("/v1/messages", body)
    assert (found.status, found.json["error"]["type"], found.code) == (status, kind, code)
    assert found.json["request_id"] == found.headers["Request-Id"]
    assert found.headers["Retry-After"] == retry if retry else "Retry-After" not in found.headers


def test_what_is_no_http_gets_an_error_too(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(b"GET /v1/messages HTTP/1.1\r\nHost\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                received += data
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"gateway_400"' in received


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway that takes bodies up to 1 MiB."""
    with nginx_gateway(tmp_path_factory.mktemp("gateway"), body_bytes=2**20) as made:
        yield made
