"""A verdict as other programs read it: plain values, bytes and tokens as whole numbers."""

from typing import Any

from llmservice_operator.memory.ledger import Fit, Ledger


def told(fit: Fit) -> dict[str, Any]:
    """The verdict with its ledger and its remedies. ``perGPU`` is in bytes; what is not known is null."""
    return {
        "verdict": fit.verdict.value,
        "reason": fit.reason.value,
        "message": fit.message,
        "architecture": fit.architecture or None,
        "gpus": fit.gpus,
        "perGPU": _ledger(fit.ledger),
        "contextLength": fit.context,
        "maxContextLength": fit.longest,
        "maxConcurrency": fit.concurrency,
        "kvCache": {"blocks": fit.blocks, "blockTokens": fit.block_tokens, "blockBytes": fit.block_bytes},
        "loadSeconds": fit.load_seconds,
        "remedies": [
            {
                "change": dict(remedy.change),
                "message": remedy.text,
                "gpus": remedy.fit.gpus,
                "perGPU": _ledger(remedy.fit.ledger),
                "maxContextLength": remedy.fit.longest,
                "maxConcurrency": remedy.fit.concurrency,
            }
            for remedy in fit.remedies
        ],
    }


def _ledger(ledger: Ledger) -> dict[str, Any]:
    return {
        "total": ledger.total,
        "requested": ledger.requested,
        "weights": ledger.weights,
        "activation": ledger.activation,
        "cudaGraphs": ledger.graphs,
        "nonTorch": ledger.outside,
        "kvAvailable": ledger.cache,
        "kvPerToken": ledger.per_token,
        "weightsByPart": {part.value: size for part, size in sorted(ledger.parts.items())},
    }
