"""Suggestions: changes with which a model fits. Each change is estimated; those that fit are returned, cheapest
first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llmservice_operator.gpu_memory.gpus import GPU, KNOWN
from llmservice_operator.gpu_memory.ledger import Fit, Reason, Suggestion, Verdict
from llmservice_operator.gpu_memory.request import UTILIZATION, Request

Change = dict[str, str | int]
Try = tuple[Change, Request]
Evaluate = Callable[[Request], Fit]

MOST = 6
"""Maximum number of suggestions."""
SMALLEST_CONTEXT = 1024
"""A shorter context is not suggested."""
GPUS_PER_NODE = 8
"""Few nodes have more GPUs."""
MOST_GPUS = 16
"""Maximum number of GPUs of a suggestion."""
FINE_FP8 = 8.9
"""The lowest CUDA compute capability with arithmetic in fp8."""

_TENSOR = "spec.parallelism.tensor"
_PIPELINE = "spec.parallelism.pipeline"
_CONTEXT = "spec.model.maxContextLength"
_SEQUENCES = "spec.engine.maxNumSeqs"
_CACHE = "spec.quantization.kvCacheDtype"
_METHOD = "spec.quantization.method"
_UTILIZATION = "spec.engine.gpuMemoryUtilization"
_NODES = "spec.parallelism.nodesPerReplica"
_DATA = "spec.parallelism.data"
_PRODUCTS = "spec.accelerator.products"
_SPECULATIVE = "spec.engine.speculative"

_LOSS = {_CONTEXT: 1, _SPECULATIVE: 1, _CACHE: 2, _METHOD: 3}
"""Cost of a change, the lowest first: context length, precision of the cache, precision of the weights."""


def find(request: Request, found: Fit, evaluate: Evaluate) -> tuple[Suggestion, ...]:
    """Suggestions for ``found``, the verdict on ``request``: of each kind the smallest change that is enough.
    Changes that need no other GPUs come first, then more GPUs, then other GPUs. Two changes at once are suggested only
    if no single one is enough. Of several ways to use more GPUs, only those with the fewest remain."""
    on_gpu = not request.on_cpu
    same = [_shorter(request, found), _as_stored(request), _without_draft(request), _one_part(request)]
    if on_gpu:
        same += [_share(request), _fewer_sequences(request), _narrow_cache(request), _fp8(request)]
    suggestions = _each(same, evaluate)
    if on_gpu and not request.gpu.is_part:
        more = [_fewer_engines(request), _more_tensor(request), *_less_tensor(request, found), _pipeline(request)]
        suggestions += _fewest_gpus(_each(more, evaluate), request)
        suggestions += _each([_other_gpus(request, found)], evaluate)
    if on_gpu and not any(_same_gpus(each) for each in suggestions):
        pairs = _each(_two_at_once(request), evaluate)
        least = min((each.fit.gpus for each in suggestions if _PRODUCTS not in each.change), default=None)
        suggestions += [each for each in _fewest_gpus(pairs, request) if least is None or each.fit.gpus <= least]
    return tuple(_distinct(sorted(suggestions, key=_cost))[:MOST])


def _each(kinds: Iterable[Iterable[Try]], evaluate: Evaluate) -> list[Suggestion]:
    return [suggestion for kind in kinds if (suggestion := _first(kind, evaluate)) is not None]


def _fewest_gpus(suggestions: list[Suggestion], request: Request) -> list[Suggestion]:
    """Suggestions that need no more GPUs than now, and of the others those with the fewest GPUs."""
    now = request.gpus
    least = min((each.fit.gpus for each in suggestions if each.fit.gpus > now), default=0)
    return [each for each in suggestions if each.fit.gpus <= max(now, least)]


def _distinct(suggestions: list[Suggestion]) -> list[Suggestion]:
    """Without suggestions with the same change as an earlier one."""
    found: list[Suggestion] = []
    for each in suggestions:
        if each.change not in [known.change for known in found]:
            found.append(each)
    return found


def _first(tries: Iterable[Try], evaluate: Evaluate) -> Suggestion | None:
    results = ((change, evaluate(other)) for change, other in tries)
    return next((Suggestion(change, result) for change, result in results if result.verdict is Verdict.FITS), None)


def _shorter(request: Request, found: Fit) -> Iterator[Try]:
    length = found.longest or 0
    if found.reason is not Reason.CONTEXT_TOO_LONG:
        length = length // 64 * 64
    if length >= SMALLEST_CONTEXT:
        yield {_CONTEXT: length}, replace(request, max_context=length)


def usable_share(gpu: GPU) -> float:
    """The gpuMemoryUtilization with which as many engines start as there are replicas of a shared GPU."""
    return math.floor(100 * 0.95 * gpu.share) / 100


def _share(request: Request) -> Iterator[Try]:
    if request.gpu.replicas > 1:
        share = usable_share(request.gpu)
        yield {_UTILIZATION: f"{share:g}"}, replace(request, utilization=share)
        return
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


def _one_part(request: Request) -> Iterator[Try]:
    """One slice of a GPU, or one GPU that is shared."""
    if request.gpu.is_part and request.gpus > 1:
        fields = {_TENSOR: request.tensor, _PIPELINE: request.pipeline, _NODES: request.nodes, _DATA: request.data}
        change: Change = {field: 1 for field, value in fields.items() if value > 1}
        yield change, replace(request, tensor=1, pipeline=1, nodes=1, data=1)


def _as_stored(request: Request) -> Iterator[Try]:
    if request.quantization != "auto":
        yield {_METHOD: "auto"}, replace(request, quantization="auto")


def _without_draft(request: Request) -> Iterator[Try]:
    if request.draft is not None:
        yield {_SPECULATIVE: "none"}, replace(request, draft=None)


def _split(request: Request, tensor: int, pipeline: int) -> Iterator[Try]:
    """The model split over ``tensor`` x ``pipeline`` GPUs; on several nodes if no node is likely to have that many."""
    gpus, per_node = tensor * pipeline * request.data, max(GPUS_PER_NODE, request.gpus // request.nodes)
    nodes = request.nodes if gpus <= per_node * request.nodes else -(-gpus // per_node)
    if gpus > MOST_GPUS or gpus % nodes or (request.data > 1 and nodes > 1):
        return
    wanted = {
        _TENSOR: (tensor, request.tensor),
        _PIPELINE: (pipeline, request.pipeline),
        _NODES: (nodes, request.nodes),
    }
    change: Change = {field: value for field, (value, now) in wanted.items() if value != now}
    yield change, replace(request, tensor=tensor, pipeline=pipeline, nodes=nodes)


def _more_tensor(request: Request) -> Iterator[Try]:
    for tensor in (2, 4, 8, 16):
        if tensor > request.tensor:
            yield from _split(request, tensor, request.pipeline)


def _less_tensor(request: Request, found: Fit) -> Iterator[Iterable[Try]]:
    """A smaller tensor parallel size, for a model that can't be split by the current one. Each that fits is
    returned."""
    for tensor in (8, 4, 2, 1):
        if found.reason is Reason.HEADS_NOT_DIVISIBLE and tensor < request.tensor:
            yield _split(request, tensor, request.pipeline)


def _fewer_engines(request: Request) -> Iterator[Try]:
    """The same GPUs for fewer engines, each on more of them."""
    for times in (2, 4, 8, 16):
        if request.data % times == 0:
            tensor, data = times * request.tensor, request.data // times
            yield {_TENSOR: tensor, _DATA: data}, replace(request, tensor=tensor, data=data)


def _pipeline(request: Request) -> Iterator[Try]:
    for stages in (2, 4):
        if stages > request.pipeline:
            yield from _split(request, request.tensor, stages)
    if request.pipeline > 1:
        yield from _split(request, request.tensor, 1)


def _other_gpus(request: Request, found: Fit) -> Iterator[Try]:
    """Larger GPUs of the same vendor, and newer ones if these are too old. Slices have resources of their own."""
    larger = [
        gpu
        for gpu in KNOWN
        if gpu.vendor == request.vendor and (found.reason is Reason.GPU_TOO_OLD or gpu.total > 1.05 * request.gpu.total)
    ]
    for gpu in sorted(larger, key=lambda gpu: gpu.total):
        yield {_PRODUCTS: gpu.label}, replace(request, gpu=gpu)


def _two_at_once(request: Request) -> Iterator[Iterable[Try]]:
    """Both changes of each pair, the second one as small as possible."""
    for first, halfway in _fp8(request):
        yield (({**first, **second}, whole) for second, whole in _narrow_cache(halfway))
        if not request.gpu.is_part:
            yield (({**first, **second}, whole) for second, whole in _more_tensor(halfway))
    for tensor in (2, 4, 8):
        if tensor >= request.tensor and request.pipeline == 1 and not request.gpu.is_part:
            yield _split(request, tensor, 2)


def _same_gpus(suggestion: Suggestion) -> bool:
    return not {_TENSOR, _PIPELINE, _NODES, _PRODUCTS, _DATA} & set(suggestion.change)


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
