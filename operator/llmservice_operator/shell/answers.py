"""Answers of the API server, read without what their authors may make as deep and as large as they like.

Who owns which field (``managedFields``) is written by whoever writes an object, and the API server takes it nested
thousands of levels deep: Python's JSON raises RecursionError for some hundreds. Everything else in the kinds that the
operator reads has a schema. So of each entry only the manager's name is read, which saves half of the work besides.
"""

import json
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, cast

import aiohttp

from llmservice_operator.shell import trim

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_OPENING = re.compile(rb'(?<!\\)"managedFields"\s*:\s*\[')
_REST = re.compile(rb'(?:[^"\]]++|' + _STRING + rb")*+\]", re.DOTALL)
"""Up to the end of such a list: keys in it hold brackets, but there are no lists in it."""
_ENTRY = re.compile(rb'(?<!\\)"(manager|operation)"\s*:\s*(' + _STRING + rb")", re.DOTALL)
"""Of an entry: each has an operation, and the manager's name stands before it."""


class Unreadable(ValueError):
    """The text is no JSON that can be read."""


def bare(data: bytes) -> bytes:
    """The JSON with nothing but managers' names in each ``managedFields``."""
    parts, at = [], 0
    while (opening := _OPENING.search(data, at)) is not None:
        rest = _REST.match(data, opening.end())
        if rest is None:
            break
        parts += [data[at : opening.end()], _managers(rest.group()), b"]"]
        at = rest.end()
    return b"".join([*parts, data[at:]]) if parts else data


def loads(data: bytes) -> Any:
    """The value of the JSON. Raises Unreadable, whatever is wrong with it."""
    try:
        return json.loads(bare(data))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _managers(entries: bytes) -> bytes:
    """The entries with their managers alone, each at its place: a JSON patch names an entry by that."""
    found: list[bytes] = []
    manager = b""
    for key, value in _ENTRY.findall(entries):
        if key == b"operation" or manager:
            found.append(b'{"manager":' + (manager or b'""') + b"}")
        manager = value if key == b"manager" else b""
    if manager:
        found.append(b'{"manager":' + manager + b"}")
    return b",".join(found)


class Answer(aiohttp.ClientResponse):
    """An answer as the stream of objects reads it: bare, and objects of lists trimmed as the cache would."""

    async def start(self, connection: Any) -> "Answer":
        """Begin to read. See aiohttp."""
        await super().start(connection)
        self.content = cast(aiohttp.StreamReader, _Lines(self.content))
        return self

    async def json(self, **more: Any) -> Any:
        """The value, with trimmed objects where it is a list. An error may be a page of a proxy: see aiohttp."""
        if self.status >= HTTPStatus.BAD_REQUEST:
            return await super().json(**more)
        answer = loads(await self.read())
        if isinstance(answer, dict) and isinstance(answer.get("items"), list):
            kind = str(answer.get("kind", "")).removesuffix("List")
            answer["items"] = [trim.bounded({"kind": kind, **item}) for item in answer["items"]]
        return answer


class _Lines:
    """A body of which ``iter_chunked`` gives whole lines, bare."""

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
            yield bare(b"".join([*parts, head])) + b"\n"
            parts = [rest] if rest else []
        if parts:
            yield bare(b"".join(parts))
