"""The body: bounded, parsed once, handed on as it came."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_runtime.gateway.body import GRACE_SECONDS, LEAST_RATE, ClientGone, parse_body, read_body, with_field
from llmservice_runtime.gateway.refusals import Refused, body_too_large


class Client:
    """Sends these parts; counts how many were taken."""

    def __init__(self, *parts: bytes, gone: bool = False) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": gone or at < len(parts) - 1}
            for at, part in enumerate(parts)
        ]
        if gone:
            self.messages.append({"type": "http.disconnect"})

    async def __call__(self) -> dict[str, Any]:
        return self.messages.pop(0)


def nothing(_size: int) -> None:
    """Takes each part."""


async def status_of(client: Client, most: int, *lengths: bytes) -> int:
    with pytest.raises(Refused) as refused:
        await read_body(client, [(b"content-length", length) for length in lengths], most, nothing)
    return refused.value.refusal.status


async def test_as_much_as_allowed_is_read() -> None:
    assert await read_body(Client(b"ab", b"", b"cd"), [(b"content-length", b"4")], 4, nothing) == b"abcd"
    assert await read_body(Client(b""), [], 4, nothing) == b""


async def test_a_body_that_announces_too_much_is_not_read() -> None:
    client = Client(b"abcde")
    assert await status_of(client, 4, b"5") == 413
    assert len(client.messages) == 1


async def test_a_body_that_announces_nothing_is_read_up_to_the_bound() -> None:
    client = Client(b"ab", b"cd", b"e", b"f")
    assert await status_of(client, 4) == 413
    assert len(client.messages) == 1


@pytest.mark.parametrize("lengths", [(b"-1",), (b"+1",), (b"1.0",), (b"",), (b"1", b"1"), ("٣".encode(),)])
async def test_a_length_that_is_none_is_refused(lengths: tuple[bytes, ...]) -> None:
    assert await status_of(Client(b"a"), 4, *lengths) == 400


async def test_an_immense_length_is_too_large() -> None:
    assert await status_of(Client(b"a"), 4, b"9" * 5000) == 413


async def test_each_part_is_taken_before_it_is_kept() -> None:
    taken: list[int] = []

    def take(size: int) -> None:
        if taken:
            raise Refused(body_too_large(1))
        taken.append(size)

    client = Client(b"ab", b"cd", b"ef")
    with pytest.raises(Refused):
        await read_body(client, [], 100, take)
    assert taken == [2] and len(client.messages) == 1


@pytest.mark.looptime
async def test_a_body_has_to_arrive_at_the_least_rate() -> None:
    async def drip(bytes_per_second: int) -> tuple[int, float]:
        """The status, and after how many seconds it came; 200 for a body of 100 parts that was read."""
        left = 100

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= 1
            await asyncio.sleep(1)
            return {"type": "http.request", "body": b"a" * bytes_per_second, "more_body": left > 0}

        begun = asyncio.get_running_loop().time()
        try:
            await read_body(receive, [], 10**9, nothing)
            status = 200
        except Refused as refused:
            status = refused.refusal.status
        return status, asyncio.get_running_loop().time() - begun

    assert await drip(LEAST_RATE) == (200, 100)
    assert await drip(0) == (408, GRACE_SECONDS)
    assert (await drip(1))[1] < GRACE_SECONDS + 1
    assert await drip(LEAST_RATE // 2) == (408, pytest.approx(2 * GRACE_SECONDS, abs=1))


async def test_a_client_that_goes_away_is_told_apart() -> None:
    with pytest.raises(ClientGone):
        await read_body(Client(b"ab", gone=True), [], 4, nothing)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"1", b'"a"', b"null", b"{'a': 1}", b'{"a": 1} x', b"\xff", b"\xef\xbb\xbf{}"),
        *('{"a": 1}'.encode("utf-16"), b'{"a": "\\ud800"}', b"[" * 1_000_000, b'{"a":' * 100_000),
        *(b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1}\x00'),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_body(body)
    assert refused.value.refusal.status == 400


def test_of_two_fields_with_one_name_the_last_counts_as_in_vllm() -> None:
    body = b'{"n": 1, "n": 99}'
    assert parse_body(body) == json.loads(body) == {"n": 99}


texts = st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.dictionaries(texts, st.none() | st.integers() | texts), st.sampled_from(["", " ", "\n\t\r "]))
def test_a_field_that_is_put_in_outweighs_and_changes_nothing_else(request: dict[str, Any], space: str) -> None:
    body = (space + json.dumps(request, indent=1, ensure_ascii=False) + space).encode()
    assert json.loads(with_field(body, "max_tokens", 7)) == request | {"max_tokens": 7}


def test_a_text_that_is_put_in_is_json() -> None:
    assert json.loads(with_field(b'{"a": 1}', "b", 'x"\\')) == {"a": 1, "b": 'x"\\'}


def test_a_null_is_outweighed() -> None:
    assert json.loads(with_field(b'{"max_tokens": null }', "max_tokens", 7)) == {"max_tokens": 7}
    assert with_field(b" { } ", "a", 1) == b' { "a":1}'
