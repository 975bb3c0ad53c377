"""A stack of layers between an embedding and a head, with the attention windows of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Matrix
from llmservice_operator.gpu_memory.model import Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import embedding, head, hidden_size
from llmservice_operator.gpu_memory.rotary import tables

MOST_LAYERS = 256
"""Maximum number of layers. The largest public models have 126. An estimate builds each layer for up to five values of
tensor."""

Windows = Callable[[Config, int], Sequence[int | None]]
"""The window of each layer; None for all tokens."""


def layer_count(config: Config) -> int:
    """Number of layers. Raises NotModelled."""
    count = config.number("num_hidden_layers", "n_layer", "num_layers")
    if count > MOST_LAYERS:
        raise NotModelled(f"its config.json has {count} layers; at most {MOST_LAYERS} are supported")
    return count


def by_layer_types(config: Config, count: int) -> Sequence[int | None]:
    """Windows by ``layer_types``; without it no layer has a window."""
    types = config.items("layer_types")
    if not types:
        return [None] * count
    if len(types) != count:
        raise NotModelled(f"its config.json has layer_types of {len(types)} layers and {count} layers")
    window = config.maybe("sliding_window")
    return [window if kind == "sliding_attention" else None for kind in types]


def whole_or_window(config: Config, count: int) -> Sequence[int | None]:
    """Windows by ``layer_types``; without it every layer has the window in config.json, unless it is switched off."""
    if config.items("layer_types"):
        return by_layer_types(config, count)
    used = config.flag("use_sliding_window", default="use_sliding_window" not in config.values)
    return [config.maybe("sliding_window") if used else None] * count


def alternating(period: int, *, extra: int = 0, first: bool = False) -> Windows:
    """Windows by ``layer_types``; without it the last layer of each ``period`` attends to all tokens. ``extra`` tokens
    are kept in addition to the window."""

    def windows(config: Config, count: int) -> Sequence[int | None]:
        if config.items("layer_types"):
            found = by_layer_types(config, count)
        else:
            size, every = config.maybe("sliding_window"), config.maybe("sliding_window_pattern") or period
            found = [size if (index + 1) % every else None for index in range(count)]
        return [None if window is None else window + extra for window in found]

    return windows


def stack(
    config: Config,
    cut: Cut,
    layer: Callable[[int, int | None], Layer],
    *,
    windows: Windows = by_layer_types,
    tied: bool = False,
    norm_bias: bool = False,
    first: tuple[Matrix, ...] = (),
    block: int = 16,
    head_bias: bool = False,
    rotary: bool = True,
) -> Model:
    """The model with these layers; ``layer`` builds one from its index and window. ``rotary``: whether it uses rotary
    embeddings. Raises NotModelled or Indivisible."""
    tied = config.flag("tie_word_embeddings", default=tied)
    each = windows(config, layer_count(config))
    # Build layers before the embedding: of several indivisible numbers, heads are the one that users know.
    layers = tuple(layer(index, window) for index, window in enumerate(each))
    return Model(
        architecture=str(next(iter(config.items("architectures")), "")),
        first=(*embedding(config, cut), *first),
        layers=layers,
        last=head(config, cut, tied=tied, bias=head_bias, norm_bias=norm_bias),
        tables=tables(config) if rotary else (),
        tied=tied,
        hidden=hidden_size(config),
        vocabulary=config.number("vocab_size"),
        block=block,
        chosen=config.maybe("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k") or 0,
    )
