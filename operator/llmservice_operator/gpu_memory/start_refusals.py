"""Reasons other than memory for which the engine does not start: a quantization method that the checkpoint does not
support, and GPUs that are too old."""

from __future__ import annotations

from collections.abc import Mapping

from llmservice_contract.quantization import HOW_TO_STORE, Storage, storage
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.ledger import Reason
from llmservice_operator.gpu_memory.request import VLLM, Request
from llmservice_operator.gpu_memory.storage import quantization_config

LEAST_CAPABILITY = 7.5
"""The lowest CUDA compute capability for which the PyTorch of the runtime image has kernels."""
_LEAST_FOR: Mapping[str, float] = {"fbgemm-fp8": 8.0, "mxfp4": 8.0, "gpt-oss-mxfp4": 8.0}
"""The lowest compute capability for a storage method: `get_min_capability` of vLLM 0.32."""
_MODELOPT = 8.0
_MODELOPT_FP4 = 7.5


class StartRefused(Exception):
    """The engine would not start. The text is a user-visible message."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def check(request: Request) -> None:
    """Raises StartRefused if the engine would not start with this request."""
    stored = storage(request.config)
    _check_method(request, stored)
    _check_gpu(request, stored)


def _check_method(request: Request, stored: Storage) -> None:
    method = request.quantization
    if not stored.accepts(method):
        raise StartRefused(
            Reason.WRONG_CHECKPOINT,
            f"quantization.method {method} needs {HOW_TO_STORE[method]}, but config.json says that the weights are "
            f"{stored}: set quantization.method to auto, or choose another model",
        )
    if request.on_cpu and method == "fp8" and stored.method is None:
        raise StartRefused(
            Reason.WRONG_CHECKPOINT,
            "quantization.method fp8 needs weights that are stored in fp8 on a CPU, where vLLM can't quantize while it "
            "loads, but config.json says that they are not quantized: set quantization.method to auto",
        )


def _check_gpu(request: Request, stored: Storage) -> None:
    has = request.gpu.capability
    if has is None or request.on_cpu or request.vllm < VLLM:
        return
    if has < LEAST_CAPABILITY:
        raise StartRefused(
            Reason.GPU_TOO_OLD,
            f"{request.gpu.name} has compute capability {has:g}, and the runtime's PyTorch needs {LEAST_CAPABILITY:g} "
            "or more: choose a newer GPU",
        )
    least = _least(request.config, stored)
    if has < least:
        raise StartRefused(
            Reason.GPU_TOO_OLD,
            f"weights that are stored as {stored} need a GPU of compute capability {least:g} or more, and "
            f"{request.gpu.name} has {has:g}: choose a newer GPU, or another format of the model",
        )


def _least(config: Mapping[str, object], stored: Storage) -> float:
    if stored.method != "modelopt":
        return _LEAST_FOR.get(stored.method or "", LEAST_CAPABILITY)
    algorithm = str((quantization_config(Config(config)) or {}).get("quant_algo") or "").upper()
    return _MODELOPT if algorithm.startswith(("FP8", "MXFP8")) else _MODELOPT_FP4
