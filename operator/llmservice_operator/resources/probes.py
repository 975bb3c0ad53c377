"""Probes of the engine: quick to see a ready engine, slow to kill a busy one.

The engine's port refuses connections until the model is loaded, and /health answers 503 once vLLM's core is dead.
/ready says no as soon as the engine is to stop. An engine that a probe kills has nothing to drain, so it gets less time
to end than one that is stopped.
"""

from typing import Any

from llmservice_contract.container import HEALTH_PATH, HTTP_PORT_NAME, PROBE_PORT_NAME, READY_PATH

STARTUP_PERIOD_SECONDS = 1
KILLED_GRACE_SECONDS = 30
"""From a probe's verdict to SIGKILL, the preStop hook included."""


def engine_probes(budget_seconds: int) -> dict[str, Any]:
    """The three probes of an engine that may take ``budget_seconds`` to load."""
    alive = {"path": HEALTH_PATH, "port": HTTP_PORT_NAME}
    return {
        "startupProbe": {
            "httpGet": alive,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": budget_seconds // STARTUP_PERIOD_SECONDS,
            "terminationGracePeriodSeconds": KILLED_GRACE_SECONDS,
        },
        "readinessProbe": _readiness(HTTP_PORT_NAME),
        "livenessProbe": _liveness(HTTP_PORT_NAME),
    }


def rank_probes(rank: int) -> dict[str, Any]:
    """The probes of a pod whose replica consists of several. Its engine is started again inside the container whenever
    another rank fails, so what supervises it answers, and keeps the budget for loading."""
    return {
        "readinessProbe": _readiness(PROBE_PORT_NAME if rank else HTTP_PORT_NAME),
        "livenessProbe": _liveness(PROBE_PORT_NAME),
    }


def _readiness(port: str) -> dict[str, Any]:
    ready = {"path": READY_PATH, "port": port}
    return {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}


def _liveness(port: str) -> dict[str, Any]:
    return {
        "httpGet": {"path": HEALTH_PATH, "port": port},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
        "failureThreshold": 6,
        "terminationGracePeriodSeconds": KILLED_GRACE_SECONDS,
    }
