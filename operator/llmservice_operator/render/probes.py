"""Probes of the engine: quick to see a ready engine, slow to kill a busy one.

The engine's port refuses connections until the model is loaded, and /health answers 503 once vLLM's core is dead.
/ready says no as soon as the engine is to stop. An engine that a probe kills has nothing to drain, so it gets less time
to end than one that is stopped.
"""

from typing import Any

from llmservice_contract.container import HEALTH_PATH, HTTP_PORT_NAME, READY_PATH

STARTUP_PERIOD_SECONDS = 1
KILLED_GRACE_SECONDS = 30
"""From a probe's verdict to SIGKILL, the preStop hook included."""


def engine_probes(budget_seconds: int) -> dict[str, Any]:
    """The three probes of an engine that may take ``budget_seconds`` to load."""
    alive = {"path": HEALTH_PATH, "port": HTTP_PORT_NAME}
    ready = {"path": READY_PATH, "port": HTTP_PORT_NAME}
    return {
        "startupProbe": {
            "httpGet": alive,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": budget_seconds // STARTUP_PERIOD_SECONDS,
            "terminationGracePeriodSeconds": KILLED_GRACE_SECONDS,
        },
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            "httpGet": alive,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": KILLED_GRACE_SECONDS,
        },
    }
