"""Default limits for memory and disk of engine pods.

Without a limit, a repository that is larger than the node's disk, or a memory leak, would affect every other pod of the
node. The limits follow from the spec and are far above the use of an engine, so that they only stop faults.
"""

import math

from llmservice_contract.adapters import MOST_BYTES_OF_ALL
from llmservice_contract.source import ObjectPrefix, Repository
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import adapters, devices, environment, loading, quantity
from llmservice_operator.resources.platform import Platform

AUTO, NONE, REQUEST = "Auto", "None", "Request"
"""Values of the platform's limits besides a quantity: computed as below, no limit, or (of CPU) what is requested."""

MEMORY_HEADROOM_GIB = 16
"""For vLLM's cache of decoded media, compilation, and requests."""
LOADING_GIB_PER_DEVICE = 32
"""Minimum host memory for loading; also if the size of the weights is unknown."""
STREAM_GIB_PER_DEVICE = 38
"""Buffer of each process that streams from S3: the streamer's default of 40 GB."""
CACHE_GIB = 32
"""Disk for compiled code and the cache of the hub client, in addition to the weights."""
SCRATCH_GIB = 16
"""For temporary files."""
LOGS_GIB = 2
MOST_DISK_GIB = 2048
"""Maximum; also if the size of the weights is unknown."""


def cpu_request(spec: LLMServiceSpec) -> str:
    """CPU request of the engine's container."""
    if spec.resources.cpu is not None:
        return str(spec.resources.cpu)
    count = str(devices.per_node(spec))
    limit = spec.resources.cpu_limit
    return count if limit is None else min(str(limit), count, key=quantity.parse)


def cpu(spec: LLMServiceSpec, platform: Platform) -> str | None:
    """CPU limit of the engine's container; None for no limit."""
    if spec.resources.cpu_limit is not None:
        return str(spec.resources.cpu_limit)
    if platform.cpu_limit == NONE:
        return None
    return cpu_request(spec) if platform.cpu_limit == REQUEST else _larger(platform.cpu_limit, cpu_request(spec))


def memory(spec: LLMServiceSpec, platform: Platform, requested_gib: int) -> str | None:
    """Memory limit of the engine's container; None for no limit. It includes /dev/shm.

    Weights are loaded through host memory, and stay there on a CPU: twice their size allows for a copy.
    """
    if spec.resources.memory is not None:
        return str(spec.resources.memory)
    if platform.memory_limit == NONE:
        return None
    if platform.memory_limit != AUTO:
        return _larger(platform.memory_limit, f"{requested_gib}Gi")
    count = devices.per_node(spec)
    weights = (loading.loaded_bytes(spec) or 0) / spec.parallelism.nodes_per_replica
    streamed = STREAM_GIB_PER_DEVICE * count if isinstance(spec.model.parsed_source, ObjectPrefix) else 0
    shared = math.ceil(quantity.parse(shared_memory(spec)) / quantity.GIB)
    for_loading = max(_gib(2 * weights), LOADING_GIB_PER_DEVICE * count)
    # What is offloaded lies in /dev/shm, and is requested already.
    offloaded = environment.kv_offload_gib(spec) if spec.resources.shared_memory is None else 0
    return f"{requested_gib + shared - offloaded + for_loading + streamed + MEMORY_HEADROOM_GIB}Gi"


def shared_memory(spec: LLMServiceSpec) -> str:
    """Size of /dev/shm."""
    own = max(2, devices.per_node(spec))
    return str(spec.resources.shared_memory or f"{own + environment.kv_offload_gib(spec)}Gi")


def disk(spec: LLMServiceSpec, platform: Platform) -> str | None:
    """Ephemeral storage limit of the engine's container, including logs; None for no limit."""
    own = _stated_disk(spec, platform)
    if own is not None:
        return None if own == NONE else own
    cache = 0 if spec.cache is not None else _cache_gib(spec)
    return f"{cache + SCRATCH_GIB + LOGS_GIB}Gi"


def cache(spec: LLMServiceSpec, platform: Platform) -> str | None:
    """Size of the volume for downloads and compiled code if it is on the node's disk; None for no limit."""
    own = _stated_disk(spec, platform)
    if own is not None:
        return None if own == NONE else own
    return f"{_cache_gib(spec)}Gi"


def scratch(spec: LLMServiceSpec, platform: Platform) -> str | None:
    """Size of /tmp; None for no limit."""
    return None if _stated_disk(spec, platform) == NONE else f"{SCRATCH_GIB}Gi"


def _stated_disk(spec: LLMServiceSpec, platform: Platform) -> str | None:
    """The limit in the spec or of the platform; None if it follows from the weights."""
    if spec.resources.ephemeral_storage is not None:
        return str(spec.resources.ephemeral_storage)
    return None if platform.ephemeral_storage_limit == AUTO else platform.ephemeral_storage_limit


def _cache_gib(spec: LLMServiceSpec) -> int:
    """Only weights of a hub are downloaded. Some repositories have them in two formats. Adapters are copied from
    wherever they are."""
    sizes = [
        loading.weight_bytes(spec) if isinstance(spec.model.parsed_source, Repository) else 0,
        _draft_bytes(spec),
    ]
    if None in sizes:
        return MOST_DISK_GIB
    copied = MOST_BYTES_OF_ALL if adapters.has_adapters(spec) else 0
    return min(MOST_DISK_GIB, CACHE_GIB + _gib(2 * sum(size or 0 for size in sizes) + copied))


def _draft_bytes(spec: LLMServiceSpec) -> float | None:
    """Size of a downloaded draft model in bytes, at most that of the model; None if unknown."""
    speculative = spec.engine.speculative
    if speculative is None or speculative.model is None or not isinstance(speculative.parsed_model, Repository):
        return 0
    parameters = loading.parameters_by_name(speculative.model)
    return loading.weight_bytes(spec) if parameters is None else 2 * parameters


def _gib(size: float) -> int:
    return math.ceil(size / quantity.GIB)


def _larger(one: str, other: str) -> str:
    return max(one, other, key=quantity.parse)
