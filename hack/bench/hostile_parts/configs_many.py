"""Many hostile services at once, one that changes all the time, and an operator that starts with them.

Services that are estimated one after the other must not delay other services.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostile_parts.configs import ALL_PRODUCTS, LLAMA, QWEN_MOE, ConfigCase, changed
from hostile_parts.configs_patterns import EXPONENTIAL, of_ignored

SERVICES = 20


def unmatched(count: int) -> dict[str, Any]:
    """That many groups of layers, each compared with every layer, and matching none."""
    groups = {f"g{n}": {"targets": [f"x{n}"], "weights": {"num_bits": 4}} for n in range(count)}
    return {"quant_method": "compressed-tensors", "config_groups": groups}


def cases() -> Iterator[ConfigCase]:
    """16 cases."""
    slow = {
        "patterns": of_ignored([f"re:{EXPONENTIAL['words']}"]),
        "layers": changed(LLAMA, num_hidden_layers=2048),
        "experts": changed(QWEN_MOE, num_experts=1 << 20, num_hidden_layers=256),
        "groups": changed(LLAMA, num_hidden_layers=256, quantization_config=unmatched(370)),
        "most-allowed": of_ignored([f"re:.*{n}.*" for n in range(60)], LLAMA | {"num_hidden_layers": 250}),
    }
    for name, text in slow.items():
        yield ConfigCase(f"many-{name}", "many", text, products=ALL_PRODUCTS, services=SERVICES)
        yield ConfigCase(f"changing-{name}", "many", text, products=ALL_PRODUCTS, changes=20)
        yield ConfigCase(f"restart-{name}", "many", text, products=ALL_PRODUCTS, services=SERVICES, restart=True)
    yield ConfigCase("many-unknown", "many", changed(LLAMA, architectures=["Nothing"]), services=3 * SERVICES)
