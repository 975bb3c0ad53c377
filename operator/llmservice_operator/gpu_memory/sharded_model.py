"""A model split over different numbers of GPUs, and its size in each storage format, for several verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmservice_operator.gpu_memory import architectures
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Cut, Model
from llmservice_operator.gpu_memory.overheads import Widths
from llmservice_operator.gpu_memory.pool import Numbers, Pool, Steps, pool
from llmservice_operator.gpu_memory.request import Request
from llmservice_operator.gpu_memory.storage import Storage, storage
from llmservice_operator.gpu_memory.weight_mismatch import encoder_parts, unexplained

Parts = Mapping[Part, int]


class ShardedModel:
    """The numbers of one model, each computed once. Its methods raise NotModelled or Indivisible."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = Config(config)
        self._models: dict[Cut, Model] = {}
        self._storages: dict[str, Storage] = {}
        self._layers: dict[tuple[Cut, str], list[Parts]] = {}
        self._widths: dict[Cut, Widths] = {}
        self._pools: dict[tuple[Cut, int, Numbers, Steps], Pool] = {}
        self._more: dict[tuple[int | None, int | None], int] = {}

    def model(self, cut: Cut) -> Model:
        """The model on one of the GPUs."""
        if cut not in self._models:
            self._models[cut] = architectures.build(self.config, cut)
        return self._models[cut]

    def storage(self, method: str) -> Storage:
        """How it is stored with the quantization ``method`` of the spec."""
        if method not in self._storages:
            self._storages[method] = storage(self.config, method)
        return self._storages[method]

    def widths(self, cut: Cut) -> Widths:
        """The model's widths on one of the GPUs."""
        if cut not in self._widths:
            self._widths[cut] = Widths.of(self.model(cut))
        return self._widths[cut]

    def pool(self, cut: Cut, block: int, numbers: Numbers, steps: Steps) -> Pool:
        """The pool of its KV cache."""
        key = (cut, block, numbers, steps)
        if key not in self._pools:
            self._pools[key] = pool(self.model(cut).layers, block, numbers, steps)
        return self._pools[key]

    def more(self, request: Request) -> int:
        """Bytes on each GPU of the first stage in addition to the layers; see ``unexplained``. Raises Contradiction
        too."""
        key = (request.stored_bytes, request.parameters)
        if key not in self._more:
            self._more[key] = unexplained(request, self.config, self.model(Cut(1)), self.storage("auto"))
        return self._more[key] // encoder_parts(self.config, request.tensor)

    def layers(self, cut: Cut, method: str) -> list[Parts]:
        """Bytes of each layer on one GPU, by part."""
        key = (cut, method)
        if key not in self._layers:
            self._layers[key] = [self.bytes(layer.matrices, cut, method) for layer in self.model(cut).layers]
        return self._layers[key]

    def bytes(self, matrices: tuple[Matrix, ...], cut: Cut, method: str) -> dict[Part, int]:
        """Bytes of these matrices on one GPU, by part."""
        stored = self.storage(method)
        parts: dict[Part, int] = {}
        for matrix in matrices:
            stored.check(matrix, cut.gpus_of(matrix))
            parts[matrix.part] = parts.get(matrix.part, 0) + stored.bytes(matrix)
        return parts
