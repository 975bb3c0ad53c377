"""State of one pod in one or two words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model.pods import bound, container, ready, terminating

Object = Mapping[str, Any]


def node(pod: Object) -> str:
    """Its node; empty if it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def restarts(pod: Object) -> int:
    """How often its engine was restarted."""
    return int(container(pod).get("restartCount") or 0)


def state(pod: Object) -> str:
    """State of the pod in one or two words."""
    status = pod.get("status") or {}
    if terminating(pod):
        return "terminating"
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
        return f"exited ({now['terminated'].get('exitCode')})"
    if "running" in now:
        return "not ready" if container(pod).get("started") else "loading"
    return "starting"


def ended_without_words(pod: Object) -> bool:
    """Whether its engine failed without a termination message."""
    end = _end(pod)
    return bool(end) and end.get("exitCode") != 0 and not str(end.get("message") or "").strip()


def runs_again(pod: Object) -> bool:
    """Whether the container was restarted after the failure."""
    return "terminated" not in (container(pod).get("state") or {})


def _end(pod: Object) -> Object:
    engine = container(pod)
    now = (engine.get("state") or {}).get("terminated")
    return now or (engine.get("lastState") or {}).get("terminated") or {}
