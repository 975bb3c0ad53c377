"""Rules for GPUs: too few, too old, missing or broken, and for models that they do not support."""

from __future__ import annotations

from llmservice_contract import causes
from llmservice_runtime.diagnosis.rule import Advice, Found, Rule

NEWER_GPU = Advice(
    "Choose another checkpoint or spec.quantization.method, or newer GPUs by spec.accelerator.products.",
    "spec.quantization.method",
)
DRIVER = Advice(
    "Have the node's administrator check it: `nvidia-smi` on the node, and the logs of the device plugin's pod there."
)


def _divisors(found: Found) -> Advice:
    heads = int(found.number("heads"))
    fitting = [str(size) for size in range(1, min(heads, 64) + 1) if heads % size == 0]
    return Advice(f"Set spec.parallelism.tensor to one of {', '.join(fitting)}.", "spec.parallelism.tensor")


def _attention(found: Found) -> Advice:
    if "kv_cache_dtype" in found.groups["why"]:
        return Advice(
            "Set spec.engine.attention to auto, or spec.quantization.kvCacheDtype to auto.", "spec.engine.attention"
        )
    return Advice("Set spec.engine.attention to auto: vLLM then takes the best that works.", "spec.engine.attention")


RULES = (
    Rule(
        causes.HEADS_NOT_DIVISIBLE,
        r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<ranks>\d+)\)",
        "The model's {heads} attention heads can't be shared equally by {ranks} devices.",
        _divisors,
    ),
    Rule(
        causes.PIPELINE_UNSUPPORTED,
        r"Pipeline parallelism is not supported for this model",
        "vLLM can't cut this model into pipeline stages.",
        Advice(
            "Set spec.parallelism.pipeline to 1 and raise spec.parallelism.tensor instead.", "spec.parallelism.pipeline"
        ),
    ),
    Rule(
        causes.TOO_FEW_GPUS,
        r"World size \((?P<ranks>\d+)\) is larger than the number of available GPUs \((?P<gpus>\d+)\)",
        "The replica needs {ranks} GPUs and its container sees {gpus}.",
        Advice(
            "Make spec.parallelism.tensor x spec.parallelism.pipeline no more than {gpus}, or see to it that one "
            "device of spec.accelerator.resourceName is one whole GPU.",
            "spec.parallelism.tensor",
        ),
    ),
    Rule(
        causes.GPU_TOO_OLD,
        r"quantization method (?P<method>\S+) is not supported for the current GPU\. Minimum capability: "
        r"(?P<least>\d+)\. Current capability: (?P<has>\d+)",
        "Weights quantized by {method} need a GPU of compute capability {least} (tenths), and this one has {has}.",
        NEWER_GPU,
    ),
    Rule(
        causes.GPU_TOO_OLD,
        r"Quantization scheme is not supported for the current GPU\. (?P<bound>\w+) capability: (?P<least>\d+)\. "
        r"Current capability: (?P<has>\d+)",
        "The checkpoint's quantization needs a GPU of compute capability {least} (tenths), and this one has {has}.",
        NEWER_GPU,
    ),
    Rule(
        causes.GPU_TOO_OLD,
        r"Bfloat16 is only supported on GPUs with compute capability of at least 8\.0\. Your (?P<gpu>.+?) GPU (?:has "
        r"compute capability (?P<has>[\d.]+))?",
        "The model is stored in bfloat16, which needs a GPU of compute capability 8.0, and {gpu} has {has}.",
        Advice(
            'Choose newer GPUs by spec.accelerator.products, or a checkpoint whose config.json says "float16".',
            "spec.accelerator.products",
        ),
    ),
    Rule(
        causes.ATTENTION_UNSUPPORTED,
        r"Selected backend (?:\w+\.)?(?P<backend>\S+) is not valid for this configuration\. Reason: (?P<why>.+)",
        "The attention kernels {backend} don't work here: {why}.",
        _attention,
    ),
    Rule(
        causes.CACHE_TYPE_UNSUPPORTED,
        r"No valid attention backend found for (?P<device>\S+) with "
        r".*?kv_cache_dtype='?(?P<type>(?!auto)\w+)'?.*kv_cache_dtype not supported",
        "No attention kernels of {device} can read a KV cache of type {type} with this model.",
        Advice("Set spec.quantization.kvCacheDtype to auto.", "spec.quantization.kvCacheDtype"),
    ),
    Rule(
        causes.ATTENTION_UNSUPPORTED,
        r"No valid attention backend found for (?P<device>\S+) with",
        "vLLM has no attention kernels for this model on {device}.",
        Advice(
            "Set spec.engine.attention and spec.quantization.kvCacheDtype to auto; if they are, other GPUs or a newer "
            "image.",
            "spec.engine.attention",
        ),
    ),
)

GENERAL_RULES = (
    Rule(
        causes.NO_GPU,
        r"No CUDA GPUs are available|Found no NVIDIA driver|Failed to infer device type|No HIP GPUs are available",
        "The container sees no GPU.",
        DRIVER,
    ),
    Rule(
        causes.NO_GPU,
        r"CUDA driver version is insufficient|NVIDIA driver on your system is too old"
        r"|CUDA error: no kernel image is available|forward compatibility was attempted on non supported HW",
        "The node's GPU or its driver is too old for the CUDA of this image.",
        Advice(
            "Update the node's driver, or choose other nodes by spec.accelerator.products or "
            "spec.scheduling.nodeSelector.",
            "spec.accelerator.products",
        ),
    ),
    Rule(
        causes.GPU_FAULT,
        r"(?P<what>(?:CUDA error|HIP error|cuBLAS error): [^\n]{1,160}|uncorrectable ECC error|GPU is lost)",
        "The GPU reported a fault: {what}.",
        Advice(
            "A restart helps if it happened only once. If it recurs on one node, its GPU is broken: drain the node "
            "and look for Xid lines in its kernel log. If it occurs on every node, set spec.engine.attention to triton "
            "and report it to vLLM.",
        ),
        "an error of vLLM's kernels, which then comes on every node",
    ),
)
