"""Makes a request to the memory estimator from the spec of a service."""

from collections.abc import Mapping
from typing import Any

from llmservice_contract.accelerator import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.request import UTILIZATION, Request
from llmservice_operator.resources import environment, quantity


def question(
    spec: LLMServiceSpec,
    config: Mapping[str, Any],
    gpu: GPU,
    *,
    stored_bytes: int | None = None,
    parameters: int | None = None,
) -> Request:
    """The request whether the model of ``spec`` fits ``gpu``. ``config`` is its config.json, ``stored_bytes`` the size
    of its weight files and ``parameters`` their number, if known."""
    engine, cuts = spec.engine, spec.parallelism
    on_cpu = spec.accelerator.type is AcceleratorType.CPU
    return Request(
        config=config,
        gpu=gpu,
        tensor=cuts.tensor,
        pipeline=cuts.pipeline,
        quantization=spec.quantization.method.value,
        cache_dtype=spec.quantization.kv_cache_dtype.value,
        max_context=spec.model.max_context_length,
        max_sequences=engine.max_num_seqs,
        max_batched_tokens=engine.max_num_batched_tokens,
        utilization=float(engine.gpu_memory_utilization or UTILIZATION),
        prefix_caching=engine.prefix_caching is not False,
        stored_bytes=stored_bytes,
        parameters=parameters,
        cpu_cache=environment.cpu_kv_cache_gib(spec) * quantity.GIB if on_cpu else None,
    )
