"""What the environment's values don't allow together, found before anything heavy is loaded.

Each function returns sentences for the person who set the values: which of them, and what to change.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmservice_contract.container import HTTP_PORT, METRICS_PORT
from llmservice_contract.environment import SPECULATIVE_METHODS
from llmservice_contract.source import Directory, Repository, Source
from llmservice_contract.variable import Value, shown


def attention(values: Mapping[str, Value]) -> str:
    """Which attention kernels the two variables for them ask for together."""
    backend = str(values.get("ATTENTION_BACKEND", "auto"))
    if values.get("ENABLE_FLASH_ATTENTION") is False and backend == "auto":
        return "triton"
    return backend


def contradictions(values: Mapping[str, Value], source: Source | None, draft: Source | None) -> list[str]:
    """What each value allows alone but not together, as sentences."""
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
    found += _nodes(values) + _too_short_a_step(values) + _speculation(values, source, draft)
    if "TRACE_SAMPLING" in values and "OTLP_TRACES_ENDPOINT" not in values:
        found.append(
            f"TRACE_SAMPLING={values['TRACE_SAMPLING']} is not allowed without OTLP_TRACES_ENDPOINT: set that, or take "
            "it out."
        )
    port, metrics_port = _number(values, "PORT", HTTP_PORT), _number(values, "METRICS_PORT", METRICS_PORT)
    if port == metrics_port:
        found.append(f"PORT and METRICS_PORT are both {port}. Set METRICS_PORT to another port.")
    return found + (_on_cpu(values) if values.get("ACCELERATOR") == "cpu" else _on_gpu(values))


def _nodes(values: Mapping[str, Value]) -> list[str]:
    nodes, rank = _number(values, "NODES_PER_REPLICA", 1), _number(values, "NODE_RANK", 0)
    tensor, pipeline = _number(values, "TENSOR_PARALLEL_SIZE", 1), _number(values, "PIPELINE_PARALLEL_SIZE", 1)
    found = []
    if rank >= nodes:
        found.append(f"NODE_RANK={rank} is not allowed: it has to be below NODES_PER_REPLICA={nodes}.")
    if nodes > 1 and "MASTER_ADDRESS" not in values:
        found.append(f"NODES_PER_REPLICA={nodes} needs a MASTER_ADDRESS, the host name or address of rank 0.")
    if tensor * pipeline % nodes:
        found.append(
            f"NODES_PER_REPLICA={nodes} is not allowed with TENSOR_PARALLEL_SIZE={tensor} and "
            f"PIPELINE_PARALLEL_SIZE={pipeline}: each node needs an equal part of the {tensor * pipeline} devices. Set "
            "it to a number that divides them."
        )
    return found


def _number(values: Mapping[str, Value], name: str, absent: int) -> int:
    return int(str(values.get(name, absent)))


def _speculation(values: Mapping[str, Value], source: Source | None, draft: Source | None) -> list[str]:
    method, model = values.get("SPECULATIVE_METHOD"), values.get("SPECULATIVE_MODEL")
    if method is None:
        return [
            f"{name}={values[name]} is not allowed without SPECULATIVE_METHOD: set that to "
            f"{' or '.join(SPECULATIVE_METHODS)}, or take it out."
            for name in ("SPECULATIVE_MODEL", "NUM_SPECULATIVE_TOKENS")
            if name in values
        ]
    found = []
    if method == "ngram" and model is not None:
        found.append("SPECULATIVE_MODEL is not allowed with SPECULATIVE_METHOD=ngram, which needs no model.")
    if method == "draft" and model is None:
        found.append("SPECULATIVE_METHOD=draft needs a SPECULATIVE_MODEL, the small model that guesses.")
    if int(str(values.get("PIPELINE_PARALLEL_SIZE", 1))) > 1:
        found.append(
            f"PIPELINE_PARALLEL_SIZE={values['PIPELINE_PARALLEL_SIZE']} is not allowed with "
            f"SPECULATIVE_METHOD={method}: set it to 1 and use TENSOR_PARALLEL_SIZE."
        )
    if draft is not None and source is not None and not _reads_from_the_same_place(draft, source):
        found.append(
            f"SPECULATIVE_MODEL={shown(str(model))} is not allowed beside MODEL_NAME={source.argument}: both have to "
            "be directories, or repositories of the same hub."
        )
    return found


def _reads_from_the_same_place(draft: Source, source: Source) -> bool:
    match draft, source:
        case Directory(), Directory():
            return True
        case Repository(endpoint=one), Repository(endpoint=other):
            return one == other
    return False


def _too_short_a_step(values: Mapping[str, Value]) -> list[str]:
    context, step = values.get("MAX_CONTEXT_LENGTH"), values.get("MAX_NUM_BATCHED_TOKENS")
    sequences = values.get("MAX_BATCH_SIZE")
    found = []
    whole = values.get("ENABLE_CHUNKED_PREFILL") is False
    if whole and isinstance(context, int) and isinstance(step, int) and step < context:
        found.append(
            f"MAX_NUM_BATCHED_TOKENS={step} is below MAX_CONTEXT_LENGTH={context}, which ENABLE_CHUNKED_PREFILL=false "
            f"does not allow: a prompt has to fit into one step. Set it to {context} at least."
        )
    if isinstance(sequences, int) and isinstance(step, int) and step < sequences:
        found.append(
            f"MAX_NUM_BATCHED_TOKENS={step} is below MAX_BATCH_SIZE={sequences}: each sequence needs a token in a "
            f"step. Set it to {sequences} at least."
        )
    return found


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
    if "SPECULATIVE_METHOD" in values:
        found.append(
            f"SPECULATIVE_METHOD={values['SPECULATIVE_METHOD']} is not allowed with ACCELERATOR=cpu: vLLM 0.32 answers "
            "wrongly there when a request has a temperature. Take it out."
        )
    if attention(values) != "auto":
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
