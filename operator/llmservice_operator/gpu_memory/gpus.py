"""GPUs: their memory as PyTorch reports it, and which defaults of vLLM they get.

The total memory is what the driver leaves to programs, which is less than the name of the GPU says. It comes from a
table of measured values, otherwise from the node label of GPU feature discovery, which is the driver's own total.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30
MIB = 1 << 20

MEMORY_LABEL = "nvidia.com/gpu.memory"
"""Node label of GPU feature discovery: the driver's total, in MiB."""

_VISIBLE = 0.985
"""Share of the driver's total that programs can use, if it was not measured: 0.97 to 0.99 on the GPUs below."""


@dataclass(frozen=True, slots=True)
class GPU:
    """One GPU model."""

    name: str
    total: int
    """Total memory in bytes, as PyTorch reports it."""
    capability: float | None = None
    """CUDA compute capability; None if it is not known, and for GPUs of other vendors."""

    @property
    def large(self) -> bool:
        """Whether vLLM uses its defaults for large GPUs: from 70 GiB, except on the A100."""
        return self.total >= 70 * GIB and "A100" not in self.name.upper()


def _gpu(name: str, gib: float, capability: float | None = None) -> GPU:
    return GPU(name, round(gib * GIB), capability)


KNOWN: tuple[GPU, ...] = (
    _gpu("NVIDIA-B300", 267.69, 10.3),
    _gpu("NVIDIA-B200", 178.35, 10.0),
    _gpu("NVIDIA-GB200", 184.31, 10.0),
    _gpu("NVIDIA-H200", 139.81, 9.0),
    _gpu("NVIDIA-H100-80GB-HBM3", 79.18, 9.0),
    _gpu("NVIDIA-H100-PCIe", 79.11, 9.0),
    _gpu("NVIDIA-H100-NVL", 93.11, 9.0),
    _gpu("NVIDIA-A100-SXM4-80GB", 79.25, 8.0),
    _gpu("NVIDIA-A100-80GB-PCIe", 79.25, 8.0),
    _gpu("NVIDIA-A100-SXM4-40GB", 39.49, 8.0),
    _gpu("NVIDIA-A100-PCIE-40GB", 39.49, 8.0),
    _gpu("NVIDIA-L40S", 44.39, 8.9),
    _gpu("NVIDIA-L40", 44.39, 8.9),
    _gpu("NVIDIA-L4", 22.03, 8.9),
    _gpu("NVIDIA-A10", 22.06, 8.6),
    _gpu("NVIDIA-A10G", 22.06, 8.6),
    _gpu("NVIDIA-RTX-A6000", 47.41, 8.6),
    _gpu("NVIDIA-RTX-6000-Ada-Generation", 47.37, 8.9),
    _gpu("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 94.97, 12.0),
    _gpu("NVIDIA-GeForce-RTX-5090", 31.36, 12.0),
    _gpu("NVIDIA-GeForce-RTX-4090", 23.52, 8.9),
    _gpu("NVIDIA-GeForce-RTX-3090", 23.56, 8.6),
    _gpu("Tesla-V100-SXM2-32GB", 31.73, 7.0),
    _gpu("Tesla-V100-SXM2-16GB", 15.77, 7.0),
    _gpu("Tesla-T4", 14.56, 7.5),
    _gpu("AMD-Instinct-MI300X-OAM", 191.69),
    _gpu("AMD-Instinct-MI325X-OAM", 255.98),
    _gpu("AMD-Instinct-MI250X", 63.98),
)

_SHORT: Mapping[str, str] = {
    "H100": "NVIDIA-H100-80GB-HBM3",
    "H100-80GB": "NVIDIA-H100-80GB-HBM3",
    "H100-SXM": "NVIDIA-H100-80GB-HBM3",
    "A100": "NVIDIA-A100-SXM4-80GB",
    "A100-80GB": "NVIDIA-A100-SXM4-80GB",
    "A100-40GB": "NVIDIA-A100-SXM4-40GB",
    "A10-24GB": "NVIDIA-A10",
    "A10G-24GB": "NVIDIA-A10G",
    "L4-24GB": "NVIDIA-L4",
    "RTX-4090": "NVIDIA-GeForce-RTX-4090",
    "RTX-3090": "NVIDIA-GeForce-RTX-3090",
    "RTX-5090": "NVIDIA-GeForce-RTX-5090",
    "A6000": "NVIDIA-RTX-A6000",
    "V100": "Tesla-V100-SXM2-32GB",
    "MI300X": "AMD-Instinct-MI300X-OAM",
    "MI325X": "AMD-Instinct-MI325X-OAM",
    "MI250X": "AMD-Instinct-MI250X",
}


def find(name: str) -> GPU | None:
    """The GPU with that name: the value of its node label, the same without the vendor, or a common short name. A
    shared GPU (``-SHARED``) counts as the same one. None for an unknown name and for a MIG slice."""
    wanted = _key(re.sub(r"-SHARED$", "", name.strip(), flags=re.IGNORECASE))
    by_key = {_key(gpu.name): gpu for gpu in KNOWN}
    without_maker = {
        re.sub(r"^(nvidia|tesla|amd-instinct|nvidia-geforce)-", "", key): gpu for key, gpu in by_key.items()
    }
    short = {_key(alias): by_key[_key(full)] for alias, full in _SHORT.items()}
    return by_key.get(wanted) or short.get(wanted) or without_maker.get(wanted)


def of_memory(gib: float, name: str = "") -> GPU:
    """A GPU with that many GiB, as PyTorch reports them."""
    return GPU(name or f"a GPU of {gib:g} GiB", round(gib * GIB))


def of_label(product: str, mebibytes: int) -> GPU:
    """The GPU of a node with these labels. The measured total is used if the product is known and the node has no slice
    of it."""
    known, reported = find(product), mebibytes * MIB
    if known is not None and abs(known.total - reported) <= 0.05 * reported:
        return known
    return GPU(product or "a GPU", round(reported * _VISIBLE), known.capability if known is not None else None)


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name).lower()
