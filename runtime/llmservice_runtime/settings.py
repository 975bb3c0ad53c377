"""The runtime's environment as one frozen value.

Everything that is wrong is found before anything heavy is loaded, and is told at once: each problem names the
variable, its value and what is allowed. What belongs to the front (keys, policy, the store's login, the log's format)
is checked here and read there; no other module looks at these variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract import environment as env
from llmservice_contract.container import HTTP_PORT, METRICS_PORT
from llmservice_contract.source import BadSource, Source, parse_source
from llmservice_contract.variable import BadValue, Value, shown
from llmservice_runtime.contradictions import attention, contradictions


class WrongSettings(Exception):
    """The environment cannot be served; `problems` are sentences for the person who set it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Speculation:
    """Guessing tokens that the model then checks several at a time."""

    method: str
    tokens: int = env.DEFAULT_SPECULATIVE_TOKENS
    draft: Source | None = None
    """The small model; None for ngram."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve and how. None leaves the choice to vLLM."""

    source: Source
    revision: str | None = None
    """Commit, tag or branch of a hub's repository."""
    served_names: tuple[str, ...] = ()
    """Empty: the model answers to the value of MODEL_NAME."""
    max_context_length: int | None = None
    """Tokens of prompt and answer together."""
    quantization: str = "auto"
    kv_cache_dtype: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    nodes: int = 1
    """Over how many nodes one replica is spread."""
    node_rank: int = 0
    """Which of them this is; 0 is the one with the HTTP server."""
    master_address: str | None = None
    """Where rank 0 is; there with several nodes."""
    accelerator: str = "nvidia"
    gpu_memory_utilization: float | None = None
    """Share of each GPU's memory, above 0 and at most 1."""
    max_sequences: int | None = None
    max_batched_tokens: int | None = None
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None
    speculation: Speculation | None = None
    attention: str = "auto"
    group_secret: str | None = None
    """The file with the secret of the ranks of one replica."""
    batch_timeout_ms: int = 0
    """How long /v1/batch gathers."""
    cpu_kv_cache_gib: int | None = None
    startup_budget_seconds: int | None = None
    port: int = HTTP_PORT
    metrics_port: int = METRICS_PORT
    lame_duck_seconds: int = env.DEFAULT_LAME_DUCK_SECONDS
    drain_seconds: int = env.DEFAULT_DRAIN_SECONDS
    media_domains: tuple[str, ...] = ()
    """Domains that media may be fetched from, those of the platform included; empty: from none."""
    otlp_traces_endpoint: str | None = None
    trace_sampling: float = 1.0
    """Share of the requests whose client has not decided it."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`. Raises WrongSettings with every problem found."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in env.VARIABLES:
        text = environ.get(variable.name, "").strip()
        try:
            if text:
                values[variable.name] = variable.parse(text)
            elif variable.required:
                problems.append(f"{variable.name} is not set. {variable.description}")
        except BadValue as error:
            problems.append(str(error))
    source = _source("MODEL_NAME", values, problems)
    draft = _source("SPECULATIVE_MODEL", values, problems)
    problems.extend(contradictions(values, source, draft))
    if problems or source is None:
        raise WrongSettings(*problems)
    return Settings(
        source=source,
        revision=values.get("MODEL_REVISION"),
        served_names=values.get("SERVED_MODEL_NAMES", ()),
        max_context_length=values.get("MAX_CONTEXT_LENGTH"),
        quantization=values.get("QUANTIZATION_MODE", "auto"),
        kv_cache_dtype=values.get("KV_CACHE_DTYPE"),
        tensor_parallel=values.get("TENSOR_PARALLEL_SIZE", 1),
        pipeline_parallel=values.get("PIPELINE_PARALLEL_SIZE", 1),
        nodes=values.get("NODES_PER_REPLICA", 1),
        node_rank=values.get("NODE_RANK", 0),
        master_address=values.get("MASTER_ADDRESS"),
        group_secret=values.get("GROUP_SECRET"),
        accelerator=values.get("ACCELERATOR", "nvidia"),
        gpu_memory_utilization=values.get("GPU_MEMORY_UTILIZATION"),
        max_sequences=values.get("MAX_BATCH_SIZE"),
        max_batched_tokens=values.get("MAX_NUM_BATCHED_TOKENS"),
        prefix_caching=values.get("ENABLE_PREFIX_CACHING"),
        chunked_prefill=values.get("ENABLE_CHUNKED_PREFILL"),
        speculation=_speculation(values, draft),
        attention=attention(values),
        batch_timeout_ms=values.get("BATCH_TIMEOUT_MS", 0),
        cpu_kv_cache_gib=values.get("CPU_KV_CACHE_GIB"),
        startup_budget_seconds=values.get("STARTUP_BUDGET_SECONDS"),
        port=values.get("PORT", HTTP_PORT),
        metrics_port=values.get("METRICS_PORT", METRICS_PORT),
        lame_duck_seconds=values.get("LAME_DUCK_SECONDS", env.DEFAULT_LAME_DUCK_SECONDS),
        drain_seconds=values.get("DRAIN_SECONDS", env.DEFAULT_DRAIN_SECONDS),
        media_domains=(*values.get("MEDIA_DOMAINS", ()), *values.get("PLATFORM_MEDIA_DOMAINS", ())),
        otlp_traces_endpoint=values.get("OTLP_TRACES_ENDPOINT"),
        trace_sampling=values.get("TRACE_SAMPLING", 1.0),
    )


def _source(name: str, values: Mapping[str, Value], problems: list[str]) -> Source | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return parse_source(str(text))
    except BadSource as error:
        problems.append(f"{name}={shown(str(text))} is not allowed: {error}.")
        return None


def _speculation(values: Mapping[str, Value], draft: Source | None) -> Speculation | None:
    if "SPECULATIVE_METHOD" not in values:
        return None
    tokens = values.get("NUM_SPECULATIVE_TOKENS", env.DEFAULT_SPECULATIVE_TOKENS)
    return Speculation(str(values["SPECULATIVE_METHOD"]), int(str(tokens)), draft)
