"""Refusals in the form of the API that was called: OpenAI's, Anthropic's (https://docs.claude.com/en/api/errors) or
Cohere's (https://docs.cohere.com/reference/errors)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

from llmservice_runtime.gateway.asgi import Headers, Scope, Send
from llmservice_runtime.gateway.refusals import POLICY_VIOLATION, Refusal

RESPONSES_PATH = "/v1/responses"
MESSAGES_PATH = "/v1/messages"
"""Anthropic's API has this path and those below it."""
COHERE_PREFIXES = ("/v2/", "/cohere/")
"""Below which vLLM has Cohere's API."""
ANTHROPIC_VERSION = b"anthropic-version"
"""The header that each request to Anthropic's API has, also to a path that OpenAI's API has too."""
REQUEST_ID = b"x-request-id"
ANTHROPIC_REQUEST_ID = b"request-id"
"""The header in which Anthropic's SDKs look for the id of a request."""

_TYPES: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        408: "timeout_error",
        413: "request_too_large",
        429: "rate_limit_error",
        431: "request_too_large",
        503: "overloaded_error",
        504: "timeout_error",
    }
)
_OTHER_TYPE = "invalid_request_error"


class ErrorShape(Enum):
    """The API whose form an error has."""

    OPENAI = auto()
    RESPONSES = auto()
    """OpenAI's too, but its streams have typed events: https://platform.openai.com/docs/api-reference/responses-streaming"""
    ANTHROPIC = auto()
    COHERE = auto()
    """Its id and message, beside OpenAI's `error`: vLLM's own errors have that on the same routes."""


def shape_of(scope: Scope) -> ErrorShape:
    """The form that the client of this request reads."""
    path: str = scope["path"]
    if path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/"):
        return ErrorShape.ANTHROPIC
    if path == RESPONSES_PATH:
        return ErrorShape.RESPONSES
    if path.startswith(COHERE_PREFIXES):
        return ErrorShape.COHERE
    names = (name for name, _ in scope["headers"])
    return ErrorShape.ANTHROPIC if ANTHROPIC_VERSION in names else ErrorShape.OPENAI


def error_body(refusal: Refusal, shape: ErrorShape, headers: Headers) -> bytes:
    """The body of an answer that is an error; `headers` are the gateway's own, with the request's id."""
    return _json(_document(refusal, shape, headers))


def error_event(refusal: Refusal, shape: ErrorShape, headers: Headers, number: int) -> bytes:
    """The same as an event of a stream; `number` counts the events from 0."""
    document = _document(refusal, shape, headers)
    if shape is ErrorShape.RESPONSES:
        # Clients look at the type, or at `error` as in all other streams of OpenAI's.
        fields = {"code": refusal.code or refusal.reason, "message": refusal.message, "param": refusal.param}
        document = {"type": "error", **fields, "sequence_number": number, **document}
    event = b"" if shape in (ErrorShape.OPENAI, ErrorShape.COHERE) else b"event: error\n"
    return b"%sdata: %s\n\n" % (event, _json(document))


async def send_refusal(refusal: Refusal, scope: Scope, send: Send, extra: Headers) -> None:
    """Answers with the refusal; a websocket that can't carry an answer is closed instead."""
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.reason})
            return
        kind = "websocket.http"
    body = error_body(refusal, shape_of(scope), extra)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *refusal.headers,
        *extra,
    ]
    await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})


def _document(refusal: Refusal, shape: ErrorShape, headers: Headers) -> dict[str, Any]:
    chosen = next((value.decode() for name, value in headers if name == REQUEST_ID), None)
    if shape is not ErrorShape.ANTHROPIC:
        fields = {"message": refusal.message, "type": refusal.type, "param": refusal.param, "code": refusal.code}
        of_cohere = {"id": chosen, "message": refusal.message} if shape is ErrorShape.COHERE else {}
        return {**of_cohere, "error": fields}
    error = {"type": _TYPES.get(refusal.status, _OTHER_TYPE), "message": refusal.message}
    return {"type": "error", "error": error, "request_id": chosen}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
