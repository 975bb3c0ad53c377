"""Media that a request names by URL: refused before vLLM sees them, unless their domain is listed.

The engine would fetch them from inside the cluster. vLLM has a check of its own (`--allowed-media-domains`); this one
names the field and covers the libraries that vLLM hands a request on to. It looks at each place in which any API of
vLLM reads a URL. A text that holds a URL is no such place, nor are the arguments and definitions of tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmservice_runtime.gateway.refusals import Refusal, media_options, media_url
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Request

_URL_FIELDS = frozenset({"image_url", "video_url", "audio_url", "file_url"})
"""Their value is a URL, or an object with one in `url`."""
_LISTS = frozenset({"images", "videos", "audios", "image", "video", "audio"})
"""Their value is a URL or the content itself, or a list of these."""
_CONTENT_FIELDS = frozenset({"input_audio", "input_image", "input_video", "input_file", "file"})
"""Their value is the content or an object with it."""
_INSIDE = ("url", "data", "file_data")
"""The keys under which such an object holds its URL or content."""
_NAMES = _URL_FIELDS | _LISTS | _CONTENT_FIELDS | {"source"}
_NO_MEDIA = frozenset(
    (
        *("tools", "tool_choice", "tool_calls", "function", "function_call", "functions", "arguments", "metadata"),
        *("response_format", "structured_outputs", "output_config", "guided_json", "guided_regex", "guided_grammar"),
        *("guided_choice", "chat_template_kwargs", "logit_bias"),
    )
)
"""vLLM reads no media below these, nor below the documents of a chat. JSON schemas and arguments of tools may have
properties of any name."""
_OPTIONS = ("mm_processor_kwargs", "media_io_kwargs")
_DECISIONS = ("images", "videos", "audio")
_MARKS = (b'_url"', b'"source"', b'"image', b'"video', b'"audio', b'"input_', b'"file', b'_kwargs"', b"\\u00")
"""One of these is in every body with such a name; the last one, because a letter of a name may be escaped."""
_SEARCHED_BYTES = 1024 * 1024
"""In a larger body, to search for all of them takes longer than to walk through as many values as it may have."""
_SCHEME = re.compile(r"[\x00-\x20]*[A-Za-z][A-Za-z0-9+.-]*:")
_DATA = "data:"
_HTTP = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
"""Without user, backslash, IPv6 and anything else that parsers disagree on."""
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,32}")
_MOST_STEPS = 12
_Path = tuple[Any, ...]
"""Keys and indexes from the end to the beginning, each as (step, path before it)."""


@dataclass(frozen=True, slots=True)
class MediaRule:
    """Which media a service takes by URL: those of these domains, in lower case."""

    domains: frozenset[str] = frozenset()

    def check(self, kind: Kind, body: bytes, request: Request) -> Refusal | None:
        """The refusal of the first field that breaks the rule. `body` is the text of `request`."""
        if len(body) <= _SEARCHED_BYTES and not _may_have_media(body):
            return None
        for option in _OPTIONS:
            if request.get(option):
                return media_options(option)
        return next(
            (
                media_url(_shown(path), sorted(self.domains))
                for url, path in _urls(kind, request)
                if not self._takes(url)
            ),
            None,
        )

    def _takes(self, url: str) -> bool:
        if url[: len(_DATA)].lower() == _DATA:
            return True
        found = _HTTP.fullmatch(url)
        return found is not None and found[1].lower() in self.domains


def _may_have_media(body: bytes) -> bool:
    return any(mark in body for mark in _MARKS)


def _urls(kind: Kind, request: Request) -> Iterator[tuple[str, _Path]]:
    """What is in the place of a URL, with its path. Takes as long as the request has values."""
    if kind is Kind.DECISIONS:
        request = {name: request.get(name) for name in _DECISIONS}
    top = ("documents",) if kind in (Kind.CHAT, Kind.CHAT_BATCH) else ()
    waiting: list[tuple[Any, _Path]] = [(request, ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, list):
            waiting.extend((part, (at, path)) for at, part in enumerate(value) if isinstance(part, (dict, list)))
        elif isinstance(value, dict):
            of_tool = isinstance(value.get("type"), str) and value["type"].endswith("tool_use")
            for name, part in value.items():
                if name in _NO_MEDIA or (of_tool and name == "input") or (not path and name in top):
                    continue
                if name in _NAMES:
                    yield from _of_field(name, part, (name, path))
                if isinstance(part, (dict, list)):
                    waiting.append((part, (name, path)))


def _of_field(name: str, value: Any, path: _Path) -> Iterator[tuple[str, _Path]]:
    """The URLs in a field of this name; in what is nested deeper, the walk finds them."""
    parts = [(part, (at, path)) for at, part in enumerate(value)] if isinstance(value, list) else [(value, path)]
    for part, at in parts:
        if isinstance(part, dict):
            yield from ((part[key], (key, at)) for key in _INSIDE if _is_judged(key, part.get(key)))
        elif _is_judged(name, part):
            yield part, at


def _is_judged(name: str, value: Any) -> bool:
    """Whether it counts as a URL: any text in a field for URLs, else what begins with a scheme. Base64 has no colon."""
    if not isinstance(value, str) or name == "source":
        return False
    return bool(value) if name in _URL_FIELDS or name == "url" else _SCHEME.match(value) is not None


def _shown(path: _Path) -> str:
    """The path in the form messages[0].content[1].image_url.url, at a bounded length."""
    steps: list[str] = []
    while path and len(steps) < _MOST_STEPS:
        step, path = path
        named = step if isinstance(step, str) and _PLAIN.fullmatch(step) else "…"
        steps.append(f"[{step}]" if isinstance(step, int) else f".{named}")
    return "".join(reversed(steps)).removeprefix(".")
