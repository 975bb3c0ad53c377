"""Values of several settings that exclude each other: each rule once, for the API server and for the runtime.

From a row follow the CEL rule of the CRD and what the runtime checks, which also runs without an operator. A setting
without a value excludes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import Convert, Runner
from llmservice_contract.setting import Setting


@dataclass(frozen=True, slots=True)
class Combination:
    """One rule. `{0}` and so on stand for the settings in their order."""

    settings: tuple[Setting[Any], ...]
    """What it is about; the first one is to be changed first."""
    excludes: Callable[..., bool]
    """Whether it excludes these values of the settings."""
    cel: str
    """The same in CEL, with a path for each setting."""
    message: str
    """What has to hold instead and why; without a full stop."""


COMBINATIONS = (
    Combination(
        (rows.MAX_NUM_BATCHED_TOKENS, rows.MAX_NUM_SEQS),
        lambda step, sequences: step < sequences,
        "{0} < {1}",
        "{0} must not be below {1}: each request of a batch takes at least one token",
    ),
    Combination(
        (rows.MAX_NUM_BATCHED_TOKENS, rows.MAX_CONTEXT_LENGTH, rows.CHUNKED_PREFILL),
        lambda step, context, chunked: step < context and not chunked,
        "{0} < {1} && !{2}",
        "{0} must not be below {1}: without chunked prefill ({2}) a prompt is computed in one step",
    ),
    Combination(
        (rows.CONVERT, rows.RUNNER),
        lambda made_into, runner: made_into != Convert.NONE and runner == Runner.GENERATE,
        f"{{0}} != '{Convert.NONE}' && {{1}} == '{Runner.GENERATE}'",
        f"{{0}} must be {Convert.NONE} with {{1}} {Runner.GENERATE}: what it makes of a model answers with no text",
    ),
    Combination(
        (rows.PIPELINE_PARALLEL, rows.SPECULATIVE_METHOD),
        lambda stages, method: stages > 1,
        "{0} > 1",
        "{0} must be 1 with {1}: vLLM does not support speculative decoding with pipeline stages",
    ),
    Combination(
        (rows.DATA_PARALLEL, rows.NODES_PER_REPLICA),
        lambda engines, nodes: engines > 1 and nodes > 1,
        "{0} > 1 && {1} > 1",
        "{0} must be 1 with {1} above 1: the engines of a replica run on one node",
    ),
)
