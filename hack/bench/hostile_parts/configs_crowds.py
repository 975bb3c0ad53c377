"""Many hostile services at once, one that changes all the time, and an operator that starts with them: whoever has to
be asked in turn must not make others wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostile_parts.configs import ALL_PRODUCTS, LLAMA, QWEN_MOE, ConfigCase, changed
from hostile_parts.configs_patterns import EXPONENTIAL, of_ignored

CROWD = 20


def unmatched(count: int) -> dict[str, Any]:
    """So many groups of layers that each layer is held against, and that have none."""
    groups = {f"g{n}": {"targets": [f"x{n}"], "weights": {"num_bits": 4}} for n in range(count)}
    return {"quant_method": "compressed-tensors", "config_groups": groups}


def cases() -> Iterator[ConfigCase]:
    """16 of them."""
    slow = {
        "patterns": of_ignored([f"re:{EXPONENTIAL['words']}"]),
        "layers": changed(LLAMA, num_hidden_layers=2048),
        "experts": changed(QWEN_MOE, num_experts=1 << 20, num_hidden_layers=256),
        "groups": changed(LLAMA, num_hidden_layers=256, quantization_config=unmatched(370)),
        "most-allowed": of_ignored([f"re:.*{n}.*" for n in range(60)], LLAMA | {"num_hidden_layers": 250}),
    }
    for name, text in slow.items():
        yield ConfigCase(f"crowd-{name}", "crowds", text, products=ALL_PRODUCTS, services=CROWD)
        yield ConfigCase(f"changing-{name}", "crowds", text, products=ALL_PRODUCTS, changes=20)
        yield ConfigCase(f"restart-{name}", "crowds", text, products=ALL_PRODUCTS, services=CROWD, restart=True)
    yield ConfigCase("crowd-unknown", "crowds", changed(LLAMA, architectures=["Nothing"]), services=3 * CROWD)
