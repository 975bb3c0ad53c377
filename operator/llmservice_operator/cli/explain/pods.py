"""What one pod's JSON says, in a word or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER

Object = Mapping[str, Any]


def is_ready(pod: Object) -> bool:
    """Whether it answers requests."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def node(pod: Object) -> str:
    """Its node; empty where it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def order(pod: Object) -> tuple[int, str]:
    """Pods of a StatefulSet in the order of their numbers."""
    name = str(pod["metadata"]["name"])
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1, name


def restarts(pod: Object) -> int:
    """How often its engine was started again."""
    return int(_engine(pod).get("restartCount") or 0)


def state(pod: Object) -> str:
    """What it does, in a word or two."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "is going"
    if status.get("phase") in ("Failed", "Succeeded") and status.get("reason"):
        return str(status["reason"])
    if is_ready(pod):
        return "ready"
    if not node(pod):
        return "no node"
    now = _engine(pod).get("state") or {}
    if "waiting" in now:
        return str(now["waiting"].get("reason") or "waiting")
    if "terminated" in now:
        return f"ended ({now['terminated'].get('exitCode')})"
    if "running" in now:
        return "not ready" if _engine(pod).get("started") else "loading"
    return "starting"


def ended_without_words(pod: Object) -> bool:
    """Whether its engine has failed and left no message of why."""
    end = _end(pod)
    return bool(end) and end.get("exitCode") != 0 and not str(end.get("message") or "").strip()


def runs_again(pod: Object) -> bool:
    """Whether the engine that failed is not the container's latest run."""
    return "terminated" not in (_engine(pod).get("state") or {})


def _end(pod: Object) -> Object:
    engine = _engine(pod)
    now = (engine.get("state") or {}).get("terminated")
    return now or (engine.get("lastState") or {}).get("terminated") or {}


def _engine(pod: Object) -> Object:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == ENGINE_CONTAINER), {})
