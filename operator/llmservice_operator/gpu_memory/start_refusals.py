"""Reasons other than memory for which the engine does not start: a quantization method that the checkpoint does not
support, GPUs that are too old, and parts of GPUs over which a model can't be split."""

from __future__ import annotations

from collections.abc import Mapping

from llmservice_contract.quantization import HOW_TO_STORE, Storage, storage
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.gpus import GPU
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
    _check_parts(request)


def _check_parts(request: Request) -> None:
    """A CUDA process can use only one MIG slice, and slices have no peer-to-peer access (NVIDIA's MIG user guide). NCCL
    refuses two ranks on the same GPU."""
    devices, gpu = request.gpus, request.gpu
    if devices == 1 or request.on_cpu or not gpu.is_part:
        return
    fields = ("tensor", "pipeline", *(["data"] if request.data > 1 else []))
    why = (
        "is a slice of a GPU (MIG): a process can use only one slice"
        if gpu.is_slice
        else f"is shared by {_pods(gpu)}: several of them may be the same GPU, which NCCL refuses"
    )
    raise StartRefused(
        Reason.PARTS_OF_GPUS,
        f"{' x '.join(fields)} is {devices}, but {gpu.name} {why}. Set "
        f"{' and '.join(f'parallelism.{each}' for each in fields)} to 1, or choose whole GPUs or larger slices",
    )


def _pods(gpu: GPU) -> str:
    return f"{gpu.replicas} pods ({'MPS' if gpu.limits_memory else 'time-slicing'})"


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
