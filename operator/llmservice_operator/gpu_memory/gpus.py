"""GPUs: their memory as PyTorch reports it, and which defaults of vLLM they get.

The total memory is what the driver leaves to programs, which is less than the name of the GPU says. It comes from a
table of measured values, otherwise from the node label of GPU feature discovery, which is the driver's own total.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    """CUDA compute capability; None if it is not known, or for GPUs of another vendor."""
    is_slice: bool = False
    """Whether it is a slice of a GPU (MIG). A model can't be split over several slices."""
    replicas: int = 1
    """Number of pods that can get the same GPU at once (time-slicing or MPS). A model can't be split over several of
    them either, because they may be the same GPU."""
    limits_memory: bool = False
    """Whether each of these pods can only use its part of the memory (MPS). Otherwise they share all of it."""

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a GPU: a slice, or shared with other pods."""
        return self.is_slice or self.replicas > 1

    @property
    def share(self) -> float:
        """The part of its memory that each pod can count on."""
        return 1 / max(1, self.replicas)

    @property
    def vendor(self) -> str | None:
        """The vendor, as in ``spec.accelerator.type``; None if the name does not contain it."""
        begins = {"NVIDIA": "nvidia", "Tesla": "nvidia", "AMD": "amd"}
        return next((vendor for begin, vendor in begins.items() if self.name.startswith(begin)), None)

    @property
    def label(self) -> str:
        """The value of the node label of its product: AMD's labeller writes underscores."""
        return self.name.replace("-", "_") if self.name.startswith("AMD") else self.name

    @property
    def large(self) -> bool:
        """Whether vLLM uses its defaults for large GPUs: from 70 GiB, except on the A100."""
        return self.total >= 70 * GIB and "A100" not in self.name.upper()


def _gpu(name: str, gib: float, capability: float | None = None) -> GPU:
    return GPU(name, round(gib * GIB), capability)


def _unmeasured(name: str, mebibytes: int, capability: float | None = None) -> GPU:
    """A GPU of which only the total memory that the driver reports is known."""
    return GPU(name, round(mebibytes * MIB * _VISIBLE), capability)


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
    _unmeasured("NVIDIA-GB300", 284_208, 10.3),
    _unmeasured("NVIDIA-H200-NVL", 143_771, 9.0),
    _unmeasured("NVIDIA-H20", 97_871, 9.0),
    _unmeasured("NVIDIA-H800", 81_559, 9.0),
    _unmeasured("NVIDIA-A800-SXM4-80GB", 81_920, 8.0),
    _unmeasured("NVIDIA-A40", 46_068, 8.6),
    _unmeasured("NVIDIA-A30", 24_576, 8.0),
    _unmeasured("NVIDIA-L20", 46_068, 8.9),
    _unmeasured("NVIDIA-RTX-A5000", 24_564, 8.6),
    _unmeasured("NVIDIA-RTX-5000-Ada-Generation", 32_760, 8.9),
    _unmeasured("AMD-Instinct-MI355X-OAM", 294_896),
    _unmeasured("AMD-Instinct-MI350X-OAM", 294_896),
    _unmeasured("AMD-Instinct-MI308X-OAM", 196_592),
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
    "MI355X": "AMD-Instinct-MI355X-OAM",
    "MI350X": "AMD-Instinct-MI350X-OAM",
    "MI308X": "AMD-Instinct-MI308X-OAM",
    "A800": "NVIDIA-A800-SXM4-80GB",
    "A5000": "NVIDIA-RTX-A5000",
}


SHARED = "SHARED"
"""The end of the product label of GPUs that several pods share, if their resource is not renamed."""
_SHARED_RESOURCE = ".shared"
"""The end of the name of a renamed resource."""


def shared(gpu: GPU, replicas: int, strategy: str) -> GPU:
    """The GPU as one of ``replicas`` that GPU feature discovery reports, with its sharing strategy."""
    return replace(gpu, replicas=max(1, replicas), limits_memory=replicas > 1 and strategy == "mps")


def unshared_resource(resource: str) -> str:
    """The resource by whose name GPU feature discovery labels the GPUs of a ``resource`` that may be renamed."""
    return resource.removesuffix(_SHARED_RESOURCE)


_MIG = re.compile(r"(?:(?P<product>.+)-)?mig-[0-9]+g\.(?P<gigabytes>[0-9]{1,3})gb(?:\.me)?", re.IGNORECASE)
"""A MIG slice: the node label of GPU feature discovery, such as NVIDIA-A100-SXM4-80GB-MIG-3g.40gb, or the end of a
resource's name, such as mig-3g.40gb."""
_SLICE_SHARE = 0.95
"""Usable share of the memory in a MIG profile's name: 0.95 for the smallest profile, 0.98 for larger ones."""


def find(name: str) -> GPU | None:
    """The GPU of this name: its node label's value, that without the vendor, or a usual short name; or a MIG slice.
    A GPU that several pods share (``-SHARED``) has at least two replicas. None for an unknown name."""
    plain = re.sub(rf"-{SHARED}$", "", name.strip(), flags=re.IGNORECASE)
    if plain != name.strip():
        whole = find(plain)
        return None if whole is None else shared(whole, 2, "")
    part = mig_slice(plain)
    if part is not None:
        return part
    wanted = _key(plain)
    by_key = {_key(gpu.name): gpu for gpu in KNOWN}
    without_vendor = {
        re.sub(r"^(nvidia|tesla|amd-instinct|nvidia-geforce)-", "", key): gpu for key, gpu in by_key.items()
    }
    short = {_key(alias): by_key[_key(full)] for alias, full in _SHORT.items()}
    return by_key.get(wanted) or short.get(wanted) or without_vendor.get(wanted)


def mig_slice(name: str) -> GPU | None:
    """The MIG slice that a node label or a resource name stands for; None if it is none."""
    part = _MIG.fullmatch(_key(unshared_resource(name).rpartition("/")[2]))
    if part is None:
        return None
    whole = find(part["product"]) if part["product"] else None
    total = round(int(part["gigabytes"]) * GIB * _SLICE_SHARE)
    return GPU(name, total, whole.capability if whole is not None else None, is_slice=True)


def similar(name: str, most: int = 5) -> list[str]:
    """Names of known GPUs that are similar to this one, the most similar first."""
    names = {**{_key(gpu.name): gpu.name for gpu in KNOWN}, **{_key(alias): alias for alias in _SHORT}}
    return [names[each] for each in difflib.get_close_matches(_key(name)[:64], names, most, 0.4)]


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
