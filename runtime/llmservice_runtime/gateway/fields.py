"""Fields that the limits depend on have to be of their plain JSON type.

vLLM's request classes read "3", 3.0 and true as numbers, and "false", "off" and 0 as booleans; some of its own checks
look at the value before that, some after. Such a value means one thing here and another there, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydantic_core import to_json

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.refusals import Refusal, field_too_large, not_in_background, wrong_type
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import SHAPES, Request, largest_text, longest_prompt_bytes

INTEGERS = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "min_tokens"),
        *("n", "best_of", "beam_width", "top_logprobs", "prompt_logprobs", "logprobs"),
        *("truncate_prompt_tokens", "top_n", "dimensions", "thinking_token_budget", "stream_interval"),
    }
)
BOOLEANS = frozenset(
    {
        *("stream", "store", "background", "use_beam_search", "echo", "ignore_eos", "enable_response_messages"),
        *("return_token_ids", "return_tokens_as_token_ids", "return_token_offsets", "include_reasoning"),
    }
)
BOOLEAN_LOGPROBS = frozenset({Kind.CHAT, Kind.CHAT_BATCH, Kind.COHERE})
"""Kinds in which `logprobs` says only whether there are any."""
TEXTS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("user", "safety_identifier", "prompt_cache_key", "session_id"), 4096),
        **dict.fromkeys(("request_id", "previous_response_id", "cache_salt", "service_tier"), 1024),
        "model": 4096,
    }
)
"""Texts that vLLM keeps or writes into each answer, with the most bytes of each."""
METADATA_BYTES = 16 * 1024
WORDS = ("bad_words", "stop", "stop_sequences")
WORDS_BYTES = 16 * 1024
"""Of all such words together. vLLM gives each bad word to the tokenizer twice, whatever the limits."""
TOKENIZER_BYTES = 1024 * 1024
"""Of a prompt that is cut or counted after the tokenizer has read it: it has one thread for all clients, and knows no
end."""
TEXT_BYTES = 64 * 1024
"""Of the text, or token ids, that a request gives to the tokenizer alone. vLLM makes its answer in one piece, on the
event loop: that takes 50 milliseconds for as many tokens with their texts, and a second for 1 MiB."""
TOKENIZER_ALONE: Mapping[Kind, int] = MappingProxyType({Kind.TEXT: TEXT_BYTES, Kind.COUNTING: TOKENIZER_BYTES})
"""The most text of requests that go no further than the tokenizer. Agents count the tokens of long conversations."""


def check_types(kind: Kind, request: Request, _caps: Caps) -> Refusal | None:
    """The first field of a wrong type."""
    for field, value in request.items():
        if value is None:
            continue
        if field in BOOLEANS or (field == "logprobs" and kind in BOOLEAN_LOGPROBS):
            if not isinstance(value, bool):
                return wrong_type(field, "true or false")
        elif field in INTEGERS and (isinstance(value, bool) or not isinstance(value, int)):
            return wrong_type(field, "an integer")
    return None


def check_background(_kind: Kind, request: Request, _caps: Caps) -> Refusal | None:
    """A response in the background would be made beside all limits, also once its client has left."""
    return not_in_background() if request.get("background") else None


def check_texts(kind: Kind, request: Request, _caps: Caps) -> Refusal | None:
    """What vLLM only passes on, into each event of some streams, is bounded."""
    for field, most in TEXTS.items():
        value = request.get(field)
        if value is not None and (size := _bytes(value)) > most:
            return field_too_large(field, size, most)
    metadata = request.get("metadata")
    if metadata is not None and (size := _bytes(metadata)) > METADATA_BYTES:
        return field_too_large("metadata", size, METADATA_BYTES)
    for field in WORDS:
        if (value := request.get(field)) is not None and (size := _bytes(value)) > WORDS_BYTES:
            return field_too_large(field, size, WORDS_BYTES)
    alone = TOKENIZER_ALONE.get(kind)
    if alone is not None:
        field, size = largest_text(kind, request)
        if size > alone:
            return field_too_large(field, size, alone, "bytes of text or token ids (all fields together)")
    # vLLM bounds the length of other prompts before its tokenizer reads them.
    is_cut = request.get("truncate_prompt_tokens") is not None and bool(SHAPES[kind].texts)
    if is_cut and (size := longest_prompt_bytes(kind, request)) > TOKENIZER_BYTES:
        return field_too_large(largest_text(kind, request)[0], size, TOKENIZER_BYTES)
    return None


def _bytes(value: object) -> int:
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else len(to_json(value))
