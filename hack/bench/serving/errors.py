"""Errors: counted by kind for single requests, and a sentence if nothing can be measured."""

from __future__ import annotations

import asyncio

import aiohttp

TIMEOUT = "timeout"
CONNECTION = "connection"
BROKEN = "broken_stream"
BAD_ANSWER = "bad_answer"
IN_STREAM = "error_in_stream"
EMPTY = "empty_answer"


class Unusable(Exception):
    """The server can't be measured; the message says why, for people."""


def status(code: int) -> str:
    """The kind of an answer that is not 200."""
    return f"http_{code}"


def kind(error: Exception) -> str:
    """The kind of what the client raised."""
    if isinstance(error, asyncio.TimeoutError):
        return TIMEOUT
    if isinstance(error, aiohttp.ClientPayloadError):
        return BROKEN
    if isinstance(error, aiohttp.ClientError | OSError):
        return CONNECTION
    return BAD_ANSWER


def explain(failure: str, detail: str, url: str, model: str) -> str:
    """Why the first request to a server failed, and what to look at."""
    match failure:
        case "connection":
            return f"there is no server at {url}: {detail}"
        case "timeout":
            return f"{url} did not answer in time: is the model still being loaded? (--timeout)"
        case "http_401" | "http_403":
            return f"{url} refused the key: give one by OPENAI_API_KEY or --api-key ({detail})"
        case "http_404":
            return f"{url} serves no model named {model}: {detail}"
        case _:
            return f"{url} did not answer a first request ({failure}): {detail}"
