"""Cost arithmetic: GPUs by product times the platform's prices, and the cost of a million tokens.

Without a price there is no amount: a sum with a missing price is None, and the bill names the missing price. Amounts
are decimals: a price of 2.49 stays 2.49.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from llmservice_operator.resources import devices, names
from llmservice_operator.resources.platform import Price, Prices

if TYPE_CHECKING:
    from llmservice_operator.api.service import LLMServiceSpec

_MILLION_PER_HOUR = Decimal(1_000_000) / 3600
_MIG = "nvidia.com/mig-"
_WHOLE = frozenset({names.NVIDIA_GPU, names.AMD_GPU})


@dataclasses.dataclass(frozen=True)
class Line:
    """GPUs of one product."""

    product: str
    """Empty if it is not known."""
    count: int
    price: Price | None
    """Price per hour; None if the platform sets none."""


@dataclasses.dataclass(frozen=True)
class Bill:
    """The cost of some GPUs."""

    currency: str
    lines: tuple[Line, ...]
    """One line per product."""

    @property
    def per_hour(self) -> Decimal | None:
        """The sum per hour; None if a price is missing."""
        if any(line.price is None for line in self.lines):
            return None
        return sum((line.count * line.price.per_hour for line in self.lines if line.price), Decimal(0))

    @property
    def missing(self) -> str:
        """Why there is no sum, and how to fix it; empty if there is one."""
        unpriced = [line.product for line in self.lines if line.price is None and line.product]
        said = []
        if unpriced:
            of = f"{', '.join(unpriced[:-1])} and {unpriced[-1]}" if len(unpriced) > 1 else unpriced[0]
            said.append(f"the platform sets no price for {of} (chart value cost.gpuHours)")
        if any(line.price is None and not line.product for line in self.lines):
            said.append("the product of its GPUs is not known: set one in spec.accelerator.products")
        return "; ".join(said)


def bill(gpus: Mapping[str, int], prices: Prices) -> Bill:
    """The cost of ``gpus``, a number of GPUs for each product. The empty product stands for unknown ones."""
    return Bill(
        prices.currency,
        tuple(Line(product, count, prices.gpu_hours.get(product)) for product, count in sorted(gpus.items()) if count),
    )


def bill_of_spec(spec: LLMServiceSpec, replicas: int, prices: Prices, product: str = "") -> Bill | None:
    """The cost of that many replicas of ``spec``, or the missing price; None without GPUs or without prices.

    ``product`` is the product of the current GPUs. It is used if the spec allows several products.
    """
    if not prices.gpu_hours or spec.accelerator.type == "cpu":
        return None
    resource = spec.accelerator.resource_name or names.NVIDIA_GPU
    allowed = {priced_as(each, resource) for each in spec.accelerator.products or ()}
    if len(allowed) == 1:
        (product,) = allowed
    elif allowed and product not in allowed:
        product = ""
    return bill({product: replicas * devices.per_replica(spec)}, prices)


def from_status(status: Mapping[str, Any]) -> tuple[Prices, str]:
    """The prices in a service's ``status.cost``, and the product of its GPUs if there is only one: for users who can't
    read the platform's prices."""
    lines = [each for each in status.get("gpus") or () if each.get("product")]
    found = {
        each["product"]: Price(Decimal(each["price"]), each.get("source") or "", each.get("date") or "")
        for each in lines
        if each.get("price")
    }
    return Prices(str(status.get("currency") or ""), found), lines[0]["product"] if len(lines) == 1 else ""


def priced_as(product: str, resource: str) -> str:
    """The name under which a device is priced: its product, for a MIG slice with the profile as GPU feature discovery
    names both. Empty for a shared GPU that has no such name."""
    if not product or resource in _WHOLE:
        return product
    if resource.startswith(_MIG):
        profile = resource.removeprefix(_MIG)
        return product if product.endswith(f"-MIG-{profile}") else f"{product}-MIG-{profile}"
    return ""


def per_million(per_hour: Decimal, tokens_per_second: float) -> Decimal | None:
    """The cost of a million tokens at that throughput; None if the throughput is not positive."""
    if not math.isfinite(tokens_per_second) or tokens_per_second <= 0:
        return None
    return per_hour * _MILLION_PER_HOUR / Decimal(tokens_per_second)


def exact(amount: Decimal) -> str:
    """The amount for the status: all digits, at least two decimals."""
    plain = f"{amount:f}"
    whole, _, cents = plain.partition(".")
    return f"{whole}.{cents.rstrip('0'):0<2}"


def rounded(amount: Decimal) -> str:
    """The amount for people: two decimals, or three significant digits if it is below 1."""
    digits = 2 if amount >= 1 or not amount else 2 - amount.adjusted()
    return f"{amount.quantize(Decimal(1).scaleb(-min(digits, 9)), ROUND_HALF_EVEN):f}"
