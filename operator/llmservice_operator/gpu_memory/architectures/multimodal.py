"""Multimodal models: a known language model and an encoder, whose size is only known from the weight files."""

from __future__ import annotations

from collections.abc import Mapping

from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.model import Builder, Cut, Model

_TEXT = {
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen2VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen3VLForConditionalGeneration": "Qwen3ForCausalLM",
    "Qwen3VLMoeForConditionalGeneration": "Qwen3MoeForCausalLM",
    "Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForConditionalGeneration": "Qwen3_5MoeForCausalLM",
    "Glm4vMoeForConditionalGeneration": "Glm4MoeForCausalLM",
}
"""The language model in each."""

_BY_TEXT_TYPE = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
_OPEN = ("Mistral3ForConditionalGeneration", "LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration")
"""Models with any language model; text_config names its type."""


def builders(plain: Mapping[str, Builder]) -> dict[str, Builder]:
    """Builders of multimodal models, from those of the language models."""

    def fixed(inner: str) -> Builder:
        return lambda config, cut: _build(plain[inner], config, cut)

    def by_type(config: Config, cut: Cut) -> Model:
        kind = config.text().word("model_type")
        if kind not in _BY_TEXT_TYPE:
            raise NotModelled(
                f"the operator does not know how its language model of type {kind[:40] or 'none'} uses memory"
            )
        return _build(plain[_BY_TEXT_TYPE[kind]], config, cut)

    def by_architecture(config: Config, cut: Cut) -> Model:
        named = config.text().items("architectures")
        inner = next((name for name in named if isinstance(name, str) and name in plain), None)
        return by_type(config, cut) if inner is None else _build(plain[inner], config, cut)

    return {
        **{name: fixed(inner) for name, inner in _TEXT.items()},
        **dict.fromkeys(_OPEN, by_type),
        "PixtralForConditionalGeneration": by_architecture,
    }


def _build(inner: Builder, config: Config, cut: Cut) -> Model:
    text = Config({"tie_word_embeddings": config.values.get("tie_word_embeddings"), **config.text().values})
    model = inner(text, cut)
    name = next((str(name) for name in config.items("architectures")), "")
    return Model(**{**vars(model), "architecture": name, "multimodal": True})
