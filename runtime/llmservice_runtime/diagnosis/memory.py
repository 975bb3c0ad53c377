"""Rules for memory of the GPU and of the host. They quote vLLM's numbers if vLLM prints them."""

from __future__ import annotations

import math

from llmservice_contract import causes
from llmservice_runtime.diagnosis.rule import Advice, Found, Rule

GIB = r"[\d.]+"
LESS_PER_GPU = (
    "spread the model over more GPUs (spec.parallelism.tensor), quantize it (spec.quantization.method: fp8, or a "
    "quantized checkpoint), or take GPUs with more memory (spec.accelerator.products)"
)


def _shorter_context(found: Found) -> Advice:
    longest = found.groups["longest"]
    shorter = f"Set spec.model.maxContextLength to {longest or 'less than {length}'}{' or less' if longest else ''}"
    if found.on_cpu:
        more = f"raise spec.engine.kvCacheMemory to {math.ceil(found.number('needed'))}Gi or more"
    else:
        more = (
            "make room for more tokens: spec.quantization.kvCacheDtype: fp8, a higher "
            "spec.engine.gpuMemoryUtilization, or more GPUs per replica (spec.parallelism.tensor)"
        )
    return Advice(f"{shorter}, or {more}.", "spec.model.maxContextLength")


def _share_of_free(found: Found) -> Advice:
    total = found.number("total")
    share = math.floor(found.number("free") / total * 100) / 100 if total else 0
    lower = f", or set spec.engine.gpuMemoryUtilization to {share:.2f} or less" if share > 0 else ""
    return Advice(
        "End the other process on that GPU (a pod whose GPU isn't counted by Kubernetes, or one that hangs)"
        + lower
        + ".",
        "spec.engine.gpuMemoryUtilization",
    )


def _fewer_sequences(found: Found) -> Advice:
    half = max(1, int(found.number("sequences")) // 2)
    return Advice(
        f"Set spec.engine.maxNumSeqs to {half} or less, or lower spec.engine.gpuMemoryUtilization by 0.05.",
        "spec.engine.maxNumSeqs",
    )


def _smaller_host_cache(found: Found) -> Advice:
    fits = math.floor(found.number("free"))
    lower = f"Set spec.engine.kvCacheMemory to {fits}Gi or less" if fits else "The node has no room for any cache"
    return Advice(f"{lower}, or take a node with more memory; each rank has a cache of its own.", _CACHE)


_CACHE = "spec.engine.kvCacheMemory"

RULES = (
    Rule(
        causes.CACHE_TOO_SMALL,
        rf"max seq len \((?P<length>\d+)\), \((?P<needed>{GIB}) GiB KV cache is needed, which is larger than the "
        rf"available KV cache memory \((?P<free>{GIB}) GiB\)(?:.*estimated maximum model length is (?P<longest>\d+))?",
        "One request of {length} tokens needs {needed} GiB of KV cache, and there are {free} GiB.",
        _shorter_context,
    ),
    Rule(
        causes.NO_ROOM_FOR_CACHE,
        r"No available memory for the cache blocks",
        "The weights fill the memory that vLLM may take: nothing is left for the KV cache.",
        Advice(
            "Raise spec.engine.gpuMemoryUtilization, " + LESS_PER_GPU + ".",
            "spec.parallelism.tensor",
        ),
    ),
    Rule(
        causes.GPU_MEMORY_TAKEN,
        rf"Free memory on device (?P<device>\S+) \((?P<free>{GIB})/(?P<total>{GIB}) GiB\) on startup is less than "
        rf"desired GPU memory utilization \((?P<share>{GIB}), (?P<wanted>{GIB}) GiB\)",
        "Something else holds memory of GPU {device}: {free} of {total} GiB are free, and vLLM wants {wanted} GiB "
        "({share} of all).",
        _share_of_free,
    ),
    Rule(
        causes.GPU_OUT_OF_MEMORY,
        r"out of memory occurred when warming up sampler with (?P<sequences>\d+) dummy requests",
        "The GPU's memory ran out while vLLM tried a batch of {sequences} requests.",
        _fewer_sequences,
    ),
    Rule(
        causes.GPU_OUT_OF_MEMORY,
        r"Failed to load model - not enough GPU memory",
        "The weights don't fit into the memory of one GPU.",
        Advice("To need less on each, " + LESS_PER_GPU + ".", "spec.parallelism.tensor"),
    ),
    Rule(
        causes.HOST_OUT_OF_MEMORY,
        rf"Available memory on node (?P<node>\d+) \((?P<free>{GIB})/(?P<total>{GIB}) GiB\) on kv cache allocation is "
        rf"less than requested memory for kv \((?P<wanted>{GIB})",
        "The KV cache wants {wanted} GiB of host memory, and {free} of {total} GiB are free.",
        _smaller_host_cache,
    ),
    Rule(
        causes.HOST_OUT_OF_MEMORY,
        rf"Available memory on node (?P<node>\d+) \((?P<free>{GIB})/(?P<total>{GIB}) GiB\) on startup is less than "
        rf"desired CPU memory utilization \((?P<share>{GIB}), (?P<wanted>{GIB}) GiB\)",
        "vLLM wants {wanted} GiB of host memory, and {free} of {total} GiB are free.",
        Advice("State the size of the cache in spec.engine.kvCacheMemory.", _CACHE),
    ),
)

GENERAL_RULES = (
    Rule(
        causes.GPU_OUT_OF_MEMORY,
        r"(?:CUDA|HIP) out of memory(?:\. Tried to allocate (?P<wanted>[\d.]+ \w+)\.)?|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        "The GPU's memory ran out beside what vLLM had set aside.",
        Advice(
            "Lower spec.engine.gpuMemoryUtilization by 0.05 to leave more room beside the cache, or "
            "spec.engine.maxNumSeqs; if it ran out while the weights were loaded, " + LESS_PER_GPU + ".",
            "spec.engine.gpuMemoryUtilization",
        ),
    ),
    Rule(
        causes.HOST_OUT_OF_MEMORY,
        r"DefaultCPUAllocator: (?:can't|not enough memory)|Cannot allocate memory|^MemoryError",
        "The host's memory ran out.",
        Advice("Raise spec.resources.memory; on a CPU, or lower spec.engine.kvCacheMemory.", "spec.resources.memory"),
    ),
)
