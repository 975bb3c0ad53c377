"""Compares the size of the weights with config.json. The difference is an encoder, or a contradiction."""

from __future__ import annotations

from collections.abc import Iterator

from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.ledger import gib
from llmservice_operator.gpu_memory.matrix import Matrix
from llmservice_operator.gpu_memory.model import Model
from llmservice_operator.gpu_memory.request import Request
from llmservice_operator.gpu_memory.storage import Storage

TOLERANCE = 0.05
"""Share by which files may differ from the layers: a second copy of a tied head, metadata, rounding."""


class Contradiction(Exception):
    """The weights are much smaller or larger than config.json describes; the text has both numbers."""


def unexplained(request: Request, config: Config, whole: Model, stored: Storage) -> int:
    """Bytes in addition to the layers of ``whole``, the model on one GPU: those of an encoder. Raises NotModelled or
    Contradiction."""
    if request.stored_bytes is not None:
        described = sum(map(stored.stored_bytes, matrices(whole)))
        there = _in_16_bits(request.stored_bytes, described, config, stored)
        message, size = f"its files hold {gib(there)} but config.json describes {gib(described)}", 1
    elif request.parameters is not None:
        there, described = request.parameters, sum(each.elements for each in matrices(whole))
        message = f"it is listed with {there / 1e9:.2f}e9 parameters but config.json describes {described / 1e9:.2f}e9"
        size = 2
    else:
        return 2 * _encoder(config) if whole.multimodal else 0
    more = there - described
    if whole.multimodal and more > -TOLERANCE * described:
        return max(0, more) * size
    if abs(more) <= TOLERANCE * described or (more > 0 and _speculative(config)):
        return 0
    raise Contradiction(message)


def _in_16_bits(there: int, described: int, config: Config, stored: Storage) -> int:
    """Bytes of the files once vLLM has converted them: it loads weights of 32 bits in 16. Old checkpoints do not state
    their type, which is 32 bits then."""
    stated = config.word("torch_dtype") or config.word("dtype") or config.text().word("torch_dtype")
    doubled = abs(there - 2 * described) <= 2 * TOLERANCE * described
    is_wide = stated.removeprefix("torch.") == "float32" or (not stated and doubled)
    return there // 2 if stored.method is None and is_wide else there


def encoder_parts(config: Config, tensor: int) -> int:
    """Number of GPUs that share an encoder: ``tensor``, or 1 if its heads can't be divided evenly."""
    vision = config.part("vision_config") or Config({})
    heads = vision.maybe("num_attention_heads", "num_heads") or 1
    return tensor if heads % tensor == 0 else 1


def matrices(model: Model) -> Iterator[Matrix]:
    """All parameters of a model."""
    yield from model.first
    for layer in model.layers:
        yield from layer.matrices
    yield from model.last


def _encoder(config: Config) -> int:
    """Approximate parameters of an image encoder, within some percent. Raises NotModelled if its size is not known."""
    vision = config.part("vision_config")
    if vision is None:
        raise NotModelled("its config.json has no vision_config, and the size of its weights is not given")
    hidden = vision.number("hidden_size", "embed_dim", "width")
    inner = vision.maybe("intermediate_size") or 4 * hidden
    layers = vision.number("num_hidden_layers", "depth", "num_layers", "layers")
    gated = 3 if vision.word("model_type") in ("pixtral", "qwen2_5_vl") else 2
    text = config.text().number("hidden_size")
    return layers * (4 * hidden * hidden + gated * hidden * inner) + 2 * hidden * text + text * text


def _speculative(config: Config) -> bool:
    """Whether the checkpoint has layers for speculative decoding, which are not loaded."""
    text = config.text()
    return bool(text.maybe("num_nextn_predict_layers") or text.maybe("mtp_num_hidden_layers"))
