"""Hybrid models: attention in some layers, a recurrent state of constant size in the others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.experts import Feeding, sparse_or_dense
from llmservice_operator.gpu_memory.architectures.stack import layer_count, stack
from llmservice_operator.gpu_memory.cache import State
from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Part
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import (
    Heads,
    Matrices,
    attention,
    feed_forward,
    hidden_size,
    linear,
    norms,
    routed_experts,
    vector,
)


def delta_net(config: Config, cut: Cut, prefix: str, *, wide_state: bool) -> tuple[Matrices, State]:
    """A gated delta net, as in Qwen3-Next and Qwen3.5. Raises NotModelled or Indivisible."""
    hidden, kernel = hidden_size(config), config.number("linear_conv_kernel_dim")
    key_width, value_width = config.number("linear_key_head_dim"), config.number("linear_value_head_dim")
    keys = cut.share(config.number("linear_num_key_heads"), "key heads of a delta net")
    values = cut.share(config.number("linear_num_value_heads"), "value heads of a delta net")
    channels = 2 * keys * key_width + values * value_width
    matrices = (
        vector(f"{prefix}.conv1d", Part.STATE, channels * kernel),
        *linear(f"{prefix}.in_proj_qkvz", Part.STATE, channels + values * value_width, hidden),
        *linear(f"{prefix}.in_proj_ba", Part.STATE, 2 * values, hidden),
        *linear(f"{prefix}.out_proj", Part.STATE, hidden, values * value_width),
        vector(f"{prefix}.dt_bias", Part.STATE, values),
        vector(f"{prefix}.A_log", Part.STATE, values, wide=True),
        vector(f"{prefix}.norm", Part.NORM, value_width),
    )
    convolution, recurrent = channels * (kernel - 1), values * value_width * key_width
    return matrices, State(convolution, recurrent) if wide_state else State(convolution + recurrent)


def mamba2(
    cut: Cut,
    prefix: str,
    hidden: int,
    *,
    state: int,
    kernel: int,
    groups: int,
    heads: int,
    width: int,
    bias: bool = False,
    conv_bias: bool = True,
    norm: bool = True,
    wide_state: bool = False,
) -> tuple[Matrices, State]:
    """A Mamba 2 mixer of ``heads`` of ``width``. Raises Indivisible."""
    own_heads = cut.share(heads, "heads of a Mamba layer")
    inner = own_heads * width
    own_groups = cut.share(groups, "groups of a Mamba layer") if groups > 1 else 1
    channels = inner + 2 * own_groups * state
    rows = inner + channels + own_heads
    matrices = (
        vector(f"{prefix}.conv1d", Part.STATE, channels * (kernel + (1 if conv_bias else 0))),
        *linear(f"{prefix}.in_proj", Part.STATE, rows, hidden, bias=rows if bias else 0),
        *linear(f"{prefix}.out_proj", Part.STATE, hidden, inner, bias=hidden if bias else 0),
        vector(f"{prefix}.A", Part.STATE, own_heads, wide=True),
        vector(f"{prefix}.D", Part.STATE, 2 * own_heads),
        *((vector(f"{prefix}.norm", Part.NORM, inner),) if norm else ()),
    )
    convolution, recurrent = channels * (kernel - 1), own_heads * width * state
    small, wide = (convolution, recurrent) if wide_state else (convolution + recurrent, 0)
    return matrices, State(small, wide, kept=3)


def _kinds(config: Config) -> tuple[str, ...]:
    kinds = tuple(str(kind) for kind in config.items("layer_types") or config.items("layers_block_type"))
    count = layer_count(config)
    if not kinds:
        every = config.maybe("full_attention_interval") or 4
        return tuple("linear_attention" if (index + 1) % every else "full_attention" for index in range(count))
    if len(kinds) != count:
        raise NotModelled(f"its config.json has layer types of {len(kinds)} layers and {count} layers")
    return kinds


def _qwen(config: Config, cut: Cut, feeding: Feeding, *, wide_state: bool) -> Model:
    hidden, kinds, heads = hidden_size(config), _kinds(config), Heads.of(config)

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"model.layers.{index}"
        around = (*feeding(index, prefix), *norms(prefix, hidden, 2))
        if kinds[index] == "linear_attention":
            mixing, state = delta_net(config, cut, f"{prefix}.linear_attn", wide_state=wide_state)
            return Layer((*mixing, *around), (state,))
        gate = config.flag("attn_output_gate", True)
        bias = config.flag("qkv_bias")
        attending, cache = attention(
            config, cut, f"{prefix}.self_attn", heads=heads, bias=bias, head_norms=True, gate=gate
        )
        return Layer((*attending, *around), (cache,))

    return stack(config, cut, layer, windows=lambda _, count: [None] * count)


def _qwen3_next(config: Config, cut: Cut) -> Model:
    return _qwen(config, cut, sparse_or_dense(config, cut, shared=True), wide_state=False)


def _qwen3_5(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")

    def feeding(_: int, prefix: str) -> Matrices:
        return feed_forward(f"{prefix}.mlp", cut, hidden, inner)

    return _qwen(config, cut, feeding, wide_state=_wide(config, "mamba_ssm_dtype"))


def _qwen3_5_moe(config: Config, cut: Cut) -> Model:
    feeding = sparse_or_dense(config, cut, shared=True)
    return _qwen(config, cut, feeding, wide_state=_wide(config, "mamba_ssm_dtype"))


def _wide(config: Config, field: str, default: str = "") -> bool:
    return config.word(field, default) == "float32"


def _granite(config: Config, cut: Cut) -> Model:
    hidden, kinds, heads = hidden_size(config), _kinds(config), Heads.of(config)
    count, shared = config.maybe("num_local_experts"), config.maybe("shared_intermediate_size")

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"model.layers.{index}"
        around = norms(prefix, hidden, 2)
        if count:
            around += routed_experts(
                f"{prefix}.block_sparse_moe", cut, hidden, config.number("intermediate_size"), count
            )
        if shared:
            around += feed_forward(f"{prefix}.shared_mlp", cut, hidden, shared)
        if kinds[index] == "attention":
            biased = config.flag("attention_bias")
            attending, cache = attention(config, cut, f"{prefix}.self_attn", heads=heads, bias=biased, out_bias=biased)
            return Layer((*attending, *around), (cache,))
        mixing, state = mamba2(
            cut,
            f"{prefix}.mamba",
            hidden,
            state=config.number("mamba_d_state"),
            kernel=config.number("mamba_d_conv"),
            groups=config.number("mamba_n_groups"),
            heads=config.number("mamba_n_heads"),
            width=config.number("mamba_d_head"),
            bias=config.flag("mamba_proj_bias"),
            conv_bias=config.flag("mamba_conv_bias", True),
        )
        return Layer((*mixing, *around), (state,))

    rotary = config.word("position_embedding_type") == "rope"
    return stack(config, cut, layer, windows=lambda _, number: [None] * number, rotary=rotary)


def _nemotron(config: Config, cut: Cut) -> Model:
    hidden, heads = hidden_size(config), Heads.of(config)
    pattern = config.word("hybrid_override_pattern")
    if len(pattern) != layer_count(config) or set(pattern) - set("M*-E"):
        raise NotModelled("its config.json has no hybrid_override_pattern of M, *, - and E for each layer")
    wide_state = _wide(config, "mamba_ssm_cache_dtype", "float32")

    def layer(index: int, _: int | None) -> Layer:
        prefix, kind = f"backbone.layers.{index}", pattern[index]
        around = norms(prefix, hidden, 1)
        if kind == "*":
            attending, cache = attention(config, cut, f"{prefix}.mixer", heads=heads)
            return Layer((*attending, *around), (cache,))
        if kind == "-":
            inner, biased = config.number("intermediate_size"), config.flag("mlp_bias")
            return Layer((*feed_forward(f"{prefix}.mixer", cut, hidden, inner, gated=False, bias=biased), *around))
        if kind == "E":
            return Layer((*_nemotron_experts(config, cut, f"{prefix}.mixer"), *around))
        mixing, state = mamba2(
            cut,
            f"{prefix}.mixer",
            hidden,
            state=config.number("ssm_state_size"),
            kernel=config.number("conv_kernel"),
            groups=config.number("n_groups"),
            heads=config.number("mamba_num_heads"),
            width=config.number("mamba_head_dim"),
            bias=config.flag("use_bias"),
            conv_bias=config.flag("use_conv_bias", True),
            wide_state=wide_state,
        )
        return Layer((*mixing, *around), (state,))

    return stack(config, cut, layer, windows=lambda _, number: [None] * number, rotary=False)


def _nemotron_experts(config: Config, cut: Cut, prefix: str) -> Matrices:
    hidden, count = hidden_size(config), config.number("n_routed_experts")
    inside = config.maybe("moe_latent_size")
    found = routed_experts(prefix, cut, inside or hidden, config.number("moe_intermediate_size"), count, gated=False)
    if inside:
        found += linear(f"{prefix}.fc1_latent_proj", Part.EXPERTS, inside, hidden)
        found += linear(f"{prefix}.fc2_latent_proj", Part.EXPERTS, hidden, inside)
        found += (vector(f"{prefix}.gate.rest", Part.EXPERTS, count * (hidden - inside)),)
    found += (vector(f"{prefix}.gate.e_score_correction_bias", Part.EXPERTS, count, wide=True),)
    shared = config.maybe("n_shared_experts")
    if shared:
        inner = shared * config.number("moe_shared_expert_intermediate_size")
        found += feed_forward(f"{prefix}.shared_experts", cut, hidden, inner, gated=False)
    return found


def _mamba2(config: Config, cut: Cut) -> Model:
    hidden, wide = hidden_size(config), _wide(config, "mamba_ssm_cache_dtype")
    width = config.number("head_dim", default=64)
    inner = int(config.ratio("expand", 2) * hidden)

    def layer(index: int, _: int | None) -> Layer:
        prefix = f"backbone.layers.{index}"
        mixing, state = mamba2(
            cut,
            f"{prefix}.mixer",
            hidden,
            state=config.number("state_size"),
            kernel=config.number("conv_kernel"),
            groups=config.number("n_groups"),
            heads=config.number("num_heads", default=max(1, inner // width)),
            width=width,
            bias=config.flag("use_bias"),
            conv_bias=config.flag("use_conv_bias", True),
            wide_state=wide,
        )
        return Layer((*mixing, *norms(prefix, hidden, 1)), (state,))

    return stack(config, cut, layer, windows=lambda _, number: [None] * number, tied=False, rotary=False)


BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "Qwen3NextForCausalLM": _qwen3_next,
        "Qwen3_5ForCausalLM": _qwen3_5,
        "Qwen3_5MoeForCausalLM": _qwen3_5_moe,
        "GraniteMoeHybridForCausalLM": _granite,
        "NemotronHForCausalLM": _nemotron,
        "Mamba2ForCausalLM": _mamba2,
    }
)
