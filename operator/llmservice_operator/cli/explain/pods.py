"""What one pod's JSON says, in a word or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model.pods import bound, container, ready, terminating

Object = Mapping[str, Any]


def node(pod: Object) -> str:
    """Its node; empty where it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def restarts(pod: Object) -> int:
    """How often its engine was started again."""
    return int(container(pod).get("restartCount") or 0)


def state(pod: Object) -> str:
    """What it does, in a word or two."""
    status = pod.get("status") or {}
    if terminating(pod):
        return "is going"
    if status.get("phase") in ("Failed", "Succeeded") and status.get("reason"):
        return str(status["reason"])
    if ready(pod):
        return "ready"
    if not bound(pod):
        return "no node"
    now = container(pod).get("state") or {}
    if "waiting" in now:
        return str(now["waiting"].get("reason") or "waiting")
    if "terminated" in now:
        return f"ended ({now['terminated'].get('exitCode')})"
    if "running" in now:
        return "not ready" if container(pod).get("started") else "loading"
    return "starting"


def ended_without_words(pod: Object) -> bool:
    """Whether its engine has failed and left no message of why."""
    end = _end(pod)
    return bool(end) and end.get("exitCode") != 0 and not str(end.get("message") or "").strip()


def runs_again(pod: Object) -> bool:
    """Whether the engine that failed is not the container's latest run."""
    return "terminated" not in (container(pod).get("state") or {})


def _end(pod: Object) -> Object:
    engine = container(pod)
    now = (engine.get("state") or {}).get("terminated")
    return now or (engine.get("lastState") or {}).get("terminated") or {}
