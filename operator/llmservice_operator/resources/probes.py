"""Probes of the engine: they detect a ready engine quickly, and kill a busy one slowly.

The engine's port refuses connections until the model is loaded, and /health returns 503 once vLLM's core is dead.
/ready fails as soon as the engine has to stop. An engine that is killed by a probe has no requests to drain, so its
termination grace period is shorter.
"""

from typing import Any

from llmservice_contract.container import HEALTH_PATH, HTTP_PORT_NAME, PROBE_PORT_NAME, READY_PATH

STARTUP_PERIOD_SECONDS = 1
KILLED_GRACE_SECONDS = 30
"""From the failure of a probe to SIGKILL, including the preStop hook."""


def engine_probes(budget_seconds: int) -> dict[str, Any]:
    """The three probes of an engine with a loading budget of ``budget_seconds``."""
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
    """The probes of a pod of a multi-node replica. Its engine is restarted in the container whenever another rank
    fails, so its supervisor answers the probes and enforces the loading budget."""
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
