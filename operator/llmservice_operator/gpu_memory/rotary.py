"""Tables of rotary embeddings: sines and cosines of every position, one per GPU for all layers with the same
rotation."""

from __future__ import annotations

from llmservice_operator.gpu_memory.config import LARGEST, Config
from llmservice_operator.gpu_memory.matrix import Part
from llmservice_operator.gpu_memory.pieces import Heads, Matrices, vector

VIDEO = 4
"""Positions of videos, as a multiple of the maximum context length."""
_PARTLY = {
    **dict.fromkeys(("glm", "glm4", "glm4_moe", "glm4v_moe_text", "nemotron"), 0.5),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "stablelm"), 0.25),
}
"""Rotated part of a head if config.json does not state it, by model type."""
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


def tables(config: Config) -> Matrices:
    """One table for each set of parameters in config.json. Raises NotModelled."""
    length = config.maybe("max_position_embeddings", "max_seq_len", "model_max_length")
    if length is None:
        return ()
    width = config.maybe("qk_rope_head_dim") or Heads.of(config).width
    wide = config.word("model_type") == "gpt_oss"
    return tuple(
        vector("rotary", Part.OTHER, _positions(config, rope, length) * _rotated(config, rope, width), wide=wide)
        for rope in parameters(config)
    )


def parameters(config: Config) -> tuple[Config, ...]:
    """What config.json says of each kind of layer."""
    given = config.part("rope_parameters") or config.part("rope_scaling") or Config({})
    nested = tuple(part for name in given.values if name in _LAYER_TYPES and (part := given.part(name)))
    two_bases = config.values.get("rope_local_base_freq") is not None or config.word("model_type").startswith("gemma3")
    return nested or ((given, Config({})) if two_bases else (given,))


def _positions(config: Config, rope: Config, length: int) -> int:
    kind, factor = rope.word("rope_type") or rope.word("type"), rope.ratio("factor", 1)
    original = rope.maybe("original_max_position_embeddings")
    if "yarn" in kind:
        return min(LARGEST, int((original or length) * factor))
    if kind == "linear":
        return min(LARGEST, int(length * factor))
    if kind in ("longrope", "su"):
        return length + (original or config.maybe("original_max_position_embeddings") or 0)
    if rope.items("mrope_section") and not config.word("model_type").startswith("qwen3"):
        return VIDEO * length
    return length


def _rotated(config: Config, rope: Config, width: int) -> int:
    """Rotated elements of a head."""
    given = config.maybe("rotary_dim")
    usual = given / width if given else _PARTLY.get(config.word("model_type"), 1.0)
    share = rope.ratio("partial_rotary_factor", config.ratio("partial_rotary_factor", usual))
    return int(width * min(1.0, share))
