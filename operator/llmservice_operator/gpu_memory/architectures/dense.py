"""Dense models: grouped-query attention and a gated feed-forward layer, with the variations of model families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.stack import (
    Windows,
    alternating,
    by_layer_types,
    stack,
    whole_or_window,
)
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.matrix import Part
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import Heads, attention, feed_forward, hidden_size, norms, vector


@dataclass(frozen=True)
class Family:
    """How a family differs from Llama."""

    bias: Callable[[Config], bool] = lambda config: config.flag("attention_bias") or config.flag("bias")
    """Whether queries, keys and values have a bias."""
    out_bias: Callable[[Config], bool] = lambda config: config.flag("attention_bias") or config.flag("bias")
    head_norms: bool = False
    norms: int = 2
    """Number of norms in a layer."""
    norm_bias: bool = False
    gated: bool = True
    tied: bool = False
    """Whether the head is tied if config.json does not state it."""
    windows: Windows = by_layer_types

    def build(self, config: Config, cut: Cut) -> Model:
        """The model. Raises NotModelled or Indivisible."""
        hidden, inner = hidden_size(config), config.number("intermediate_size", "ffn_dim", "n_inner")
        heads, bias, out_bias = Heads.of(config), self.bias(config), self.out_bias(config)
        mlp_bias = config.flag("mlp_bias")

        def layer(index: int, window: int | None) -> Layer:
            prefix = f"model.layers.{index}"
            attending, cache = attention(
                config,
                cut,
                f"{prefix}.self_attn",
                heads=heads,
                bias=bias,
                out_bias=out_bias,
                head_norms=self.head_norms,
                window=window,
            )
            feeding = feed_forward(f"{prefix}.mlp", cut, hidden, inner, gated=self.gated, bias=mlp_bias)
            return Layer(
                (*attending, *feeding, *norms(prefix, hidden, self.norms, bias=self.norm_bias)),
                (cache,),
            )

        return stack(config, cut, layer, windows=self.windows, tied=self.tied, norm_bias=self.norm_bias)


def never(_: Config) -> bool:
    """No bias, whatever config.json states."""
    return False


def always(_: Config) -> bool:
    """A bias, whatever config.json states."""
    return True


def _commands(config: Config, cut: Cut) -> Model:
    """Cohere's Command: one norm per layer, and a norm per head if config.json requests it."""
    model = Family(never, never, norms=1, tied=True, windows=alternating(4, extra=1)).build(config, cut)
    if not config.flag("use_qk_norm"):
        return model
    heads = Heads.of(config)
    size = (cut.share(heads.queries, "attention heads") + cut.key_value_heads(heads.keys)) * heads.width
    layers = tuple(Layer((*each.matrices, vector("q_norm", Part.NORM, size)), each.caches) for each in model.layers)
    return Model(**{**vars(model), "layers": layers})


LLAMA = Family(windows=whole_or_window)
QWEN2 = Family(always, never, windows=whole_or_window)
QWEN3 = Family(head_norms=True, windows=whole_or_window)

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "LlamaForCausalLM",
                "LLaMAForCausalLM",
                "MistralForCausalLM",
                "Ministral3ForCausalLM",
                "InternLM3ForCausalLM",
            ),
            LLAMA.build,
        ),
        "GraniteForCausalLM": Family().build,
        "SolarForCausalLM": Family().build,
        "Phi3ForCausalLM": Family(never, never, windows=whole_or_window).build,
        "Qwen2ForCausalLM": QWEN2.build,
        "Qwen3ForCausalLM": QWEN3.build,
        "GemmaForCausalLM": Family(tied=True).build,
        "Gemma2ForCausalLM": Family(norms=4, tied=True, windows=alternating(2)).build,
        "Gemma3ForCausalLM": Family(head_norms=True, norms=4, tied=True, windows=alternating(6)).build,
        "Gemma3TextModel": Family(head_norms=True, norms=4, tied=True, windows=alternating(6)).build,
        "CohereForCausalLM": _commands,
        "Cohere2ForCausalLM": _commands,
        "Glm4ForCausalLM": Family(out_bias=never, norms=4).build,
        "Exaone4ForCausalLM": Family(head_norms=True, windows=alternating(4)).build,
        "Ernie4_5ForCausalLM": Family(tied=True).build,
        "NemotronForCausalLM": Family(norm_bias=True, gated=False).build,
        "StableLmForCausalLM": Family(lambda config: config.flag("use_qkv_bias"), never, norm_bias=True).build,
    }
)
