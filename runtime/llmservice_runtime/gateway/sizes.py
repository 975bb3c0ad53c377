"""How much a parsed request asks for: prompts, answers to each, tokens.

What the caps judge and the rate limits reserve is counted here alone. Nothing here raises, whatever JSON came: what has
the wrong type counts as the most that vLLM could make of it, or as nothing if vLLM refuses it anyway.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from llmservice_runtime.gateway.routes import Kind

Request = Mapping[str, Any]

BYTES_PER_TOKEN = 4
"""The estimate of a prompt's tokens before the engine has counted them."""
OPEN_ANSWER_TOKENS = 1024
"""What is reserved for an answer whose length the request leaves open."""
OPEN_SHARE = 10
"""At most this part of the limit is reserved for all such answers of one request."""
TOKENS_PER_AUDIO_SECOND = 50
"""A token for 20 ms of sound."""
BYTES_PER_AUDIO_TOKEN = 320
"""The estimate of a sound file's tokens before it was decoded: 128 kbit/s."""
VLLM_MAX_TOKENS = 16
"""What vLLM takes for a completion that names no max_tokens."""
_NUMBERS = frozenset({int, float, bool})
_LONGEST_NUMBER = 64
_IMMENSE = 10**9
_MEDIA = frozenset({"image_url", "input_audio", "audio_url", "video_url", "image_embeds", "audio_embeds"})
"""Fields of a content part that hold no text."""
_SOURCE = "source"
"""The same of a content part in Anthropic's form, unless it says that it is a text."""
_KINDS, _LONGEST_KIND = frozenset({"role", "type"}), 16
"""Fields with a word of the API, and how long it is at most; what is longer counts."""
_WHOLE = frozenset({"input", "arguments", "parameters", "function", "tool_calls"})
"""Fields of a message whose objects are written into the prompt whole, names too."""


@dataclass(frozen=True, slots=True)
class RequestSize:
    """The fields in which requests of one kind say what they ask for."""

    prompts: tuple[str, ...] = ()
    """Fields whose entries are prompts. A request without any of them has one prompt."""
    texts: tuple[str, ...] = ()
    """Fields whose text is part of a prompt."""
    max_tokens: tuple[str, ...] = ()
    """Fields that bound an answer, the one that counts first."""
    default: int | None = None
    """The default of vLLM if none of them is there; None: as many tokens as the context has room for."""
    of_messages: bool = False
    """Whether a list of objects is one conversation, so one prompt."""
    crossed: bool = False
    """Whether the text outside the longest list goes before each of its entries."""
    all_text: bool = False
    """Whether objects of any form are written into a prompt whole."""
    whole: tuple[str, ...] = ()
    """Further fields whose objects a chat template may write into the prompt whole."""


_TEMPLATE = ("tools", "functions", "documents", "chat_template_kwargs")
_CHAT = RequestSize(texts=("messages",), max_tokens=("max_completion_tokens", "max_tokens"), whole=_TEMPLATE)
_PAIRS = ("text_1", "text_2", "data_1", "data_2", "queries", "query", "documents", "items")
SHAPES: Mapping[Kind, RequestSize] = MappingProxyType(
    {
        Kind.COMPLETION: RequestSize(("prompt", "prompt_embeds"), ("prompt",), ("max_tokens",), VLLM_MAX_TOKENS),
        Kind.BATCH: RequestSize(("prompts",), ("prompts",), ("max_tokens",), VLLM_MAX_TOKENS),
        Kind.CHAT: _CHAT,
        Kind.COHERE: RequestSize(texts=("messages",), max_tokens=("max_tokens",), whole=_TEMPLATE),
        Kind.CHAT_BATCH: RequestSize(("messages",), _CHAT.texts, _CHAT.max_tokens, whole=_TEMPLATE),
        Kind.RESPONSES: RequestSize(
            texts=("instructions", "input", "previous_input_messages"),
            max_tokens=("max_output_tokens",),
            whole=_TEMPLATE,
        ),
        Kind.MESSAGES: RequestSize(texts=("system", "messages"), max_tokens=("max_tokens",), whole=_TEMPLATE),
        Kind.EMBEDDING: RequestSize(
            ("input", "messages", "texts", "images", "inputs"),
            ("input", "messages", "texts", "inputs"),
            of_messages=True,
            whole=("chat_template_kwargs",),
        ),
        Kind.SCORING: RequestSize(_PAIRS, _PAIRS, crossed=True, whole=("chat_template_kwargs", "instruction")),
        Kind.DECISIONS: RequestSize(
            ("questions",), ("instructions", "state", "questions"), crossed=True, all_text=True
        ),
        # The tokenizer's time is every client's, so its texts count.
        Kind.TEXT: RequestSize(texts=("prompt", "tokens", "messages", "system"), whole=_TEMPLATE),
        Kind.COUNTING: RequestSize(texts=("messages", "system"), whole=_TEMPLATE),
        Kind.AUDIO: RequestSize(),
        Kind.REALTIME: RequestSize(),
    }
)


_PADDED = frozenset({Kind.EMBEDDING, Kind.SCORING})
"""What vLLM pads if the request says so."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a request counts as before it is answered."""

    requests: int = 1
    """Prompts times answers to each."""
    prompt_tokens: int = 0
    """An estimate."""
    completion_tokens: int = 0
    """The maximum number of tokens of the answers; if nothing limits them, the number to reserve."""
    is_open: bool = False
    """Whether nothing that the request says bounds its answers."""

    per_part: int = 1
    """Tokens of each part of a stream but the first, if the request asks for larger parts."""
    is_hidden: bool = False
    """Whether the engine makes tokens that a stream does not show."""
    prompts_once: int | None = None
    """Prompts of a beam search, which hands them on with each token; None for any other request."""
    is_truncated: bool = False
    """Whether prompts are cut: the engine tells what is left of them, but its tokenizer has read all."""

    def within(self, limit: int | None) -> Size:
        """With a reservation for answers that nothing bounds, such that it fits into the limit of tokens."""
        if not self.is_open or self.completion_tokens:
            return self
        tokens = OPEN_ANSWER_TOKENS * self.requests
        if limit is not None:
            tokens = max(1, min(tokens, limit // OPEN_SHARE, limit - self.prompt_tokens))
        return replace(self, completion_tokens=tokens)


def audio_size(size: int, limit: int | None) -> Size:
    """The size of a form of so many bytes with a sound file. Half of the limit at most: the estimate is rough."""
    tokens = math.ceil(size / BYTES_PER_AUDIO_TOKEN)
    if limit is not None:
        tokens = min(tokens, max(1, limit // 2))
    return Size(1, tokens, is_open=True)


def size_of(kind: Kind, request: Request, context_length: int | None = None) -> Size:
    """The size of a request whose caps hold. `context_length`: the tokens that vLLM pads a prompt to if the request
    says so; None if that is not known."""
    requests = prompts_of(kind, request)[0] * answers_of(request)
    most = max_tokens_of(kind, request)
    is_open = most is None and bool(SHAPES[kind].max_tokens)
    return Size(
        requests,
        max(_prompt_tokens(kind, request), _padded_tokens(kind, request, context_length)),
        requests * (most or 0),
        is_open,
        per_part=int(max(1, min(number(request.get("stream_interval")) or 1, _IMMENSE))),
        prompts_once=prompts_of(kind, request)[0] if request.get("use_beam_search") else None,
        is_hidden=request.get("include_reasoning") is False,
        is_truncated=request.get("truncate_prompt_tokens") is not None,
    )


def prompts_of(kind: Kind, request: Request) -> tuple[int, str]:
    """How many prompts it has, and the field that has the most of them."""
    shape = SHAPES[kind]
    if not shape.prompts:
        return 1, "prompt"
    counts = {field: _entries(shape, field, request.get(field)) for field in shape.prompts}
    most = max(counts, key=counts.__getitem__)
    total = counts[most] if shape.crossed else sum(counts.values())
    return max(1, total), most


def answers_of(request: Request) -> int:
    """How many answers to each prompt."""
    asked = [number(request[field]) or 1 for field in ("n", "best_of") if request.get(field) is not None]
    return int(max(1, min(max(asked, default=1), _IMMENSE)))


def max_tokens_of(kind: Kind, request: Request) -> int | None:
    """How many tokens one answer may have; None if the request says nothing."""
    shape = SHAPES[kind]
    for field in shape.max_tokens:
        asked = number(request.get(field))
        if asked is not None:
            return int(max(0, min(asked, _IMMENSE)))
    absent = shape.max_tokens and shape.max_tokens[-1] not in request
    return shape.default if absent else None


def longest_prompt_bytes(kind: Kind, request: Request) -> int:
    """The most tokens that the longest prompt may have: one for each byte of a text."""
    shape = SHAPES[kind]
    sizes, one = [0], 0
    for field in shape.texts:
        value = request.get(field)
        if shape.prompts and isinstance(value, list) and value and not _is_number(value[0]):
            sizes += [_bytes(part, shape.all_text) for part in value]
        else:
            one += _bytes(value, shape.all_text)
    return max(one, *sizes) + _whole_bytes(shape, request)


def all_prompts_bytes(kind: Kind, request: Request) -> int:
    """The same of all prompts together, each counted once for each answer to it."""
    shape = SHAPES[kind]
    prompts = prompts_of(kind, request)[0]
    texts = sum(_bytes(request.get(field), shape.all_text) for field in shape.texts)
    each = _whole_bytes(shape, request) * prompts
    return ((texts * prompts if shape.crossed else texts) + each) * answers_of(request)


def largest_text(kind: Kind, request: Request) -> tuple[str, int]:
    """The field with the most bytes of text, and the bytes of all; each token id counts as one."""
    shape = SHAPES[kind]
    sizes = {field: _bytes(request.get(field), shape.all_text) for field in shape.texts}
    sizes |= {field: _bytes(request.get(field), True) for field in shape.whole}
    return max(sizes, key=sizes.__getitem__), sum(sizes.values())


def number(value: Any) -> float | None:
    """The largest number that vLLM could read from `value`; None if it is none. Infinite if it is beyond counting."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if abs(value) < 10**18 else math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        return _number_in(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isinf(value) else math.ceil(value)
    return None


def entries(value: Any) -> int:
    """How many entries a field has that may be a list or a single value."""
    return 0 if value is None else len(value) if isinstance(value, list) else 1


def text_bytes(text: str) -> int:
    """The length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _number_in(text: str) -> float | None:
    try:
        return number(int(text) if len(text) <= _LONGEST_NUMBER else float(text))
    except ValueError:
        pass
    try:
        return number(float(text))
    except ValueError:
        return None


def _entries(shape: RequestSize, field: str, value: Any) -> int:
    if not isinstance(value, list):
        return len(value) if field == "questions" and isinstance(value, dict) else entries(value)
    if not value:
        return 0
    # A list of token ids is one prompt.
    conversation = shape.of_messages and field in ("input", "messages") and isinstance(value[0], dict)
    return 1 if conversation or _is_number(value[0]) else len(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _prompt_tokens(kind: Kind, request: Request) -> int:
    shape = SHAPES[kind]
    sizes = {field: _tokens(request.get(field), shape.all_text) for field in shape.texts}
    # The template writes tools and the like into each conversation.
    whole = sum(_tokens(request.get(field), True) for field in shape.whole) * prompts_of(kind, request)[0]
    if not shape.crossed:
        return sum(sizes.values()) + whole
    counts = {field: max(1, _entries(shape, field, request.get(field))) for field in sizes}
    most = max(counts.values())
    return whole + sum(size * most // counts[field] for field, size in sizes.items())


def _padded_tokens(kind: Kind, request: Request, context_length: int | None) -> int:
    """Tokens of prompts that vLLM pads to its longest input: the engine computes them all."""
    if kind not in _PADDED or request.get("padding") != "max_length" or context_length is None:
        return 0
    shape = SHAPES[kind]
    return context_length * max(1, sum(_entries(shape, field, request.get(field)) for field in shape.prompts))


def _tokens(value: Any, all_text: bool) -> int:
    """The estimate for everything that is text in `value`; images and other data count as nothing."""
    size = ids = 0
    for part in _parts(value, all_text):
        if isinstance(part, str):
            size += text_bytes(part)
        else:
            ids += part
    return ids + math.ceil(size / BYTES_PER_TOKEN)


def _bytes(value: Any, all_text: bool) -> int:
    return sum(text_bytes(part) if isinstance(part, str) else part for part in _parts(value, all_text))


def _whole_bytes(shape: RequestSize, request: Request) -> int:
    return sum(_bytes(request.get(field), True) for field in shape.whole)


def _parts(value: Any, all_text: bool) -> Iterator[str | int]:
    """The texts in `value`, and how many numbers its lists of token ids have."""
    waiting = [(value, all_text)]
    while waiting:
        part, whole = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            if _is_ids(part):
                yield len(part)
            else:
                waiting.extend((each, whole) for each in part)
        elif isinstance(part, dict):
            if whole:
                waiting.extend((name, True) for name in part)
            waiting.extend(
                (each, whole or name in _WHOLE) for name, each in part.items() if whole or not _is_no_text(name, each)
            )
        elif part is not None:
            # A number as it is written takes a token and one for what is between it and the next. Elsewhere it may be
            # a token id among texts that vLLM reads as ids too.
            yield 2 if whole else 1


def _is_ids(part: list[Any]) -> bool:
    return bool(part) and set(map(type, part)) <= _NUMBERS


def _is_no_text(name: str, value: Any) -> bool:
    """Whether a field of a message or a part holds nothing that is written into the prompt as a text of its own."""
    if name in _KINDS:
        return isinstance(value, str) and len(value) <= _LONGEST_KIND
    if name == _SOURCE:
        return isinstance(value, dict) and value.get("type") in ("base64", "url", "file")
    return name in _MEDIA
