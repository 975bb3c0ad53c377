"""Mixtures of experts: a router chooses experts, and all experts are in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.dense import always, never
from llmservice_operator.gpu_memory.architectures.stack import (
    Windows,
    alternating,
    by_layer_types,
    stack,
    whole_or_window,
)
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import (
    Heads,
    Matrices,
    attention,
    feed_forward,
    hidden_size,
    norms,
    routed_experts,
    vector,
)

Feeding = Callable[[int, str], Matrices]
"""The feed-forward part of a layer, by its index and path."""

SHARED_GATE = "shared_expert_gate"


def build(
    config: Config,
    cut: Cut,
    feeding: Feeding,
    *,
    bias: Callable[[Config], bool] = lambda config: config.flag("attention_bias"),
    out_bias: Callable[[Config], bool] = lambda config: config.flag("attention_bias"),
    head_norms: bool = False,
    sinks: bool = False,
    windows: Windows = by_layer_types,
    chunks: Callable[[int], int | None] = lambda index: None,
    whole_norms: bool = False,
    norm_bias: bool = False,
    head_bias: bool = False,
    tied: bool = False,
) -> Model:
    """A stack of grouped-query attention and ``feeding``. ``whole_norms``: one norm over all heads of a GPU. Raises
    NotModelled or Indivisible."""
    hidden, heads = hidden_size(config), Heads.of(config)

    def layer(index: int, window: int | None) -> Layer:
        prefix = f"model.layers.{index}"
        attending, cache = attention(
            config,
            cut,
            f"{prefix}.self_attn",
            heads=heads,
            bias=bias(config),
            out_bias=out_bias(config),
            head_norms=head_norms,
            sinks=sinks,
            window=window,
            chunk=chunks(index),
        )
        if whole_norms:
            size = cut.share(heads.queries, "attention heads") + cut.key_value_heads(heads.keys)
            attending += (vector(f"{prefix}.self_attn.q_norm", Part.NORM, size * heads.width),)
        return Layer((*attending, *feeding(index, prefix), *norms(prefix, hidden, 2, bias=norm_bias)), (cache,))

    return stack(config, cut, layer, windows=windows, tied=tied, norm_bias=norm_bias, head_bias=head_bias)


def _mixtral(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count = config.number("num_local_experts")

    def feeding(_: int, prefix: str) -> Matrices:
        return routed_experts(f"{prefix}.block_sparse_moe", cut, hidden, inner, count)

    return build(config, cut, feeding, windows=whole_or_window, bias=never, out_bias=never)


def _phi_moe(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count = config.number("num_local_experts")

    def feeding(_: int, prefix: str) -> Matrices:
        return routed_experts(f"{prefix}.block_sparse_moe", cut, hidden, inner, count)

    return build(config, cut, feeding, windows=whole_or_window, norm_bias=True, head_bias=config.flag("lm_head_bias"))


def _granite_moe(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count = config.number("num_local_experts")

    def feeding(_: int, prefix: str) -> Matrices:
        return routed_experts(f"{prefix}.block_sparse_moe", cut, hidden, inner, count)

    return build(config, cut, feeding)


def _olmoe(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count = config.number("num_experts")

    def feeding(_: int, prefix: str) -> Matrices:
        return routed_experts(f"{prefix}.mlp", cut, hidden, inner, count)

    return build(config, cut, feeding, bias=never, out_bias=never, whole_norms=True)


def sparse_or_dense(config: Config, cut: Cut, *, shared: bool) -> Feeding:
    """Qwen: experts in every ``decoder_sparse_step``-th layer that is not in ``mlp_only_layers``, other layers are
    dense."""
    hidden, inner = hidden_size(config), config.number("moe_intermediate_size")
    count, step = config.number("num_experts"), config.maybe("decoder_sparse_step") or 1
    plain = {each for each in config.items("mlp_only_layers") if isinstance(each, int)}
    shared_inner = config.maybe("shared_expert_intermediate_size") if shared else None

    def feeding(index: int, prefix: str) -> Matrices:
        if index in plain or (index + 1) % step:
            return feed_forward(f"{prefix}.mlp", cut, hidden, config.number("intermediate_size"))
        found = routed_experts(f"{prefix}.mlp", cut, hidden, inner, count)
        if shared_inner is None:
            return found
        gate = Matrix(f"{prefix}.mlp.{SHARED_GATE}", Part.EXPERTS, 1, hidden)
        return (*found, gate, *feed_forward(f"{prefix}.mlp.shared_expert", cut, hidden, shared_inner))

    return feeding


def _qwen2_moe(config: Config, cut: Cut) -> Model:
    return build(config, cut, sparse_or_dense(config, cut, shared=True), bias=always, out_bias=never)


def _qwen3_moe(config: Config, cut: Cut) -> Model:
    return build(config, cut, sparse_or_dense(config, cut, shared=False), head_norms=True)


def dense_first(config: Config, cut: Cut, *, router_bias: bool, wide_router: bool = False) -> Feeding:
    """DeepSeek: dense layers first, then layers with routed and shared experts."""
    hidden, inner = hidden_size(config), config.number("moe_intermediate_size")
    count, shared = config.number("n_routed_experts", "num_experts"), config.maybe("n_shared_experts")
    first, step = config.maybe("first_k_dense_replace") or 0, config.maybe("moe_layer_freq") or 1

    def feeding(index: int, prefix: str) -> Matrices:
        if index < first or index % step:
            return feed_forward(f"{prefix}.mlp", cut, hidden, config.number("intermediate_size"))
        found = routed_experts(f"{prefix}.mlp", cut, hidden, inner, count, wide_router=wide_router)
        if router_bias:
            found += (vector(f"{prefix}.mlp.gate.e_score_correction_bias", Part.EXPERTS, count, wide=True),)
        if shared:
            found += feed_forward(f"{prefix}.mlp.shared_experts", cut, hidden, shared * inner)
        return found

    return feeding


def _glm4_moe(config: Config, cut: Cut) -> Model:
    feeding = dense_first(config, cut, router_bias=True, wide_router=True)
    return build(config, cut, feeding, out_bias=never, head_norms=config.flag("use_qk_norm"))


def _deepseek(config: Config, cut: Cut) -> Model:
    return build(config, cut, dense_first(config, cut, router_bias=False))


def _minimax_m2(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count, biased = config.number("num_local_experts"), config.flag("use_routing_bias")

    def feeding(_: int, prefix: str) -> Matrices:
        found = routed_experts(f"{prefix}.block_sparse_moe", cut, hidden, inner, count, wide_router=True)
        bias = vector(f"{prefix}.block_sparse_moe.e_score_correction_bias", Part.EXPERTS, count, wide=True)
        return (*found, bias) if biased else found

    return build(config, cut, feeding, bias=never, out_bias=never, whole_norms=config.flag("use_qk_norm", True))


def _ernie(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("moe_intermediate_size")
    count, shared = config.number("moe_num_experts"), config.maybe("moe_num_shared_experts") or 0
    start, step = config.maybe("moe_layer_start_index") or 0, config.maybe("moe_layer_interval") or 1
    end = config.maybe("moe_layer_end_index") or 1 << 20

    def feeding(index: int, prefix: str) -> Matrices:
        if not start <= index <= end or (index + 1) % step:
            return feed_forward(f"{prefix}.mlp", cut, hidden, config.number("intermediate_size"))
        found = routed_experts(f"{prefix}.mlp", cut, hidden, inner, count, wide_router=True)
        found += (vector(f"{prefix}.mlp.gate.e_score_correction_bias", Part.EXPERTS, count, wide=True),)
        return (*found, *feed_forward(f"{prefix}.mlp.shared_experts", cut, hidden, shared * inner)) if shared else found

    return build(config, cut, feeding, tied=True)


def _gpt_oss(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    count = config.number("num_local_experts", "num_experts")

    def feeding(_: int, prefix: str) -> Matrices:
        return routed_experts(f"{prefix}.mlp", cut, hidden, inner, count, bias=True, router_bias=True)

    return build(config, cut, feeding, bias=always, out_bias=always, sinks=True, windows=alternating(2))


def _llama4(config: Config, cut: Cut) -> Model:
    hidden, inner = hidden_size(config), config.number("intermediate_size")
    dense = config.number("intermediate_size_mlp", default=inner)
    count, step = config.number("num_local_experts"), config.maybe("interleave_moe_layer_step") or 0
    chunk, plain = config.maybe("attention_chunk_size"), config.items("no_rope_layers")
    every = config.maybe("no_rope_layer_interval") or 4

    def chunks(index: int) -> int | None:
        rotated = bool(plain[index]) if index < len(plain) else bool((index + 1) % every)
        return chunk if rotated else None

    def feeding(index: int, prefix: str) -> Matrices:
        if not step or (index + 1) % step:
            return feed_forward(f"{prefix}.feed_forward", cut, hidden, dense)
        return (
            *routed_experts(f"{prefix}.feed_forward", cut, hidden, inner, count),
            *feed_forward(f"{prefix}.feed_forward.shared_expert", cut, hidden, inner),
        )

    return build(config, cut, feeding, bias=never, out_bias=never, chunks=chunks)


BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "MixtralForCausalLM": _mixtral,
        "PhiMoEForCausalLM": _phi_moe,
        "GraniteMoeForCausalLM": _granite_moe,
        "OlmoeForCausalLM": _olmoe,
        "Qwen2MoeForCausalLM": _qwen2_moe,
        "Qwen3MoeForCausalLM": _qwen3_moe,
        "Glm4MoeForCausalLM": _glm4_moe,
        "DeepseekForCausalLM": _deepseek,
        "MiniMaxM2ForCausalLM": _minimax_m2,
        "Ernie4_5_MoeForCausalLM": _ernie,
        "GptOssForCausalLM": _gpt_oss,
        "Llama4ForCausalLM": _llama4,
    }
)
