"""Why an engine can exit: a name and an exit code for each cause that the runtime knows.

Names and codes are API: alerts and scripts match on them, and docs/operations.md explains each. The code identifies the
cause if the message is lost. Codes 1 and 2 (Python and its arguments), 64 to 78 (sysexits.h) and 126 to 165 (shell and
signals) are avoided.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from llmservice_contract import container


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why an engine exits."""

    name: str
    exit_code: int


WRONG_SETTINGS = Cause("WrongSettings", container.EXIT_WRONG_SETTINGS)
WRONG_CHECKPOINT = Cause("WrongCheckpoint", container.EXIT_WRONG_SETTINGS)
MODEL_UNREADABLE = Cause("ModelUnreadable", container.EXIT_NO_MODEL)
NO_ENGINE = Cause("NoEngine", container.EXIT_NO_ENGINE)

HEADS_NOT_DIVISIBLE = Cause("HeadsNotDivisible", 80)
CONTEXT_TOO_LONG = Cause("ContextTooLong", 81)
CACHE_TOO_SMALL = Cause("CacheTooSmall", 82)
NO_ROOM_FOR_CACHE = Cause("NoRoomForCache", 83)
GPU_MEMORY_TAKEN = Cause("GPUMemoryTaken", 84)
GPU_OUT_OF_MEMORY = Cause("GPUOutOfMemory", 85)
TOO_FEW_GPUS = Cause("TooFewGPUs", 86)
QUANTIZATION_MISMATCH = Cause("QuantizationMismatch", 87)
QUANTIZATION_UNKNOWN = Cause("QuantizationUnknown", 88)
GPU_TOO_OLD = Cause("GPUTooOld", 89)
ARCHITECTURE_UNKNOWN = Cause("ArchitectureUnknown", 90)
REMOTE_CODE = Cause("RemoteCode", 91)
NO_WEIGHTS = Cause("NoWeights", 92)
BROKEN_WEIGHTS = Cause("BrokenWeights", 93)
NO_TOKENIZER = Cause("NoTokenizer", 94)
BAD_CONFIG = Cause("BadConfig", 95)
ATTENTION_UNSUPPORTED = Cause("AttentionUnsupported", 96)
CACHE_TYPE_UNSUPPORTED = Cause("CacheTypeUnsupported", 97)
BATCH_TOO_SMALL = Cause("BatchTooSmall", 98)
PIPELINE_UNSUPPORTED = Cause("PipelineUnsupported", 99)
SPECULATION_UNSUPPORTED = Cause("SpeculationUnsupported", 100)
HUB_REFUSED = Cause("HubRefused", 101)
HUB_UNREACHABLE = Cause("HubUnreachable", 102)
STORE_REFUSED = Cause("StoreRefused", 103)
READY_TIMEOUT = Cause("ReadyTimeout", 104)
PORT_IN_USE = Cause("PortInUse", 105)
DISK_FULL = Cause("DiskFull", 106)
NO_PERMISSION = Cause("NoPermission", 107)
NO_GPU = Cause("NoGPU", 108)
HOST_OUT_OF_MEMORY = Cause("HostOutOfMemory", 109)
GPU_FAULT = Cause("GPUFault", 110)
RANKS_LOST = Cause("RanksLost", 111)
WRONG_ENGINE = Cause("WrongEngine", 112)
KILLED = Cause("Killed", 113)
ENGINE_DIED = Cause("EngineDied", 114)
RANKS_APART = Cause("RanksApart", 115)
OOM_KILLED = Cause("OOMKilled", 116)
ENGINE_TOO_OLD = Cause("EngineTooOld", 117)
STORE_UNREACHABLE = Cause("StoreUnreachable", 118)
ENGINE_HUNG = Cause("EngineHung", 119)
DIGEST_MISMATCH = Cause("DigestMismatch", 120)

UNKNOWN = Cause("Unknown", 1)
"""The exit code is vLLM's own, usually 1."""

CAUSES = tuple(value for value in tuple(globals().values()) if isinstance(value, Cause))
BY_NAME = MappingProxyType({cause.name: cause for cause in CAUSES})
