"""Bodies of many small values are refused before they are parsed; long texts of any form pass."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway import structure
from llmservice_runtime.gateway.refusals import Refused
from llmservice_runtime.gateway.structure import PIECE_BYTES, Structure, _add, _exact, check_structure

CAPS = Caps()
SMALL = Caps(objects=64, values=1024)
MIB = 1024 * 1024


async def refused(body: bytes, caps: Caps = CAPS) -> str:
    """The cap's name; empty where the body passes."""
    try:
        await check_structure(body, caps)
    except Refused as refused:
        assert refused.refusal.status == 400
        return refused.refusal.reason
    return ""


BODIES = {
    "objects": (b'{"messages":[%s{}]}', b"{},", "objects"),
    "lists": (b'{"messages":[%s[]]}', b"[],", "objects"),
    "strings": (b'{"messages":[%s""]}', b'"",', "objects"),
    "fields": (b'{"messages":[{%s"a":1}]}', b'"a":1,', "objects"),
    "numbers": (b'{"prompt":[%s1]}', b"1,", "values"),
    "nulls, indented": (b'{"prompt":[%s null ]}', b"\n  null,", "values"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_eight_mebibytes_of_small_values_are_refused_and_hold_up_nobody(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, value, cap = BODIES[name]
    body = form % (value * (8 * MIB // len(value)))
    counted = Counter[int]()
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def add(found: Structure, text: bytes) -> None:
        counted[turns] += len(text)
        _add(found, text)

    monkeypatch.setattr(structure, "_add", add)
    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    assert await refused(body) == cap
    watcher.cancel()
    assert counted
    # One piece, and where the counting begins anew, two.
    assert max(counted.values()) <= 2 * PIECE_BYTES, "others get a turn of the event loop after each piece"


@pytest.mark.parametrize("text", ["[1, 2], " * 500_000, '{"a": "b"}\n' * 300_000, "a,b," * 1_000_000, '\\"' * MIB])
async def test_what_is_within_strings_counts_nothing(text: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    assert len(body) > CAPS.objects
    assert await refused(body) == ""


async def test_as_much_as_allowed_passes() -> None:
    assert await refused(json.dumps({"prompt": [12345] * (CAPS.values - 2)}).encode()) == ""
    assert await refused(json.dumps({"prompt": [12345] * (CAPS.values + 1)}).encode()) == "values"
    assert await refused(json.dumps({"messages": [{}] * (CAPS.objects - 2)}).encode()) == ""
    assert await refused(json.dumps({"messages": [{}] * CAPS.objects}).encode()) == "objects"


values = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('{[,"\\ab'), max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=40,
)


def counted(value: Any) -> Structure:
    """What the parsed value consists of."""
    found = Structure()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            found.objects += 1
            found.values += max(len(each), 1)
            found.strings += len(each) if isinstance(each, dict) else 0
            waiting.extend(each.values() if isinstance(each, dict) else each)
        found.strings += isinstance(each, str)
    return found


@given(values, st.sampled_from([None, 1]), st.integers(0, 9))
def test_the_count_is_that_of_the_parsed_body(value: Any, indent: int | None, more: int) -> None:
    body = json.dumps({"a": value, "b": "\\" * more}, indent=indent).encode()
    assert asyncio.run(_exact(body, Caps(objects=10**6, values=10**6))) == counted(json.loads(body))


@pytest.mark.parametrize("shift", range(5))
async def test_pieces_end_between_an_escape_and_the_next(shift: int) -> None:
    """Were an escape cut apart, its quote would end the string, and what follows would count."""
    text = "x" * (PIECE_BYTES - 10 + shift) + '\\"[{' * 9000
    body = json.dumps({"prompt": text}).encode()
    assert await _exact(body, CAPS) == Structure(objects=1, strings=2, values=1)
