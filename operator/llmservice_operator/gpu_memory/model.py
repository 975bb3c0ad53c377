"""A language model as a stack of layers, each with its parameters and what it keeps of a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmservice_operator.gpu_memory.cache import Cache
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.ledger import Reason
from llmservice_operator.gpu_memory.matrix import Matrix

TENSOR, PIPELINE = "parallelism.tensor", "parallelism.pipeline"


class Indivisible(Exception):
    """The model can't be cut as asked; the text says which number, and ``field`` by which field."""

    def __init__(self, text: str, reason: Reason = Reason.HEADS_NOT_DIVISIBLE, field: str = TENSOR) -> None:
        super().__init__(text)
        self.reason = reason
        self.field = field

    @classmethod
    def shares(cls, number: int, what: str, tensor: int) -> Indivisible:
        """``number`` of something that so many GPUs can't have equal parts of."""
        return cls(f"{number} {what} can't be divided among {tensor} GPUs")

    @classmethod
    def layers(cls, count: int, pipeline: int) -> Indivisible:
        """Fewer layers than stages."""
        return cls(f"{count} layers can't be split into {pipeline} stages", Reason.TOO_FEW_LAYERS, PIPELINE)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the stack, on one GPU."""

    matrices: tuple[Matrix, ...]
    caches: tuple[Cache, ...] = ()
    """More than one where a layer has attention beside a recurrent state."""


@dataclass(frozen=True)
class Model:
    """A model cut over ``tensor`` GPUs, as one of them holds it; stages of a pipeline are cut from its layers."""

    architecture: str
    first: tuple[Matrix, ...]
    """What the first stage has before the layers: the embedding, and the encoders of a multimodal model."""
    layers: tuple[Layer, ...]
    last: tuple[Matrix, ...]
    """What the last stage has after them: the last norm and the head."""
    tied: bool
    """Whether the head is the embedding: a last stage that is not the first then has a copy of it."""
    hidden: int
    vocabulary: int
    context: int | None
    """Longest context that the model was made for, in tokens; None where config.json does not say."""
    block: int = 16
    """Tokens of a block of the KV cache before it is fitted to a recurrent state, on a GPU."""
    multimodal: bool = False
    tables: tuple[Matrix, ...] = ()
    """What every stage has and no file: tables of positions."""
    chosen: int = 0
    """Experts that compute a token; 0 for a dense model."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How the layers are shared: ``tensor`` GPUs side by side."""

    tensor: int

    def share(self, number: int, what: str) -> int:
        """An equal part of ``number``. Raises Indivisible."""
        if number % self.tensor:
            raise Indivisible.shares(number, what, self.tensor)
        return number // self.tensor

    def key_value_heads(self, heads: int) -> int:
        """Key and value heads of one GPU: an equal part, or one that several GPUs have. Raises Indivisible."""
        if heads >= self.tensor:
            return self.share(heads, "key and value heads")
        if self.tensor % heads:
            raise Indivisible.shares(heads, "key and value heads", self.tensor)
        return 1

    def vocabulary(self, words: int, padding: int = 64) -> int:
        """Rows of an embedding on one GPU: vLLM fills the vocabulary up to a multiple of 64. Raises Indivisible."""
        padded = -(-words // padding) * padding
        return self.share(padded, "words of the padded vocabulary")


Builder = Callable[[Config, Cut], Model]
"""How an architecture's layers follow from its config.json. Raises NotModelled or Indivisible."""


def stages(count: int, pipeline: int) -> Sequence[range]:
    """Which layers each stage of a pipeline has. As vLLM does it: what is left over goes to the stages before the last,
    the second-last first."""
    sizes = [count // pipeline] * pipeline
    for back in range(2, count % pipeline + 2):
        sizes[-back] += 1
    ends = [sum(sizes[: stage + 1]) for stage in range(pipeline)]
    return [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
