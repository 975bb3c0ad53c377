"""How many replicas and cores a number of requests a second takes. Pure."""

from __future__ import annotations

import math
from typing import Any

USE = 0.7
"""The part of a core that a replica's front end is planned to use; the rest is for what comes in bursts."""
ASKED = (10_000, 12_000)


def replicas_for(asked: float, per_core: float, use: float = USE) -> int:
    """Replicas, each with the one event loop that vLLM's front end runs on. Raises ValueError."""
    if asked <= 0 or per_core <= 0 or not 0 < use <= 1:
        raise ValueError("rates are above 0, and a use is above 0 and at most 1")
    return math.ceil(asked / (per_core * use))


def table(per_core: dict[str, float]) -> list[dict[str, Any]]:
    """A row for each number of requests and each kind of request, by its requests a second and core."""
    return [
        {
            "requests_per_s": asked,
            "kind": kind,
            "cores": round(asked / rate, 1),
            "replicas": replicas_for(asked, rate),
        }
        for asked in ASKED
        for kind, rate in per_core.items()
    ]
