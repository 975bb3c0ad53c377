"""Parts of layers: attention, feed-forward, experts and norms, split over GPUs as in vLLM."""

from __future__ import annotations

from dataclasses import dataclass

from llmservice_operator.gpu_memory.cache import Attention, Latent
from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Cut

Matrices = tuple[Matrix, ...]

MOST_EXPERTS = 4096
"""Maximum number of experts in one layer. The largest public models have 512."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of an attention layer, over all GPUs."""

    queries: int
    keys: int
    width: int
    """Elements of a query head and of a key head."""
    value_width: int

    @classmethod
    def of(cls, config: Config) -> Heads:
        """The heads in the usual fields of config.json. Raises NotModelled."""
        queries = config.number("num_attention_heads", "n_head", "num_heads")
        width = config.maybe("head_dim", "attention_head_dim")
        if width is None:
            width = hidden_size(config) // queries
        keys = config.maybe("num_key_value_heads", "num_kv_heads") or queries
        return cls(queries, keys, max(1, width), max(1, config.maybe("v_head_dim") or width))


def hidden_size(config: Config) -> int:
    """Elements per token between layers."""
    return config.number("hidden_size", "n_embd", "d_model")


def vector(name: str, part: Part, length: int, *, wide: bool = False) -> Matrix:
    """A parameter that is never quantized."""
    return Matrix(name, part, length, wide=wide)


def norms(prefix: str, hidden: int, count: int, *, bias: bool = False) -> Matrices:
    """The norms of a layer."""
    return (vector(f"{prefix}.norms", Part.NORM, count * hidden * (2 if bias else 1)),)


def linear(
    name: str,
    part: Part,
    rows: int,
    columns: int,
    *,
    bias: int = 0,
    copies: int = 1,
    merged: int = 1,
    joined: int = 1,
    across: bool = False,
) -> Matrices:
    """A linear layer on one GPU; ``bias`` is the number of bias elements."""
    whole = Matrix(name, part, rows, columns, copies, merged, joined, across, linear=True)
    return (whole, Matrix(f"{name}.bias", part, bias, copies=copies)) if bias else (whole,)


def attention(
    config: Config,
    cut: Cut,
    prefix: str,
    *,
    heads: Heads | None = None,
    bias: bool = False,
    out_bias: bool = False,
    head_norms: bool = False,
    gate: bool = False,
    sinks: bool = False,
    window: int | None = None,
    chunk: int | None = None,
) -> tuple[Matrices, Attention]:
    """Grouped-query attention. ``head_norms``: a norm over the queries and keys of each head; ``gate``: a second row
    for each query. Raises NotModelled or Indivisible."""
    heads = heads or Heads.of(config)
    hidden = hidden_size(config)
    queries = cut.share(heads.queries, "attention heads")
    keys = cut.key_value_heads(heads.keys)
    rows = queries * heads.width * (2 if gate else 1) + keys * (heads.width + heads.value_width)
    matrices = linear(f"{prefix}.q_proj", Part.ATTENTION, rows, hidden, bias=rows if bias else 0, joined=3)
    matrices += linear(
        f"{prefix}.o_proj",
        Part.ATTENTION,
        hidden,
        queries * heads.value_width,
        bias=hidden if out_bias else 0,
        across=True,
    )
    if head_norms:
        matrices += (vector(f"{prefix}.q_norm", Part.NORM, 2 * heads.width),)
    if sinks:
        matrices += (vector(f"{prefix}.sinks", Part.ATTENTION, queries),)
    return matrices, Attention(keys, heads.width + heads.value_width, window, chunk)


def latent_attention(config: Config, cut: Cut, prefix: str) -> tuple[Matrices, Latent]:
    """Multi-head latent attention. The projection to the latent vector is on every GPU. Raises NotModelled or
    Indivisible."""
    hidden, rank = hidden_size(config), config.number("kv_lora_rank")
    rope, plain = config.number("qk_rope_head_dim"), config.number("qk_nope_head_dim")
    values, query_rank = config.number("v_head_dim"), config.maybe("q_lora_rank")
    heads = cut.share(config.number("num_attention_heads"), "attention heads")
    matrices: Matrices = ()
    if query_rank is not None:
        matrices += linear(f"{prefix}.q_a_proj", Part.ATTENTION, query_rank + rank + rope, hidden)
        matrices += (vector(f"{prefix}.q_a_layernorm", Part.NORM, query_rank),)
        matrices += linear(f"{prefix}.q_b_proj", Part.ATTENTION, heads * (plain + rope), query_rank)
    else:
        matrices += linear(f"{prefix}.kv_a_proj_with_mqa", Part.ATTENTION, rank + rope, hidden)
        matrices += linear(f"{prefix}.q_proj", Part.ATTENTION, heads * (plain + rope), hidden)
    matrices += (vector(f"{prefix}.kv_a_layernorm", Part.NORM, rank),)
    expansion = Matrix(
        f"{prefix}.kv_b_proj", Part.ATTENTION, heads * (plain + values), rank, linear=True, unpacked=True
    )
    matrices += (expansion, *linear(f"{prefix}.o_proj", Part.ATTENTION, hidden, heads * values, across=True))
    return matrices, Latent(rank + rope)


def feed_forward(
    prefix: str, cut: Cut, hidden: int, inner: int, *, gated: bool = True, bias: bool = False, part: Part = Part.MLP
) -> Matrices:
    """A dense feed-forward layer. Raises Indivisible."""
    share = cut.share(inner, "rows of a feed-forward layer (intermediate_size)")
    up = (2 if gated else 1) * share
    name = f"{prefix}.gate_proj" if gated else f"{prefix}.up_proj"
    return (
        *linear(name, part, up, hidden, bias=up if bias else 0, merged=2 if gated else 1),
        *linear(f"{prefix}.down_proj", part, hidden, share, bias=hidden if bias else 0, across=True),
    )


def routed_experts(
    prefix: str,
    cut: Cut,
    hidden: int,
    inner: int,
    count: int,
    *,
    gated: bool = True,
    bias: bool = False,
    router_bias: bool = False,
    wide_router: bool = False,
) -> Matrices:
    """``count`` experts, each split over the GPUs, and their router, which is whole on each GPU. Raises NotModelled or
    Indivisible."""
    if count > MOST_EXPERTS:
        raise NotModelled(f"its config.json has {count} experts; at most {MOST_EXPERTS} are supported")
    share = cut.expert_share(inner)
    up = (2 if gated else 1) * share
    router = Matrix(f"{prefix}.gate", Part.EXPERTS, count, hidden, wide=wide_router)
    matrices = (
        router,
        *linear(
            f"{prefix}.experts.0.gate_proj",
            Part.EXPERTS,
            up,
            hidden,
            copies=count,
            merged=2 if gated else 1,
            bias=up if bias else 0,
        ),
        *linear(
            f"{prefix}.experts.0.down_proj",
            Part.EXPERTS,
            hidden,
            share,
            copies=count,
            bias=hidden if bias else 0,
            across=True,
        ),
    )
    return (
        (*matrices, vector(f"{prefix}.gate.bias", Part.EXPERTS, count, wide=wide_router)) if router_bias else matrices
    )


def embedding(config: Config, cut: Cut) -> Matrices:
    """Token embeddings. Raises NotModelled or Indivisible."""
    rows = cut.vocabulary(config.number("vocab_size"))
    return (Matrix("model.embed_tokens", Part.EMBEDDING, rows, hidden_size(config)),)


def head(config: Config, cut: Cut, *, tied: bool, bias: bool = False, norm_bias: bool = False) -> Matrices:
    """The last norm, and the head if it is not tied to the embedding. Raises NotModelled or Indivisible."""
    hidden, rows = hidden_size(config), cut.vocabulary(config.number("vocab_size"))
    found = norms("model", hidden, 1, bias=norm_bias)
    if not tied:
        found += (Matrix("lm_head", Part.HEAD, rows, hidden),)
        found += (vector("lm_head.bias", Part.HEAD, rows),) if bias else ()
    return found
