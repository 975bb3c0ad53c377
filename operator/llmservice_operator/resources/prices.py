"""What GPUs cost, as the platform team says: its own prices, each with where it is from and of when."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal


@dataclasses.dataclass(frozen=True)
class Price:
    """Of one GPU."""

    per_hour: Decimal
    """In the currency of all prices."""
    source: str
    """Where it is from, such as a contract."""
    date: str
    """Of when it is, as YYYY-MM-DD."""


@dataclasses.dataclass(frozen=True)
class Prices:
    """All of them; none where the platform team states none."""

    currency: str = ""
    """As ISO 4217 has it, such as EUR."""
    gpu_hours: Mapping[str, Price] = dataclasses.field(default_factory=dict)
    """By product, as the nodes' label has it; of a MIG profile ``PRODUCT-MIG-PROFILE``."""
