"""Suggestions: changes with which a model fits. Each change is estimated; those that fit are returned, cheapest
first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llmservice_operator.gpu_memory.gpus import KNOWN
from llmservice_operator.gpu_memory.ledger import Fit, Reason, Suggestion, Verdict
from llmservice_operator.gpu_memory.request import UTILIZATION, Request

Change = dict[str, str | int]
Try = tuple[Change, Request]
Evaluate = Callable[[Request], Fit]

MOST = 6
"""Maximum number of suggestions."""
SMALLEST_CONTEXT = 1024
"""A shorter context is not suggested."""
FINE_FP8 = 8.9
"""CUDA compute capability from which a GPU computes in fp8."""

_TENSOR = "spec.parallelism.tensor"
_PIPELINE = "spec.parallelism.pipeline"
_CONTEXT = "spec.model.maxContextLength"
_SEQUENCES = "spec.engine.maxNumSeqs"
_CACHE = "spec.quantization.kvCacheDtype"
_METHOD = "spec.quantization.method"
_UTILIZATION = "spec.engine.gpuMemoryUtilization"
_PRODUCTS = "spec.accelerator.products"

_LOSS = {_CONTEXT: 1, _CACHE: 2, _METHOD: 3}
"""Cost of a change, the lowest first: context length, precision of the cache, precision of the weights."""


def find(request: Request, found: Fit, evaluate: Evaluate) -> tuple[Suggestion, ...]:
    """Suggestions for ``found``, the verdict on ``request``: of each kind the smallest change that suffices. Changes
    with the same GPUs come first, then more GPUs, then other GPUs. Two changes are combined only if none suffices
    alone."""
    kinds = [
        _shorter(request, found),
        *(
            ()
            if request.on_cpu
            else (_share(request), _fewer_sequences(request), _narrow_cache(request), _fp8(request))
        ),
        *(() if request.on_cpu else (_tensor(request), _pipeline(request), _other_gpus(request))),
    ]
    suggestions = [suggestion for kind in kinds if (suggestion := _first(kind, evaluate)) is not None]
    if not any(_same_gpus(suggestion) for suggestion in suggestions) and not request.on_cpu:
        suggestions += [
            suggestion for kind in _two_at_once(request) if (suggestion := _first(kind, evaluate)) is not None
        ]
    return tuple(sorted(suggestions, key=_cost)[:MOST])


def _first(tries: Iterable[Try], evaluate: Evaluate) -> Suggestion | None:
    results = ((change, evaluate(other)) for change, other in tries)
    return next((Suggestion(change, result) for change, result in results if result.verdict is Verdict.FITS), None)


def _shorter(request: Request, found: Fit) -> Iterator[Try]:
    length = found.longest or 0
    if found.reason is not Reason.CONTEXT_TOO_LONG:
        length = length // 64 * 64
    if length >= SMALLEST_CONTEXT:
        yield {_CONTEXT: length}, replace(request, max_context=length)


def _share(request: Request) -> Iterator[Try]:
    for share in (0.95, UTILIZATION, 0.9):
        if (share > request.utilization) == (request.utilization <= UTILIZATION) and share != request.utilization:
            yield {_UTILIZATION: f"{share:g}"}, replace(request, utilization=share)


def _fewer_sequences(request: Request) -> Iterator[Try]:
    for count in (256, 64):
        if count < request.sequences:
            yield {_SEQUENCES: count}, replace(request, max_sequences=count)


def _narrow_cache(request: Request) -> Iterator[Try]:
    if request.cache_dtype == "auto" and (request.gpu.capability or 0) >= FINE_FP8:
        yield {_CACHE: "fp8"}, replace(request, cache_dtype="fp8")


def _fp8(request: Request) -> Iterator[Try]:
    """For a checkpoint that is not quantized, on a GPU that computes in fp8."""
    plain = not any(key in request.config for key in ("quantization_config", "compression_config"))
    if plain and request.quantization in ("auto", "none") and (request.gpu.capability or 0) >= FINE_FP8:
        yield {_METHOD: "fp8"}, replace(request, quantization="fp8")


def _tensor(request: Request) -> Iterator[Try]:
    larger = [size for size in (2, 4, 8, 16) if size > request.tensor and size * request.pipeline <= 16]
    smaller = [size for size in (8, 4, 2, 1) if size < request.tensor]
    for tensor in (*larger, *smaller):
        yield {_TENSOR: tensor}, replace(request, tensor=tensor)


def _pipeline(request: Request) -> Iterator[Try]:
    for stages in (2, 4):
        if stages > request.pipeline and stages * request.tensor <= 16:
            yield {_PIPELINE: stages}, replace(request, pipeline=stages)
    if request.pipeline > 1:
        yield {_PIPELINE: 1}, replace(request, pipeline=1)


def _other_gpus(request: Request) -> Iterator[Try]:
    larger = [gpu for gpu in KNOWN if gpu.total > 1.05 * request.gpu.total and gpu.name.startswith("NVIDIA")]
    for gpu in sorted(larger, key=lambda gpu: gpu.total):
        yield {_PRODUCTS: gpu.name}, replace(request, gpu=gpu)


def _two_at_once(request: Request) -> Iterator[Iterable[Try]]:
    """Both changes of each pair, the second one as small as possible."""
    for first, halfway in _fp8(request):
        yield (({**first, **second}, whole) for second, whole in _narrow_cache(halfway))
        yield (({**first, **second}, whole) for second, whole in _tensor(halfway))
    for tensor in (2, 4, 8):
        if tensor >= request.tensor and request.pipeline == 1:
            halfway = replace(request, tensor=tensor, pipeline=2)
            yield [({_TENSOR: tensor, _PIPELINE: 2}, halfway)]


def _same_gpus(suggestion: Suggestion) -> bool:
    return not {_TENSOR, _PIPELINE, _PRODUCTS} & set(suggestion.change)


def _cost(suggestion: Suggestion) -> tuple[bool, int, int, bool, float]:
    """Sort key: other GPUs, number of GPUs, loss, pipeline stages; then the concurrency."""
    loss = max((_LOSS.get(field, 0) for field in suggestion.change), default=0)
    return (
        _PRODUCTS in suggestion.change,
        suggestion.fit.gpus,
        loss,
        _PIPELINE in suggestion.change,
        -(suggestion.fit.concurrency or 0.0),
    )
