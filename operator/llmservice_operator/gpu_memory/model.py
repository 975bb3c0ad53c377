"""A language model as a stack of layers, each with its parameters and its KV cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmservice_operator.gpu_memory.cache import Cache
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.ledger import Reason
from llmservice_operator.gpu_memory.matrix import Matrix, Part

TENSOR, PIPELINE, DATA = "parallelism.tensor", "parallelism.pipeline", "parallelism.data"


class Indivisible(Exception):
    """The model can't be split as requested. The text names the number, and ``field`` the field to change."""

    def __init__(self, text: str, reason: Reason = Reason.HEADS_NOT_DIVISIBLE, field: str = TENSOR) -> None:
        super().__init__(text)
        self.reason = reason
        self.field = field

    @classmethod
    def shares(cls, number: int, what: str, gpus: int, field: str = TENSOR) -> Indivisible:
        """``number`` of ``what`` can't be divided into ``gpus`` equal parts."""
        return cls(f"{number} {what} can't be divided among {gpus} GPUs", field=field)

    @classmethod
    def layers(cls, count: int, pipeline: int) -> Indivisible:
        """There are fewer layers than stages."""
        return cls(f"{count} layers can't be split into {pipeline} stages", Reason.TOO_FEW_LAYERS, PIPELINE)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on one GPU."""

    matrices: tuple[Matrix, ...]
    caches: tuple[Cache, ...] = ()
    """More than one if a layer has both attention and a recurrent state."""


@dataclass(frozen=True)
class Model:
    """A model split over GPUs, as on one of them. Pipeline stages are ranges of its layers."""

    architecture: str
    first: tuple[Matrix, ...]
    """Parameters of the first stage before the layers: the embedding, and the encoders of a multimodal model."""
    layers: tuple[Layer, ...]
    last: tuple[Matrix, ...]
    """Parameters of the last stage after the layers: the last norm and the head."""
    tied: bool
    """Whether the head is the embedding. A last stage that is not the first then has a copy of it."""
    hidden: int
    vocabulary: int
    block: int = 16
    """Tokens per block of the KV cache on a GPU, before it is adapted to a recurrent state."""
    multimodal: bool = False
    tables: tuple[Matrix, ...] = ()
    """Tables of positions, which every stage has and no file contains."""
    chosen: int = 0
    """Number of experts that compute a token; 0 for a dense model."""

    @property
    def has_experts(self) -> bool:
        """Whether it is a mixture of experts."""
        return any(matrix.part is Part.EXPERTS for layer in self.layers for matrix in layer.matrices)


@dataclass(frozen=True, slots=True)
class Cut:
    """How the layers are split: over ``tensor`` GPUs. Each of ``engines`` engines has all of them, except for the
    routed experts, which the GPUs of all engines share."""

    tensor: int
    engines: int = 1

    def share(self, number: int, what: str) -> int:
        """An equal part of ``number``. Raises Indivisible."""
        if number % self.tensor:
            raise Indivisible.shares(number, what, self.tensor)
        return number // self.tensor

    def gpus_of(self, matrix: Matrix) -> int:
        """Number of GPUs that share a matrix."""
        return self.tensor * (self.engines if matrix.copies > 1 else 1)

    def expert_share(self, inner: int) -> int:
        """Rows of each routed expert on one GPU. Raises Indivisible."""
        gpus = self.tensor * self.engines
        if inner % gpus:
            what = "rows of an expert (moe_intermediate_size)"
            raise Indivisible.shares(inner, what, gpus, TENSOR if inner % self.tensor else DATA)
        return inner // gpus

    def key_value_heads(self, heads: int) -> int:
        """Key and value heads on one GPU: an equal part, or one head that several GPUs share. Raises Indivisible."""
        if heads >= self.tensor:
            return self.share(heads, "key and value heads")
        if self.tensor % heads:
            raise Indivisible.shares(heads, "key and value heads", self.tensor)
        return 1

    def vocabulary(self, words: int, padding: int = 64) -> int:
        """Rows of an embedding on one GPU. vLLM pads the vocabulary to a multiple of 64. Raises Indivisible."""
        padded = -(-words // padding) * padding
        return self.share(padded, "words of the padded vocabulary")


Builder = Callable[[Config, Cut], Model]
"""Builds the model of an architecture from its config.json. Raises NotModelled or Indivisible."""


def stages(count: int, pipeline: int) -> Sequence[range]:
    """The layers of each pipeline stage. As in vLLM, remaining layers go to the stages before the last one, starting
    with the second last."""
    sizes = [count // pipeline] * pipeline
    for back in range(2, count % pipeline + 2):
        sizes[-back] += 1
    ends = [sum(sizes[: stage + 1]) for stage in range(pipeline)]
    return [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
