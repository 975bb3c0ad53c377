"""The number of JSON values in a body, before it is parsed.

A body of 8 MiB that holds 2.8 million empty objects takes half a second to parse and seconds to walk through, on the
event loop that serves every other client. Counting the characters that begin and separate values takes milliseconds, so
the count decides whether the body is parsed at all. Only characters outside strings count: a prompt may be a long CSV
or JSON text. The work is done in pieces, and other requests are served in between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.refusals import Refused, too_many_values

PIECE_BYTES = 256 * 1024
STRINGS_PER_OBJECT = 4
"""So many strings (names of fields included) may a body have for each object or list that it may have."""


@dataclass(slots=True)
class Structure:
    """What a body consists of."""

    objects: int = 0
    """Objects and lists."""
    strings: int = 0
    values: int = 0
    """Upper bound of entries of lists and fields of objects: the commas, and one for each object or list."""

    def excess(self, caps: Caps) -> tuple[str, int, str] | None:
        """The cap that is exceeded, its value, and what the body has; None if there is none."""
        if self.objects > caps.objects:
            return "objects", caps.objects, f"{self.objects} or more objects and lists"
        if self.strings > (most := caps.objects * STRINGS_PER_OBJECT):
            return "objects", caps.objects, f"more than {most} strings, {STRINGS_PER_OBJECT} for each object or list"
        if self.values > caps.values:
            return "values", caps.values, f"{self.values} or more values"
        return None


async def check_structure(body: bytes, caps: Caps) -> None:
    """Raises Refused if the body has more objects, strings or values than the caps allow."""
    if len(body) <= min(caps.objects, caps.values):
        return
    # Counts the text of strings too, so it is never too low.
    rough = Structure()
    for start in range(0, len(body), PIECE_BYTES):
        _add(rough, body[start : start + PIECE_BYTES])
        if len(body) > PIECE_BYTES:
            await asyncio.sleep(0)
    rough.strings //= 2
    if rough.excess(caps) is None:
        return
    found = await _exact(body, caps)
    if excess := found.excess(caps):
        raise Refused(too_many_values(*excess))


async def _exact(body: bytes, caps: Caps) -> Structure:
    """The structure of the body; counting ends as soon as a cap is exceeded."""
    found = Structure()
    start, quotes = 0, 0
    while start < len(body):
        end = _piece_end(body, start)
        plain = body[start:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        segments = plain.split(b'"')
        # An even number of quotes before a segment: it is outside strings.
        _add(found, b" ".join(segments[quotes % 2 :: 2]))
        quotes += len(segments) - 1
        found.strings = quotes // 2
        if found.excess(caps):
            break
        start = end
        await asyncio.sleep(0)
    return found


def _piece_end(body: bytes, start: int) -> int:
    """The end of a piece that does not part a backslash from the character that it escapes."""
    end = min(start + PIECE_BYTES, len(body))
    piece = body[start:end]
    backslashes = len(piece) - len(piece.rstrip(b"\\"))
    return min(end + backslashes % 2, len(body))


def _add(structure: Structure, text: bytes) -> None:
    begun = text.count(b"{") + text.count(b"[")
    structure.objects += begun
    structure.strings += text.count(b'"')
    structure.values += begun + text.count(b",")
