"""The values of settings with a fixed set of choices, for the resource and the engine's environment. The types of
devices are among them."""

from __future__ import annotations

from enum import StrEnum


class AcceleratorType(StrEnum):
    """Type of device."""

    NVIDIA = "nvidia"
    AMD = "amd"
    CPU = "cpu"


EVERY_DEVICE = frozenset(AcceleratorType)
GPUS = EVERY_DEVICE - {AcceleratorType.CPU}


class QuantizationMethod(StrEnum):
    """How the weights are stored or loaded."""

    AUTO = "auto"
    NONE = "none"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    AWQ = "awq"
    GPTQ = "gptq"


class KVCacheDtype(StrEnum):
    """Data type of the KV cache."""

    AUTO = "auto"
    FP8 = "fp8"
    FP8_E4M3 = "fp8_e4m3"
    FP8_E5M2 = "fp8_e5m2"


class AttentionBackend(StrEnum):
    """Attention kernels of vLLM."""

    AUTO = "auto"
    FLASH = "flash"
    TRITON = "triton"
    FLASHINFER = "flashinfer"


class SpeculativeMethod(StrEnum):
    """How draft tokens are proposed."""

    NGRAM = "ngram"
    DRAFT = "draft"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MTP = "mtp"

    @property
    def needs_model(self) -> bool:
        """Whether another model makes the tokens: ngram takes them from the text, mtp from layers of the model."""
        return self not in (SpeculativeMethod.NGRAM, SpeculativeMethod.MTP)


class Dtype(StrEnum):
    """Type of the numbers that the model is computed with."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class ModelFormat(StrEnum):
    """How configuration and tokenizer are stored."""

    HF = "hf"
    MISTRAL = "mistral"


class LoadFormat(StrEnum):
    """How safetensors are read."""

    SAFETENSORS = "safetensors"
    FASTSAFETENSORS = "fastsafetensors"
    RUNAI_STREAMER = "runai_streamer"
    DUMMY = "dummy"


class Runner(StrEnum):
    """What the engine makes of a model."""

    GENERATE = "generate"
    POOLING = "pooling"


class Convert(StrEnum):
    """What a model that generates text is made into."""

    NONE = "none"
    EMBED = "embed"
    CLASSIFY = "classify"


class StructuredOutputsBackend(StrEnum):
    """What compiles the grammars of structured answers."""

    AUTO = "auto"
    XGRAMMAR = "xgrammar"
    GUIDANCE = "guidance"


class LogFormat(StrEnum):
    """Format of the log line about each request."""

    TEXT = "text"
    JSON = "json"
