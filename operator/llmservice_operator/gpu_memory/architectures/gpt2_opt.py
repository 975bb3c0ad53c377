"""Models before Llama: learned positions, plain feed-forward layers, and a bias everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.stack import stack
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import attention, feed_forward, hidden_size, norms


def _opt(config: Config, cut: Cut) -> Model:
    hidden, bias = hidden_size(config), config.flag("enable_bias", True)
    positions = Matrix(
        "model.decoder.embed_positions", Part.EMBEDDING, config.number("max_position_embeddings") + 2, hidden
    )
    inner = config.number("ffn_dim")

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"model.decoder.layers.{index}"
        attending, cache = attention(config, cut, f"{prefix}.self_attn", bias=bias, out_bias=bias)
        feeding = feed_forward(prefix, cut, hidden, inner, gated=False, bias=bias)
        return Layer((*attending, *feeding, *norms(prefix, hidden, 2, bias=True)), (cache,))

    return stack(config, cut, layer, tied=True, norm_bias=True, first=(positions,), rotary=False)


def _gpt2(config: Config, cut: Cut) -> Model:
    hidden = hidden_size(config)
    positions = Matrix("wpe", Part.EMBEDDING, config.number("n_positions", "max_position_embeddings"), hidden)
    inner = config.maybe("n_inner") or 4 * hidden

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"h.{index}"
        attending, cache = attention(config, cut, f"{prefix}.attn", bias=True, out_bias=True)
        feeding = feed_forward(f"{prefix}.mlp", cut, hidden, inner, gated=False, bias=True)
        return Layer((*attending, *feeding, *norms(prefix, hidden, 2, bias=True)), (cache,))

    return stack(config, cut, layer, tied=True, norm_bias=True, first=(positions,), rotary=False)


BUILDERS: Mapping[str, Builder] = MappingProxyType({"OPTForCausalLM": _opt, "GPT2LMHeadModel": _gpt2})
