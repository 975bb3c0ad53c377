"""URLs of media: each place in which vLLM reads one is refused by name, unless the URL's domain is listed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmservice_runtime.gateway.media import MediaRule
from llmservice_runtime.gateway.routes import Kind
from support.steps import lines_run

NONE = MediaRule()
LISTED = MediaRule(frozenset({"images.example.com"}))
METADATA = "http://169.254.169.254/latest/meta-data/"
DATA = "data:image/png;base64,iVBORw0KGgo="


def field(kind: Kind, request: dict[str, Any], rule: MediaRule = NONE) -> str | None:
    """The field that is refused."""
    refusal = rule.check(kind, json.dumps(request).encode(), request)
    assert refusal is None or refusal.status == 400
    return refusal and refusal.param


def chat(part: object) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]}


def image(url: str) -> dict[str, Any]:
    return chat({"type": "image_url", "image_url": {"url": url}})


IMAGE = {"type": "image_url", "image_url": {"url": METADATA}}
SOURCE = {"type": "image", "source": {"type": "url", "url": METADATA}}
RESULT = {"type": "tool_result", "content": [SOURCE]}


@pytest.mark.parametrize(
    ("kind", "request_", "expected"),
    [
        (Kind.CHAT, chat(IMAGE), "messages[0].content[1].image_url.url"),
        (Kind.CHAT, chat({"image_url": METADATA}), "messages[0].content[1].image_url"),
        (Kind.CHAT, chat({"uuid": "a", "image_url": {"url": METADATA}}), "messages[0].content[1].image_url.url"),
        (
            Kind.CHAT,
            chat({"type": "video_url", "video_url": {"url": METADATA}}),
            "messages[0].content[1].video_url.url",
        ),
        (
            Kind.CHAT,
            chat({"type": "audio_url", "audio_url": {"url": METADATA}}),
            "messages[0].content[1].audio_url.url",
        ),
        (Kind.CHAT, chat({"type": "input_image", "image_url": METADATA}), "messages[0].content[1].image_url"),
        (
            Kind.CHAT,
            chat({"type": "input_audio", "input_audio": {"data": METADATA, "format": "wav"}}),
            "messages[0].content[1].input_audio.data",
        ),
        (Kind.CHAT, chat({"type": "file", "file": {"file_data": METADATA}}), "messages[0].content[1].file.file_data"),
        (Kind.CHAT_BATCH, {"messages": [[{"content": [IMAGE]}]]}, "messages[0][0].content[0].image_url.url"),
        (
            Kind.RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": METADATA}]}]},
            "input[0].content[0].file_url",
        ),
        (
            Kind.RESPONSES,
            {"input": [{"type": "computer_call_output", "output": {"image_url": METADATA}}]},
            "input[0].output.image_url",
        ),
        (Kind.MESSAGES, {"messages": [{"content": [SOURCE]}]}, "messages[0].content[0].source.url"),
        (Kind.MESSAGES, {"messages": [{"content": [RESULT]}]}, "messages[0].content[0].content[0].source.url"),
        (Kind.EMBEDDING, {"images": [DATA, METADATA]}, "images[1]"),
        (Kind.EMBEDDING, {"inputs": [{"content": [IMAGE]}]}, "inputs[0].content[0].image_url.url"),
        (Kind.EMBEDDING, {"messages": [{"content": [IMAGE]}]}, "messages[0].content[0].image_url.url"),
        (Kind.SCORING, {"query": "a", "documents": {"content": [IMAGE]}}, "documents.content[0].image_url.url"),
        (Kind.SCORING, {"data_1": {"content": [IMAGE]}, "data_2": "b"}, "data_1.content[0].image_url.url"),
        (Kind.DECISIONS, {"state": "a", "images": [METADATA]}, "images[0]"),
        (Kind.DECISIONS, {"state": "a", "audio": [METADATA]}, "audio[0]"),
        (Kind.TEXT, {"messages": [{"content": [IMAGE]}]}, "messages[0].content[0].image_url.url"),
    ],
)
def test_each_place_of_a_url_is_refused_by_its_name(kind: Kind, request_: dict[str, Any], expected: str) -> None:
    assert field(kind, request_) == expected


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        (Kind.CHAT, image(DATA)),
        (Kind.CHAT, image(DATA.replace("data:", "DATA:"))),
        (Kind.CHAT, chat({"type": "text", "text": f"Summarize {METADATA} and image_url"})),
        (Kind.CHAT, chat({"type": "image_url", "uuid": "known", "image_url": None})),
        (Kind.CHAT, chat({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})),
        (Kind.CHAT, {"tools": [{"function": {"parameters": {"properties": {"image_url": {"default": METADATA}}}}}]}),
        (Kind.CHAT, {"messages": [{"tool_calls": [{"function": {"arguments": {"image_url": METADATA}}}]}]}),
        (Kind.CHAT, {"documents": [{"title": "a", "source": {"url": METADATA}}]}),
        (Kind.MESSAGES, {"messages": [{"content": [{"type": "tool_use", "input": {"image_url": METADATA}}]}]}),
        (Kind.DECISIONS, {"state": {"image_url": METADATA}, "questions": {}}),
        (Kind.EMBEDDING, {"images": [DATA]}),
    ],
)
def test_what_is_no_media_passes(kind: Kind, request_: dict[str, Any]) -> None:
    assert field(kind, request_) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.com/a.png",
        "http://images.example.com/a.png?size=1#x",
        "HTTPS://IMAGES.example.com:443/a.png",
        "https://images.example.com",
    ],
)
def test_a_listed_domain_passes(url: str) -> None:
    assert field(Kind.CHAT, image(url), LISTED) is None
    assert field(Kind.CHAT, image(url)) is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.com.",
        "https://images.example.com.evil.example/a",
        "https://sub.images.example.com/a",
        "https://images.example.com@169.254.169.254/",
        "https://user:pass@images.example.com/a",
        "https://169.254.169.254\\@images.example.com/a",
        "https://images.example.com\\@169.254.169.254/",
        "https://images.example.com\t/a",
        " https://images.example.com/a",
        "https://images.example.com /a",
        "https:images.example.com/a",
        "https:///images.example.com/a",
        "//images.example.com/a",
        "images.example.com/a",
        "https://[::ffff:169.254.169.254]/a",
        "https://[images.example.com]/a",
        "https://2852039166/",
        "http://0xa9fea9fe/",
        "file:///keys/abc",
        "FILE:/keys/abc",
        "ftp://images.example.com/a",
        "gopher://images.example.com:6379/_FLUSHALL",
        "httpx://images.example.com/a",
        "https://ımages.example.com/a",
        "https://images.example.com/é",
        "\x00data:image/png;base64,AA",
        "/keys/abc",
    ],
)
def test_a_url_that_parsers_may_read_otherwise_is_refused(url: str) -> None:
    assert field(Kind.CHAT, image(url), LISTED) == "messages[0].content[1].image_url.url"


def test_a_name_with_escaped_letters_is_found() -> None:
    text = json.dumps(image(METADATA)).replace("image_url", "\\u0069mage\\u005f\\u0075rl").encode()
    refusal = NONE.check(Kind.CHAT, text, json.loads(text))
    assert refusal is not None
    assert refusal.param == "messages[0].content[1].image_url.url"


@pytest.mark.parametrize("option", ["mm_processor_kwargs", "media_io_kwargs"])
@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.RESPONSES, Kind.EMBEDDING, Kind.SCORING, Kind.TEXT])
def test_options_that_change_the_cost_of_media_are_refused(option: str, kind: Kind) -> None:
    assert field(kind, {option: {"video": {"num_frames": 100000}}}) == option
    assert field(kind, {option: None}) is None
    assert field(kind, {option: {}}) is None


def test_the_refusal_says_what_to_do_and_tells_nothing_back() -> None:
    refusal = LISTED.check(Kind.CHAT, json.dumps(image(METADATA)).encode(), image(METADATA))
    assert refusal is not None
    assert refusal.reason == refusal.code == "media_url"
    assert "images.example.com" in refusal.message
    assert "data:image/png;base64" in refusal.message
    assert METADATA not in refusal.message


def test_a_path_of_the_clients_own_names_is_not_told_back() -> None:
    request: dict[str, Any] = {"image_url": METADATA}
    for name in ("<script>", "x" * 1000, *("a" * 20,) * 50):
        request = {name: request}
    reported = field(Kind.CHAT, request)
    assert reported is not None
    assert len(reported) < 500
    assert "<" not in reported


def test_the_look_costs_no_more_than_a_walk() -> None:
    def lines(parts: int) -> int:
        request = {"messages": [{"role": "user", "content": [{"image": [[]] * 10}] * parts}]}
        body = json.dumps(request).encode()
        assert NONE.check(Kind.CHAT, body, request) is None
        return lines_run(NONE.check, Kind.CHAT, body, request)

    assert lines(400) > 400
    assert lines(1600) <= 4 * lines(400) + 100


def test_media_are_found_in_a_large_body_too() -> None:
    text = {"type": "text", "text": "a" * 2**20}
    image = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
    for parts, refused in (([text], False), ([text, image], True)):
        request = {"messages": [{"role": "user", "content": parts}]}
        assert (NONE.check(Kind.CHAT, json.dumps(request).encode(), request) is not None) is refused


def test_a_long_text_is_not_searched() -> None:
    """To look for each name in 8 MiB takes longer than to parse it."""

    class Text(bytes):
        def __contains__(self, _: object) -> bool:
            raise AssertionError("searched")

    assert NONE.check(Kind.COMPLETION, Text(b'{"prompt":"%s"}' % (b"a" * 2**20)), {"prompt": "a" * 2**20}) is None


def test_a_body_without_media_is_not_walked() -> None:
    class Trap(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise AssertionError("looked into")

    assert NONE.check(Kind.CHAT, b'{"messages":[{"role":"user","content":"https://a.example"}]}', Trap()) is None
