"""The context length that vLLM derives from config.json (`_get_and_verify_max_len` of vllm/config/model.py, 0.32)."""

from __future__ import annotations

from dataclasses import dataclass

from llmservice_operator.gpu_memory import rotary
from llmservice_operator.gpu_memory.config import LARGEST, Config

DEFAULT = 2048
"""Tokens. vLLM's default if config.json has no context length."""
_FIELDS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""Fields of config.json with a context length. The smallest one applies."""
_UNSTRETCHED = frozenset(
    (
        "default",
        "mrope",
        "su",
        "longrope",
        "llama3",
        "yarn",
        "telechat3-yarn",
        "deepseek_yarn",
        "deepseek_llama_scaling",
    )
)
"""Types of rotary embeddings that have no factor, or whose factor the context length already includes."""


@dataclass(frozen=True, slots=True)
class ContextLength:
    """Lengths in tokens."""

    default: int
    """Without maxContextLength."""
    longest: int
    """The largest maxContextLength that vLLM accepts."""


def context_length(config: Config) -> ContextLength:
    """The context lengths of a model. Raises NotModelled."""
    text = config.text()
    stated = [length for name in _FIELDS if (length := text.maybe(name))]
    # Command R has its training length in max_position_embeddings and its context length in model_max_length.
    length = text.maybe("model_max_length") or min(stated, default=DEFAULT)
    kinds = [rope.word("rope_type") or rope.word("type") for rope in rotary.parameters(text)]
    if "gemma3" not in config.word("model_type") + text.word("model_type"):
        length = min(LARGEST, int(length * _factor(text)))
    default = length
    if {"longrope", "su"} & set(kinds):
        # vLLM's default is the length up to which short sequences keep their quality.
        default = config.maybe("original_max_position_embeddings") or _original(config) or length
    return ContextLength(default, max(length, config.maybe("model_max_length") or 0))


def _factor(text: Config) -> float:
    """The factor by which rotary embeddings extend the context length. The last one with a factor applies."""
    factor = 1.0
    for rope in rotary.parameters(text):
        if (rope.word("rope_type") or rope.word("type") or "default") not in _UNSTRETCHED:
            factor = rope.ratio("factor", factor)
    return factor if factor >= 1 else 1.0


def _original(config: Config) -> int:
    """The default of original_max_position_embeddings in transformers' Phi3Config; 0 for other models."""
    return 4096 if config.word("model_type") == "phi3" else 0
