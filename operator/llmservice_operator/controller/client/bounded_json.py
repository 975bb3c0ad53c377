"""Reads responses of the API server without the parts that other clients may make arbitrarily deep and large.

The ``managedFields`` of an object are written by every client that writes it, and the API server accepts thousands of
nested levels; Python's JSON parser raises RecursionError at some hundreds. Everything else in the kinds that the
operator reads has a schema. So only the manager's name is read of each entry, which also halves the work.
"""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, cast

import aiohttp

from llmservice_contract.foreign import without_owned_fields
from llmservice_operator.controller.client import trim


class Unreadable(ValueError):
    """The text is not valid JSON, or too deep."""


def loads(data: bytes) -> Any:
    """The value of the JSON. Raises Unreadable for any invalid input."""
    try:
        return json.loads(without_owned_fields(data))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


class Answer(aiohttp.ClientResponse):
    """A response for watches: without managedFields, and with trimmed objects in lists."""

    async def start(self, connection: Any) -> "Answer":
        """Starts reading. See aiohttp."""
        await super().start(connection)
        self.content = cast(aiohttp.StreamReader, _Lines(self.content))
        return self

    async def json(self, **more: Any) -> Any:
        """The value, with trimmed objects if it is a list. An error may be a page of a proxy: see aiohttp."""
        if self.status >= HTTPStatus.BAD_REQUEST:
            return await super().json(**more)
        answer = loads(await self.read())
        if isinstance(answer, dict) and isinstance(answer.get("items"), list):
            kind = str(answer.get("kind", "")).removesuffix("List")
            answer["items"] = [trim.bounded({"kind": kind, **item}) for item in answer["items"]]
        return answer


class _Lines:
    """A body whose ``iter_chunked`` yields whole lines, without managedFields."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Lines of JSON, several at a time."""
        parts: list[bytes] = []
        async for data in self._content.iter_chunked(n):
            head, newline, rest = data.rpartition(b"\n")
            if not newline:
                parts.append(data)
                continue
            yield without_owned_fields(b"".join([*parts, head])) + b"\n"
            parts = [rest] if rest else []
        if parts:
            yield without_owned_fields(b"".join(parts))
