"""The fit check for programs: plain values, bytes and tokens as integers."""

from __future__ import annotations

from llmservice_operator.cli import wire
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.ledger import Fit, Ledger


def document(gpu: GPU, fit: Fit) -> wire.Fit:
    """The result with its memory estimate and its suggestions."""
    return wire.Fit(
        verdict=fit.verdict.value,
        reason=fit.reason.value,
        message=fit.message,
        architecture=fit.architecture or None,
        gpu=gpu.name,
        gpus=fit.gpus,
        per_gpu=_ledger(fit.ledger),
        context_length=fit.context,
        max_context_length=fit.longest,
        max_concurrency=fit.concurrency,
        kv_cache=wire.CachePart(blocks=fit.blocks, block_tokens=fit.block_tokens, block_bytes=fit.block_bytes),
        load_seconds=fit.load_seconds,
        suggestions=[
            wire.SuggestionPart(
                change=dict(suggestion.change),
                message=suggestion.text,
                gpus=suggestion.fit.gpus,
                per_gpu=_ledger(suggestion.fit.ledger),
                max_context_length=suggestion.fit.longest,
                max_concurrency=suggestion.fit.concurrency,
            )
            for suggestion in fit.suggestions
        ],
    )


def _ledger(ledger: Ledger) -> wire.LedgerPart:
    return wire.LedgerPart(
        total=ledger.total,
        requested=ledger.requested,
        weights=ledger.weights,
        activation=ledger.activation,
        cuda_graphs=ledger.graphs,
        non_torch=ledger.outside,
        kv_available=ledger.cache,
        kv_per_token=ledger.per_token,
        weights_by_part={part.value: size for part, size in sorted(ledger.parts.items())},
    )
