"""Phrases of a report, and the desired state of a spec as one phrase."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model import timestamps

Object = Mapping[str, Any]


def age(since: str | None, now: datetime.datetime) -> str:
    """``12 s``, ``3 min``, ``5 h`` or ``2 d`` since a time as the API server writes it; empty for none."""
    at = timestamps.parse(since)
    if at is None:
        return ""
    seconds = max(0, int((now - at).total_seconds()))
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def count(number: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def wanted(spec: Object) -> str:
    """The desired state of the spec."""
    model, scaling = spec.get("model") or {}, spec.get("scaling")
    revision = f" at {model['revision'][:12]}" if model.get("revision") else ""
    method = (spec.get("quantization") or {}).get("method")
    replicas = spec.get("replicas")
    many = "replicas" if replicas is None else count(int(replicas), "replica")
    text = f"{many} of {model.get('source', 'a model')}{revision}"
    text += f" in {method}" if method not in (None, "auto", "none") else ""
    text += f", each on {_devices(spec)}"
    if not scaling:
        return text
    targets = [
        f"{percentile} {latency} {value}"
        for latency, by in (scaling.get("targets") or {}).items()
        for percentile, value in (by or {}).items()
    ]
    return f"{text}; {scaling.get('minReplicas', 1)} to {scaling.get('maxReplicas', '?')} by {', '.join(targets)}"


def _devices(spec: Object) -> str:
    accelerator, spread = spec.get("accelerator") or {}, spec.get("parallelism") or {}
    if accelerator.get("type") == "cpu":
        return "a CPU"
    devices = math.prod(int(spread.get(each) or 1) for each in ("tensor", "pipeline", "data"))
    nodes = int(spread.get("nodesPerReplica") or 1)
    of = accelerator.get("resourceName") or f"{accelerator.get('type', 'nvidia').upper()} GPU"
    text = f"{devices} x {of}" if accelerator.get("resourceName") else count(devices, of)
    products = accelerator.get("products") or ()
    text += f" ({' or '.join(products)})" if products else ""
    return text + (f" on {nodes} nodes" if nodes > 1 else "")
