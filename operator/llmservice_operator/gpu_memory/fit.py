"""Whether a model fits: ``fit(request)`` returns a ledger, a verdict, and suggestions. It never raises."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmservice_operator.gpu_memory import drafts
from llmservice_operator.gpu_memory.config import NotModelled
from llmservice_operator.gpu_memory.context_length import context_length
from llmservice_operator.gpu_memory.drafts import LoadedDraft
from llmservice_operator.gpu_memory.ledger import Fit, Ledger, Reason, Verdict, gib, tokens
from llmservice_operator.gpu_memory.matrix import Part
from llmservice_operator.gpu_memory.model import Indivisible, Layer, Model, stages
from llmservice_operator.gpu_memory.overheads import Overheads, account_of, free_at_start, load_seconds, overheads
from llmservice_operator.gpu_memory.pool import Numbers, Pool, Steps, pool, token_bytes
from llmservice_operator.gpu_memory.request import Request
from llmservice_operator.gpu_memory.sharded_model import ShardedModel
from llmservice_operator.gpu_memory.start_refusals import StartRefused, check
from llmservice_operator.gpu_memory.storage import Storage
from llmservice_operator.gpu_memory.suggestions import find, usable_share
from llmservice_operator.gpu_memory.weight_mismatch import Contradiction

CPU_BLOCK, CPU_LATENT_BLOCK = 128, 16
"""Tokens per block on a CPU."""


def fit(request: Request) -> Fit:
    """The verdict on ``request``, with suggestions if it does not fit. It reads and raises nothing: config.json is
    untrusted, so an error becomes the verdict Unknown."""
    return each_fit([request])[0]


def each_fit(requests: Sequence[Request]) -> list[Fit]:
    """As ``fit``, for requests about the same config.json, whose numbers are computed once."""
    sharded = ShardedModel(requests[0].config if requests else {})
    return [_answer(request, sharded) for request in requests]


def failed(request: Request, why: str) -> Fit:
    """The result if the estimate failed. ``why`` follows the words "the estimate"."""
    return _unknown(request, Reason.ESTIMATE_FAILED, f"the estimate {why}")


def _answer(request: Request, sharded: ShardedModel) -> Fit:
    try:
        found = _verdict(request, sharded)
        if found.verdict is not Verdict.DOES_NOT_FIT:
            return found
        return replace(found, suggestions=find(request, found, lambda other: _verdict(other, sharded)))
    except Exception as error:
        return failed(request, f"failed with {type(error).__name__}")


def _verdict(request: Request, sharded: ShardedModel) -> Fit:
    try:
        check(request)
        return _Sum.of(request, sharded).fit()
    except StartRefused as refusal:
        return _no(request, refusal.reason, str(refusal))
    except NotModelled as error:
        return _unknown(request, Reason.NOT_MODELLED, str(error))
    except Contradiction as error:
        return _unknown(request, Reason.WEIGHTS_UNEXPLAINED, str(error))
    except Indivisible as error:
        return _no(request, error.reason, f"{error}: choose another {error.field}")


@dataclass(frozen=True)
class _Stage:
    """One pipeline stage, on one of its GPUs."""

    layers: range
    """Layers that have a cache on it: those of the model, then those of its draft model."""
    parts: dict[Part, int]
    overheads: Overheads
    cache: int

    @property
    def weights(self) -> int:
        return sum(self.parts.values())

    @property
    def uses(self) -> int:
        """Bytes without a cache."""
        return self.weights + self.overheads.total


@dataclass(frozen=True)
class _Sum:
    """All numbers of one request."""

    request: Request
    model: Model
    layers: Sequence[Layer]
    """Those of the model, then those of its draft model."""
    pool: Pool
    numbers: Numbers
    stages: Sequence[_Stage]
    requested: int
    longest_asked: int
    model_maximum: int

    @classmethod
    def of(cls, request: Request, sharded: ShardedModel) -> _Sum:
        """Raises NotModelled, Contradiction or Indivisible."""
        model, stored = sharded.model(request.cut), sharded.storage(request.quantization)
        if len(model.layers) < request.pipeline:
            raise Indivisible.layers(len(model.layers), request.pipeline)
        more = sharded.more(request)
        numbers = Numbers(1 if _narrow(request, stored) else 2, prefixes=request.prefix_caching)
        block = model.block if not request.on_cpu else CPU_LATENT_BLOCK if model.block > 16 else CPU_BLOCK
        lengths = context_length(sharded.config)
        requested = request.cpu_cache or int(request.gpu.total * request.utilization)
        draft = drafts.of(request)
        layers = (*model.layers, *draft.layers)
        steps = Steps(request.in_flight)
        shared = sharded.pool(request.cut, block, numbers, steps)
        return cls(
            request=request,
            model=model,
            layers=layers,
            pool=pool(layers, block, numbers, steps) if draft.layers else shared,
            numbers=numbers,
            stages=[
                _stage(request, sharded, more, each, requested, draft)
                for each in stages(len(model.layers), request.pipeline)
            ],
            requested=requested,
            longest_asked=request.max_context or lengths.default,
            model_maximum=lengths.longest,
        )

    def fit(self) -> Fit:
        """The verdict."""
        block_bytes = [self.pool.block_bytes(stage.layers) for stage in self.stages]
        counts = [max(0, stage.cache) // size for stage, size in zip(self.stages, block_bytes, strict=True) if size]
        blocks = min(counts, default=0)
        least = min(range(len(self.stages)), key=lambda index: self.stages[index].cache)
        needed = self.pool.request_blocks(self.longest_asked)
        answer = Fit(
            Verdict.FITS,
            Reason.FITS,
            "",
            self._ledger(self.stages[least]),
            architecture=self.model.architecture,
            gpus=self.request.gpus,
            context=self.longest_asked,
            longest=self.pool.longest(blocks, self.model_maximum) if self._caches else self.model_maximum,
            concurrency=round(self.request.data * blocks / needed, 2) if needed else None,
            blocks=blocks,
            block_tokens=self.pool.groups[-1].page.block if self.pool.groups else None,
            block_bytes=block_bytes[least] or None,
            load_seconds=load_seconds(
                sum(stage.weights for stage in self.stages) * self.request.tensor * self.request.data
            ),
        )
        reason, message = self._trouble(self.stages[least], blocks, needed, answer.longest or 0)
        draft = self.request.draft
        if reason is None and draft is not None and draft.config is None:
            return replace(
                answer, verdict=Verdict.UNKNOWN, reason=Reason.NOT_MODELLED, message=drafts.uncounted(draft, answer)
            )
        if reason is None and self.request.data > 1 and self.model.has_experts:
            why = (
                f"parallelism.data is {self.request.data}: the engines of a mixture-of-experts model exchange tokens, "
                f"and the memory for that is not estimated; without it, {self._shares(self.stages[least])}"
            )
            return replace(answer, verdict=Verdict.UNKNOWN, reason=Reason.NOT_MODELLED, message=why)
        if reason is None and self._exceeds_share:
            why = f"{self._excess}. Time-slicing divides no memory, so the engine starts only while the others use less"
            return replace(answer, verdict=Verdict.UNKNOWN, reason=Reason.GPU_SHARED, message=f"{why}; {self._advice}")
        if reason is None:
            others = (
                f"; if the other pods on the GPU use no more than their part ({self._part})" if self._is_lent else ""
            )
            holds = f"; {answer.capacity}" if self._caches else ""
            return replace(answer, message=f"{self._shares(self.stages[least])}{holds}{others}")
        return replace(answer, verdict=Verdict.DOES_NOT_FIT, reason=reason, message=message)

    @property
    def _caches(self) -> bool:
        """Whether the model has a KV cache. vLLM gives all memory that is left to it, and nothing to an encoder."""
        return bool(self.pool.groups)

    @property
    def _free(self) -> int:
        """Bytes for a model without a KV cache. On a CPU there is no limit."""
        return sys.maxsize if self.request.on_cpu else free_at_start(self.request.gpu.total)

    @property
    def _exceeds_share(self) -> bool:
        """Whether more memory is requested than one of the pods that share the GPU can count on."""
        gpu = self.request.gpu
        return not self.request.on_cpu and gpu.replicas > 1 and self.request.utilization > gpu.share

    @property
    def _is_lent(self) -> bool:
        """Whether other pods could use more than their part of the GPU."""
        return not self.request.on_cpu and self.request.gpu.replicas > 1 and not self.request.gpu.limits_memory

    @property
    def _part(self) -> str:
        return f"{gib(int(self.request.gpu.total * self.request.gpu.share))} of {gib(self.request.gpu.total)}"

    @property
    def _excess(self) -> str:
        return (
            f"gpuMemoryUtilization {self.request.utilization:g} requests {gib(self.requested)}, but "
            f"{self.request.gpu.replicas} pods share the GPU: the part of each is {self._part}"
        )

    @property
    def _advice(self) -> str:
        share = usable_share(self.request.gpu)
        return f"set spec.engine.gpuMemoryUtilization to {share:g} or less in all of them"

    def _trouble(self, stage: _Stage, blocks: int, needed: int, longest: int) -> tuple[Reason | None, str]:
        asked, shares = self.longest_asked, self._shares(stage)
        if asked > self.model_maximum:
            return (
                Reason.CONTEXT_TOO_LONG,
                f"maxContextLength {asked} exceeds the model's maximum of {self.model_maximum} tokens",
            )
        if not self.request.on_cpu and self.requested > free_at_start(self.request.gpu.total):
            return (
                Reason.GPU_MEMORY_TAKEN,
                f"gpuMemoryUtilization {self.request.utilization:g} requests {gib(self.requested)} of each GPU, but "
                f"an empty one of {gib(self.request.gpu.total)} has {gib(free_at_start(self.request.gpu.total))} free",
            )
        if self._exceeds_share and self.request.gpu.limits_memory:
            return Reason.GPU_SHARED, f"{self._excess}, and MPS limits each pod to its part"
        if not self._caches and not self.request.on_cpu:
            more = f"{shares}; an empty GPU of {gib(self.request.gpu.total)} has {gib(self._free)} free"
            return (Reason.NO_ROOM_FOR_CACHE, more) if stage.uses > self._free else (None, "")
        if stage.cache <= 0:
            return Reason.NO_ROOM_FOR_CACHE, f"nothing is left for the KV cache: {shares}"
        if self._caches and needed > blocks - 1:
            wanted = max(self.pool.request_bytes(asked, each.layers) for each in self.stages)
            return (
                Reason.CACHE_TOO_SMALL,
                f"one request of {tokens(asked)} tokens needs {gib(wanted)} of KV cache per GPU but "
                f"{gib(stage.cache)} are left, for {longest} tokens: {shares}",
            )
        return None, ""

    def _shares(self, stage: _Stage) -> str:
        if not self._caches:
            overheads = "" if self.request.on_cpu else f", a step takes {gib(stage.overheads.total)}"
            return f"weights take {gib(stage.weights)} per GPU{overheads}, and there is no KV cache"
        if self.request.on_cpu:
            return f"weights {gib(stage.weights)}, KV cache {gib(stage.cache)}"
        beside = stage.overheads
        cache = f"KV cache {gib(stage.cache)}" if stage.cache >= 0 else f"{gib(-stage.cache)} too much"
        return (
            f"of {gib(self.requested)} per GPU weights take {gib(stage.weights)}, activation {gib(beside.activation)}, "
            f"CUDA graphs {gib(beside.graphs)}, other {gib(beside.outside)}, {cache}"
        )

    def _ledger(self, stage: _Stage) -> Ledger:
        return Ledger(
            total=self.request.gpu.total,
            requested=self.requested if self._caches else stage.uses,
            weights=stage.weights,
            activation=stage.overheads.activation,
            graphs=stage.overheads.graphs,
            outside=stage.overheads.outside,
            cache=stage.cache if self._caches else min(0, self._free - stage.uses),
            per_token=sum(
                token_bytes(cache, self.numbers) for index in stage.layers for cache in self.layers[index].caches
            ),
            parts=stage.parts,
        )


def _stage(
    request: Request, sharded: ShardedModel, more: int, layers: range, requested: int, draft: LoadedDraft
) -> _Stage:
    model, method = sharded.model(request.cut), request.quantization
    parts: Counter[Part] = Counter()
    for each in sharded.layers(request.cut, method)[layers.start : layers.stop]:
        parts.update(each)
    parts.update(sharded.bytes(model.tables, request.cut, method))
    first, last = layers.start == 0, layers.stop == len(model.layers)
    cached = range(layers.start, layers.stop + len(draft.layers)) if last else layers
    if first:
        parts.update(sharded.bytes(model.first, request.cut, method))
        parts.update({Part.OTHER: more} if more else {})
    if last:
        parts.update(sharded.bytes(model.last, request.cut, method))
        if model.tied and not first:
            parts.update(sharded.bytes(model.first, request.cut, method))
        parts.update({Part.DRAFT: draft.bytes} if draft.bytes else {})
    if request.lora is not None:
        parts[Part.OTHER] += _adapters(request, model, layers)
    if request.on_cpu:
        return _Stage(cached, dict(parts), Overheads(0, 0, 0), requested)
    beside = overheads(
        model,
        sharded.widths(request.cut),
        len(layers),
        request.tensor,
        request.pipeline,
        request.sequences,
        request.batched_tokens,
        account_of(request.vllm),
        compiled=request.compiled,
    )
    return _Stage(cached, dict(parts), beside, requested - sum(parts.values()) - beside.total)


def _adapters(request: Request, model: Model, layers: range) -> int:
    """Bytes that vLLM reserves for LoRA adapters, in 16 bits: for each linear layer, the embedding and the head."""
    lora = request.lora
    if lora is None:
        return 0
    beside = [each for index in layers for each in model.layers[index].matrices if each.linear]
    words = 2 * sum(each.rows + each.columns for each in model.first if each.part is Part.EMBEDDING)
    width = sum(each.copies * (max(each.merged, each.joined) * each.columns + each.rows) for each in beside)
    return 2 * lora.adapters * lora.rank * (width + words)


def _narrow(request: Request, stored: Storage) -> bool:
    """Whether keys and values are stored in 8 bits."""
    return request.cache_dtype.startswith("fp8") or (request.cache_dtype == "auto" and stored.cache_bits == 8)


def _unknown(request: Request, reason: Reason, why: str) -> Fit:
    return Fit(
        Verdict.UNKNOWN,
        reason,
        f"the operator can't estimate whether the model fits: {why}",
        Ledger(request.gpu.total, request.cpu_cache or int(request.gpu.total * request.utilization)),
        gpus=request.gpus,
    )


def _no(request: Request, reason: Reason, message: str) -> Fit:
    return replace(_unknown(request, reason, ""), verdict=Verdict.DOES_NOT_FIT, message=message)
