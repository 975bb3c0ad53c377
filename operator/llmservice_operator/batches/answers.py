"""What the API of files and batches answers, errors included, in the form that OpenAI's clients read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from llmservice_operator.batches.callers import Unaccepted

JSON_BYTES = 65_536
"""Largest body that is no file."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


class Refused(Exception):
    """The request is refused with this status and code."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry = status, code, param, retry


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON, in the form that OpenAI's clients read."""
    try:
        return await handler(request)
    except Refused as error:
        return _error(error.status, error.code, str(error), error.param, error.retry)
    except Unaccepted as error:
        return _error(error.status, error.code, str(error), None, 5 if error.status == 503 else None)
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "body_too_large", f"The body is larger than {JSON_BYTES} bytes.")
    except web.HTTPException as error:
        code = "not_found" if error.status == 404 else f"http_{error.status}"
        return _error(error.status, code, f"{request.method} is not served here: {error.reason}.")
    except ConnectionError:
        return _error(400, "client_left", "The client ended the connection before the end of its body.")
    except OSError:
        logger.exception("the volume fails")
        return _error(503, "volume", "The volume of files does not work at this moment. Retry later.", retry=30)


def _error(status: int, code: str, message: str, param: str | None = None, retry: int | None = None) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    answer = json_answer({"error": {"message": message, "type": kind, "code": code, "param": param}}, status)
    if retry is not None:
        answer.headers["Retry-After"] = str(retry)
    return answer


def json_answer(value: Any, status: int = 200) -> web.Response:
    """A document."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def page(found: list[dict[str, Any]], limit: int) -> web.Response:
    """A list of at most ``limit`` objects; one more was looked for."""
    data = found[:limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    more = len(found) > limit
    return json_answer({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})


def limit_of(request: web.Request, default: int, most: int) -> int:
    """The query\'s ``limit``. Raises Refused."""
    text = request.query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refused(400, "limit", "`limit` must be a whole number above 0.", "limit")
    return min(int(text), most)
