"""The weights and layers of the draft model of speculative decoding.

vLLM splits it over the GPUs of one stage like the model, loads it on the last stage, and stores its keys and values in
the same blocks. Its activations are smaller than the model's and are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmservice_operator.gpu_memory.config import NotModelled
from llmservice_operator.gpu_memory.ledger import Fit
from llmservice_operator.gpu_memory.model import Layer
from llmservice_operator.gpu_memory.request import Draft, Request
from llmservice_operator.gpu_memory.sharded_model import ShardedModel

_STORED = "auto"
"""spec.quantization.method does not apply to the draft model: it is loaded as it is stored."""


@dataclass(frozen=True, slots=True)
class LoadedDraft:
    """A draft model on one GPU of the last stage."""

    layers: Sequence[Layer] = ()
    bytes: int = 0
    """Size of its weights."""


NONE = LoadedDraft()


def of(request: Request) -> LoadedDraft:
    """The request's draft model; NONE without one, or if its config.json is not known. Raises NotModelled."""
    draft = request.draft
    if draft is None or draft.config is None:
        return NONE
    sharded = ShardedModel(draft.config)
    try:
        model = sharded.model(request.cut)
        matrices = (
            *model.first,
            *(each for layer in model.layers for each in layer.matrices),
            *model.last,
            *model.tables,
        )
        weights = sum(sharded.bytes(matrices, request.cut, _STORED).values())
    except NotModelled as error:
        raise NotModelled(f"its draft model {draft.name} is not known: {error}") from None
    return LoadedDraft(model.layers, weights)


def uncounted(draft: Draft, found: Fit) -> str:
    """The message for a model that fits without its draft model, whose size is not known."""
    return (
        f"without its draft model {draft.name}, whose config.json is not known, the model {found.capacity}; "
        "the draft model needs more memory for its own weights and KV cache"
    )
