"""The runtime's environment as one frozen value.

Everything that is wrong is found before anything heavy is loaded, and is told at once: each problem names the
variable, its value and what is allowed. After `read_settings` no other module looks at these variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract import environment as env
from llmservice_contract.container import HTTP_PORT
from llmservice_contract.variable import BadValue, Value, shown
from llmservice_runtime.source import BadSource, Directory, Repository, Source, parse_source


class WrongSettings(Exception):
    """The environment cannot be served; `problems` are sentences for the person who set it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    accelerator: str = "nvidia"
    gpu_memory_utilization: float | None = None
    """Share of each GPU's memory, above 0 and at most 1."""
    max_sequences: int | None = None
    max_batched_tokens: int | None = None
    prefix_caching: bool | None = None
    attention: str = "auto"
    batch_timeout_ms: int | None = None
    """Has no effect without /v1/batch; kept so that the start can say so."""
    cpu_kv_cache_gib: int | None = None
    startup_budget_seconds: int | None = None
    port: int = HTTP_PORT


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
    source = _source(values, problems)
    problems.extend(_contradictions(values, source))
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
        accelerator=values.get("ACCELERATOR", "nvidia"),
        gpu_memory_utilization=values.get("GPU_MEMORY_UTILIZATION"),
        max_sequences=values.get("MAX_BATCH_SIZE"),
        max_batched_tokens=values.get("MAX_NUM_BATCHED_TOKENS"),
        prefix_caching=values.get("ENABLE_PREFIX_CACHING"),
        attention=_attention(values),
        batch_timeout_ms=values.get("BATCH_TIMEOUT_MS"),
        cpu_kv_cache_gib=values.get("CPU_KV_CACHE_GIB"),
        startup_budget_seconds=values.get("STARTUP_BUDGET_SECONDS"),
        port=values.get("PORT", HTTP_PORT),
    )


def _source(values: Mapping[str, Value], problems: list[str]) -> Source | None:
    text = values.get("MODEL_NAME")
    if text is None:
        return None
    try:
        return parse_source(str(text))
    except BadSource as error:
        problems.append(f"MODEL_NAME={shown(str(text))} is not allowed: {error}.")
        return None


def _attention(values: Mapping[str, Value]) -> str:
    backend = str(values.get("ATTENTION_BACKEND", "auto"))
    if values.get("ENABLE_FLASH_ATTENTION") is False and backend == "auto":
        return "triton"
    return backend


def _contradictions(values: Mapping[str, Value], source: Source | None) -> list[str]:
    """What each value allows alone but not together."""
    found = []
    if "MODEL_REVISION" in values and source is not None and not isinstance(source, Repository):
        kind = "a directory" if isinstance(source, Directory) else "S3"
        found.append(
            f"MODEL_REVISION={values['MODEL_REVISION']} is not allowed beside MODEL_NAME={source.argument}: {kind} has "
            "no revisions, only a hub's repository has."
        )
    flash, backend = values.get("ENABLE_FLASH_ATTENTION"), values.get("ATTENTION_BACKEND", "auto")
    if flash is False and backend == "flash":
        found.append("ENABLE_FLASH_ATTENTION=false contradicts ATTENTION_BACKEND=flash: take one of them out.")
    if flash is True and backend in ("triton", "flashinfer"):
        found.append(f"ENABLE_FLASH_ATTENTION=true contradicts ATTENTION_BACKEND={backend}: take one of them out.")
    return found + (_on_cpu(values) if values.get("ACCELERATOR") == "cpu" else _on_gpu(values))


def _on_cpu(values: Mapping[str, Value]) -> list[str]:
    found = []
    if "GPU_MEMORY_UTILIZATION" in values:
        found.append(
            f"GPU_MEMORY_UTILIZATION={values['GPU_MEMORY_UTILIZATION']} is not allowed with ACCELERATOR=cpu, which has "
            "no GPU memory: set CPU_KV_CACHE_GIB instead."
        )
    if int(str(values.get("PIPELINE_PARALLEL_SIZE", 1))) > 1:
        found.append(
            f"PIPELINE_PARALLEL_SIZE={values['PIPELINE_PARALLEL_SIZE']} is not allowed with ACCELERATOR=cpu: vLLM 0.32 "
            "starts so on a CPU but fails at the first request. Set it to 1 and use TENSOR_PARALLEL_SIZE."
        )
    if _attention(values) != "auto":
        name = "ATTENTION_BACKEND" if values.get("ATTENTION_BACKEND", "auto") != "auto" else "ENABLE_FLASH_ATTENTION"
        text = str(values[name]).lower()
        found.append(f"{name}={text} is not allowed with ACCELERATOR=cpu, which has one attention kernel: take it out.")
    return found


def _on_gpu(values: Mapping[str, Value]) -> list[str]:
    if "CPU_KV_CACHE_GIB" not in values:
        return []
    accelerator = values.get("ACCELERATOR", "nvidia")
    return [
        f"CPU_KV_CACHE_GIB={values['CPU_KV_CACHE_GIB']} is not allowed with ACCELERATOR={accelerator}: set "
        "GPU_MEMORY_UTILIZATION instead, or ACCELERATOR=cpu."
    ]
