"""The kinds of devices that a model is computed on."""

from __future__ import annotations

from enum import StrEnum


class AcceleratorType(StrEnum):
    """Kind of device that computes."""

    NVIDIA = "nvidia"
    AMD = "amd"
    CPU = "cpu"


EVERY_DEVICE = frozenset(AcceleratorType)
GPUS = EVERY_DEVICE - {AcceleratorType.CPU}
