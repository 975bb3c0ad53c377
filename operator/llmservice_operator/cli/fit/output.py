"""The fit check for people: the result, the memory estimate, and suggestions."""

from __future__ import annotations

from llmservice_operator.cli.terminal import table, wrapped
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.ledger import Fit, Verdict, gib, tokens

SHOWN = 50 << 20
"""Smallest size in bytes of a part that is shown."""
_HEADS = {
    Verdict.FITS: "Fits",
    Verdict.DOES_NOT_FIT: "Does not fit",
    Verdict.UNKNOWN: "Unknown",
}


_NOTHING_FITS = (
    "No suggestion fits: neither another setting, nor 16 of these GPUs, nor one larger GPU that is known. Choose a "
    "smaller or a quantized model."
)


def screen(gpu: GPU, fit: Fit) -> str:
    """The whole output, of at most about 25 lines."""
    where = f"{gpu.name}{f' x {fit.gpus}' if fit.gpus > 1 else ''}"
    sentence = fit.capacity.removeprefix("fits, ") if fit.verdict is Verdict.FITS else fit.message
    lines = [wrapped(f"{_HEADS[fit.verdict]} on {where}: {sentence}")]
    if fit.ledger.weights is not None:
        lines += ["", table(("PER GPU", "MEMORY", ""), _rows(fit)), *_beside(fit)]
    if fit.suggestions:
        lines += ["", "What would fit:", *(wrapped(f"  {suggestion.text}") for suggestion in fit.suggestions)]
    elif fit.verdict is Verdict.DOES_NOT_FIT:
        lines += ["", wrapped(_NOTHING_FITS)]
    return "\n".join(lines)


def _rows(fit: Fit) -> list[tuple[str, str, str]]:
    ledger = fit.ledger
    largest = sorted(ledger.parts.items(), key=lambda each: -each[1])
    parts = ", ".join(f"{part} {gib(size)}" for part, size in largest if size >= SHOWN)
    rows = [
        ("total", gib(ledger.total), ""),
        ("used by vLLM", gib(ledger.requested), ""),
        ("weights", gib(ledger.weights or 0), parts),
        ("activation", gib(ledger.activation or 0), ""),
        ("CUDA graphs", gib(ledger.graphs or 0), ""),
        ("non-torch", gib(ledger.outside or 0), ""),
        ("KV cache", gib(ledger.cache or 0), _per_token(ledger.per_token or 0)),
    ]
    return rows if ledger.total else [row for row in rows if row[0] in ("weights", "KV cache")]


def _per_token(size: int) -> str:
    return f"{size / 1024:.1f} KiB per token" if size else "the model keeps nothing of a request"


def _beside(fit: Fit) -> list[str]:
    known = []
    if fit.longest:
        known.append(f"maximum context length {tokens(fit.longest)} tokens")
    if fit.load_seconds:
        known.append(f"loading takes about {fit.load_seconds} s")
    return ["", "; ".join(known)] if known else []
