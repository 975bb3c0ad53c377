"""Models with multi-head latent attention: DeepSeek V2 and V3, Kimi K2, GLM 4.7 Flash, Mistral Large 3."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.experts import Feeding, dense_first
from llmservice_operator.gpu_memory.architectures.stack import stack
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import hidden_size, latent_attention, norms

BLOCK = 64
"""Tokens per block of the kernels for latent attention on a GPU."""


def _build(config: Config, cut: Cut, feeding: Feeding) -> Model:
    hidden = hidden_size(config)

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"model.layers.{index}"
        attending, cache = latent_attention(config, cut, f"{prefix}.self_attn")
        return Layer((*attending, *feeding(index, prefix), *norms(prefix, hidden, 2)), (cache,))

    return stack(config, cut, layer, block=BLOCK)


def _deepseek(config: Config, cut: Cut) -> Model:
    return _build(config, cut, dense_first(config, cut, router_bias=config.word("topk_method") == "noaux_tc"))


def _glm(config: Config, cut: Cut) -> Model:
    return _build(config, cut, dense_first(config, cut, router_bias=True))


BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "DeepseekV2ForCausalLM": _deepseek,
        "DeepseekV3ForCausalLM": _deepseek,
        "Glm4MoeLiteForCausalLM": _glm,
        "MistralLarge3ForCausalLM": _deepseek,
    }
)
