"""Limits of one request (caps), checked before the engine receives the request.

A request that asks for exactly as much as a cap allows passes. One more is refused with the name of the cap, its value
and the field. Numbers and booleans that are not plain JSON of their type are refused before (fields.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pydantic_core import to_json

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.conversations import check_messages, check_parts
from llmservice_runtime.gateway.fields import check_background, check_texts, check_types
from llmservice_runtime.gateway.patterns import (
    MOST_IN_ONE_PLACE,
    MOST_PATTERN_BYTES,
    MOST_REPEATS,
    Part,
    excess_repeats,
    grammars,
    has_ambiguous,
    has_wide_objects,
    is_object,
    longest_pattern,
    parts_of,
)
from llmservice_runtime.gateway.refusals import (
    Refusal,
    above_cap,
    ambiguous_pattern,
    not_an_object,
    pattern_too_long,
    repeats_too_often,
    shown_number,
    too_many_prompt_logprobs,
    too_many_properties,
)
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import SHAPES, Request, all_prompts_bytes, entries, number, prompts_of, text_bytes

MOST_PROMPT_LOGPROBS = 32_768
"""Of all prompts of a request and all answers to them. vLLM makes an object of each on the event loop, which takes 15
microseconds or more."""

DESCRIPTIONS_TIMES = 8
"""Tools may be so many times as large as schemaBytes with their descriptions. A grammar is made of the rest: it has no
part for a description."""

Check = Callable[[Kind, Request, Caps], Refusal | None]

_SCHEMAS = frozenset(
    (
        *("tools", "response_format", "structured_outputs", "text", "output_config"),
        *("guided_json", "guided_regex", "guided_grammar", "guided_choice"),
    )
)
_IMMENSE = 10**9


def check_caps(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    """The first cap that the request exceeds."""
    return next((refusal for check in CHECKS if (refusal := check(kind, request, caps))), None)


def missing_max_tokens(kind: Kind, request: Request, caps: Caps) -> tuple[str, int] | None:
    """The field and value to add to a request that does not limit its answer; None if nothing has to be added."""
    shape = SHAPES[kind]
    if not shape.max_tokens or any(request.get(field) is not None for field in shape.max_tokens):
        return None
    fill = caps.default_max_tokens or caps.max_tokens
    if fill is None:
        return None
    stands = shape.default is not None and shape.max_tokens[-1] not in request
    if caps.default_max_tokens is None and stands and shape.default is not None and shape.default <= fill:
        return None
    return shape.max_tokens[0], min(fill, caps.max_tokens or fill)


def _prompts(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    if not SHAPES[kind].prompts:
        return None
    count, field = prompts_of(kind, request)
    return above_cap("prompts", caps.prompts, field, f"{count} prompts") if count > caps.prompts else None


def _answers(_kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    return _above("n", caps.n, request, ("n", "best_of"))


def _max_tokens(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    if caps.max_tokens is None:
        return None
    return _above("maxTokens", caps.max_tokens, request, SHAPES[kind].max_tokens)


def _logprobs(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    for field in ("logprobs", "top_logprobs", "prompt_logprobs"):
        value = request.get(field)
        # In a chat it only says whether they are returned at all.
        if value is None or (isinstance(value, bool) and kind is not Kind.COMPLETION):
            continue
        if (number(value) or 0) < 0:
            return above_cap("logprobs", caps.logprobs, field, "those of the whole vocabulary")
        if refusal := _above("logprobs", caps.logprobs, request, (field,)):
            return refusal
    return _longer("logprobs", caps.logprobs, request, ("logprob_token_ids",), "tokens")


def _prompt_logprobs(kind: Kind, request: Request, _caps: Caps) -> Refusal | None:
    """All alternatives of the prompts' tokens are made at once. A text has a token for each byte at most."""
    fields = ("prompt_logprobs", "logprobs", "top_logprobs") if request.get("echo") else ("prompt_logprobs",)
    asked = [(number(request[field]) or 0, field) for field in fields if request.get(field) is not None]
    if not asked:
        return None
    most, field = max(asked)
    alternatives = int(min(most, _IMMENSE) + 1) * all_prompts_bytes(kind, request)
    if alternatives <= MOST_PROMPT_LOGPROBS:
        return None
    return too_many_prompt_logprobs(field, alternatives, MOST_PROMPT_LOGPROBS)


def _stop(_kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    return _longer("stop", caps.stop, request, ("stop", "stop_sequences", "stop_token_ids"), "stop sequences")


def _tools(_kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    return _longer("tools", caps.tools, request, ("tools",), "tools")


def _structured(_kind: Kind, request: Request, _caps: Caps) -> Refusal | None:
    """vLLM assumes an object without a check, and answers anything else with an internal error."""
    value = request.get("structured_outputs")
    if value is None:
        return None
    if not isinstance(value, dict):
        return not_an_object("structured_outputs")
    # What can't be read can't be looked into either. vLLM takes an empty text for none.
    unread = (name for name in ("json", "structural_tag") if value.get(name) and not is_object(value[name]))
    return next((not_an_object(f"structured_outputs.{name}") for name in unread), None)


def _schema_bytes(_kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    if _SCHEMAS.isdisjoint(request):
        return None
    sizes = {field: _json_bytes(request[field]) for field in _SCHEMAS if request.get(field) is not None}
    total = sum(sizes.values())
    if total <= caps.schema_bytes:
        return None
    if "tools" in sizes and total <= caps.schema_bytes * DESCRIPTIONS_TIMES:
        described = _description_bytes(request["tools"])
        sizes["tools"] -= described
        total -= described
        if total <= caps.schema_bytes:
            return None
    largest = max(sizes, key=sizes.__getitem__)
    return above_cap("schemaBytes", caps.schema_bytes, largest, f"schemas of {total} bytes")


def _patterns(_kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    """Patterns and grammars that would hold up the engine, or the event loop, for all clients."""
    read: dict[str, list[Part]] = {}
    for field in sorted(_SCHEMAS & request.keys()):
        if request[field] is None:
            continue
        # An object around it: two of the fields are a pattern or a grammar by their name alone.
        named = {"grammar": request[field]} if field == "guided_grammar" else {field: request[field]}
        parts = read[field] = list(parts_of(named))
        if (found := grammars(parts)) > caps.grammars:
            return above_cap("grammars", caps.grammars, field, f"{found} grammars")
        if (length := longest_pattern(parts)) > MOST_PATTERN_BYTES:
            return pattern_too_long(field, length, MOST_PATTERN_BYTES)
        if has_ambiguous(parts):
            return ambiguous_pattern(field)
        if has_wide_objects(parts):
            return too_many_properties(field, MOST_IN_ONE_PLACE)
    repeats = excess_repeats([part for parts in read.values() for part in parts])
    return repeats_too_often(min(read), repeats, MOST_REPEATS, MOST_IN_ONE_PLACE) if repeats is not None else None


CHECKS: tuple[Check, ...] = (
    *(check_types, check_background, check_texts),
    *(check_messages, check_parts),
    *(_prompts, _answers, _max_tokens, _logprobs, _prompt_logprobs, _stop, _tools, _structured, _schema_bytes),
    _patterns,
)


def _above(cap: str, most: int, request: Request, fields: tuple[str, ...]) -> Refusal | None:
    for field in fields:
        value = request.get(field)
        if value is not None and (asked := number(value)) is not None and asked > most:
            return above_cap(cap, most, field, shown_number(asked) if math.isfinite(asked) else "an immense number")
    return None


def _longer(cap: str, most: int, request: Request, fields: tuple[str, ...], what: str) -> Refusal | None:
    for field in fields:
        if (count := entries(request.get(field))) > most:
            return above_cap(cap, most, field, f"{count} {what}")
    return None


def _description_bytes(tools: object) -> int:
    """The texts that explain tools and their parameters to the model."""
    found, below = 0, [tools]
    while below:
        value = below.pop()
        if isinstance(value, dict):
            below += value.values()
            description = value.get("description")
            found += len(to_json(description)) if isinstance(description, str) else 0
        elif isinstance(value, list):
            below += value
    return found


def _json_bytes(value: object) -> int:
    return text_bytes(value) if isinstance(value, str) else len(to_json(value))
