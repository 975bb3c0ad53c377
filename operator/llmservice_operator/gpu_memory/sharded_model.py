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
        self._models: dict[int, Model] = {}
        self._storages: dict[str, Storage] = {}
        self._layers: dict[tuple[int, str], list[Parts]] = {}
        self._widths: dict[int, Widths] = {}
        self._pools: dict[tuple[int, int, Numbers, Steps], Pool] = {}
        self._more: dict[tuple[int | None, int | None], int] = {}

    def model(self, tensor: int) -> Model:
        """The model on one of ``tensor`` GPUs."""
        if tensor not in self._models:
            self._models[tensor] = architectures.build(self.config, Cut(tensor))
        return self._models[tensor]

    def storage(self, method: str) -> Storage:
        """How it is stored with the quantization ``method`` of the spec."""
        if method not in self._storages:
            self._storages[method] = storage(self.config, method)
        return self._storages[method]

    def widths(self, tensor: int) -> Widths:
        """The model's widths on one of ``tensor`` GPUs."""
        if tensor not in self._widths:
            self._widths[tensor] = Widths.of(self.model(tensor))
        return self._widths[tensor]

    def pool(self, tensor: int, block: int, numbers: Numbers, steps: Steps) -> Pool:
        """The pool of its KV cache."""
        key = (tensor, block, numbers, steps)
        if key not in self._pools:
            self._pools[key] = pool(self.model(tensor).layers, block, numbers, steps)
        return self._pools[key]

    def more(self, request: Request) -> int:
        """Bytes on each GPU of the first stage in addition to the layers; see ``unexplained``. Raises Contradiction
        too."""
        key = (request.stored_bytes, request.parameters)
        if key not in self._more:
            self._more[key] = unexplained(request, self.config, self.model(1), self.storage("auto"))
        return self._more[key] // encoder_parts(self.config, request.tensor)

    def layers(self, tensor: int, method: str) -> list[Parts]:
        """Bytes of each layer on one GPU, by part."""
        key = (tensor, method)
        if key not in self._layers:
            self._layers[key] = [self.bytes(layer.matrices, tensor, method) for layer in self.model(tensor).layers]
        return self._layers[key]

    def bytes(self, matrices: tuple[Matrix, ...], tensor: int, method: str) -> dict[Part, int]:
        """Bytes of these matrices on one GPU, by part."""
        stored = self.storage(method)
        parts: dict[Part, int] = {}
        for matrix in matrices:
            stored.check(matrix, tensor)
            parts[matrix.part] = parts.get(matrix.part, 0) + stored.bytes(matrix)
        return parts
