"""The loading budget: how long an engine may take to become ready before its start counts as failed.

It follows only from the spec: what is learned later must not change the pod template, because that would restart pods.
It is an upper bound: a crash ends a start at once, and the budget only ends one that hangs.
"""

import math
import re

from llmservice_contract.choices import QuantizationMethod
from llmservice_contract.engine_settings import STARTUP_BUDGET_SECONDS
from llmservice_contract.source import Claim
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices, quantity

BASE_SECONDS = 300
"""For imports, compilation, CUDA graphs and warm-up."""
LEAST_SECONDS = 600
MOST_SECONDS = STARTUP_BUDGET_SECONDS.maximum
UNKNOWN_SECONDS = 1800
"""If the size of the model is unknown."""

CLAIM_BYTES_PER_SECOND = 100_000_000
REMOTE_BYTES_PER_SECOND = 50_000_000

BYTES_PER_PARAMETER = {
    QuantizationMethod.INT8: 1.1,
    QuantizationMethod.INT4: 0.6,
    QuantizationMethod.AWQ: 0.6,
    QuantizationMethod.GPTQ: 0.6,
}
"""As stored, including embeddings in 16 bits. Other methods have 16 bits (2 bytes): fp8 quantizes while loading."""

_PARAMETERS = re.compile(r"(?<![A-Za-z0-9.])(?:([0-9]{1,3})x)?([0-9]{1,4}(?:\.[0-9]{1,3})?)([bBmM])(?![A-Za-z0-9])")
_EXPERTS = re.compile(r"(?<![A-Za-z0-9.])([0-9]{1,3})E(?![A-Za-z0-9])")

_PRODUCT_SIZE = re.compile(r"(?<![0-9])([0-9]{1,3}) ?GB", re.IGNORECASE)
_PRODUCTS_GB = {
    "GB300": 288,
    "GB200": 192,
    "B300": 288,
    "B200": 192,
    "GH200": 144,
    "H200": 141,
    "H100": 96,
    "H800": 80,
    "H20": 96,
    "A100": 80,
    "L40S": 48,
    "L40": 48,
    "RTX-PRO-6000": 96,
    "RTX-6000-Ada": 48,
    "A6000": 48,
    "A40": 48,
    "A30": 24,
    "A10": 24,
    "L4": 24,
    "V100": 32,
    "T4": 16,
    "MI355X": 288,
    "MI350X": 288,
    "MI325X": 256,
    "MI308X": 192,
    "MI300X": 192,
    "MI300A": 128,
    "MI250": 128,
    "MI210": 64,
}
"""Memory in GB of products whose label does not include it. The first name that occurs in the label counts."""


def budget_seconds(spec: LLMServiceSpec) -> int:
    """Seconds from an engine's start until it must be ready, from 600 to 86400."""
    size = loaded_bytes(spec)
    if size is None:
        return UNKNOWN_SECONDS
    claim = isinstance(spec.model.parsed_source, Claim)
    rate = CLAIM_BYTES_PER_SECOND if claim else REMOTE_BYTES_PER_SECOND
    return min(MOST_SECONDS, max(LEAST_SECONDS, BASE_SECONDS + math.ceil(size / rate)))


def weight_bytes(spec: LLMServiceSpec) -> float | None:
    """Size of the weights in bytes: spec.model.size, otherwise by the model's name, otherwise the memory of the GPUs;
    None if unknown."""
    if spec.model.size is not None:
        return float(quantity.parse(spec.model.size))
    parameters = parameters_by_name(spec.model.source)
    if parameters is not None:
        return parameters * BYTES_PER_PARAMETER.get(spec.quantization.method, 2.0)
    return _device_memory_bytes(spec)


def loaded_bytes(spec: LLMServiceSpec) -> float | None:
    """Size in bytes of the weights that all engines of a replica load, at most what fits their GPUs; None if
    unknown."""
    size = weight_bytes(spec)
    if size is None or spec.parallelism.engines == 1:
        return size
    return min(size * spec.parallelism.engines, _device_memory_bytes(spec) or math.inf)


def _device_memory_bytes(spec: LLMServiceSpec) -> float | None:
    """Memory of all GPUs of a replica; None if unknown."""
    memories = [_product_gb(product) for product in spec.accelerator.products or ()]
    known = [memory for memory in memories if memory is not None]
    if not known or len(known) < len(memories):
        return None
    return max(known) * 1e9 * devices.per_replica(spec)


def parameters_by_name(source: str) -> float | None:
    """The number of parameters in a model's name, such as 8e9 for ``Llama-3.1-8B`` and 56e9 for ``8x7B``; None without.

    The largest number counts, so ``30B-A3B`` is 30e9. A number of experts such as ``16E`` multiplies it.
    """
    found = [
        int(times or 1) * float(number) * (1e9 if unit in "bB" else 1e6)
        for times, number, unit in _PARAMETERS.findall(source)
    ]
    if not found:
        return None
    experts = _EXPERTS.search(source)
    return max(found) * (int(experts[1]) if experts else 1)


def _product_gb(product: str) -> int | None:
    stated = _PRODUCT_SIZE.search(product)
    if stated:
        return int(stated[1])
    return next((memory for name, memory in _PRODUCTS_GB.items() if name.lower() in product.lower()), None)
