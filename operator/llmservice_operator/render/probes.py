"""Probes of the engine: quick to see a ready engine, slow to kill a busy one.

The engine's port refuses connections until the model is loaded, and /health answers 503 once vLLM's core is dead.
"""

from typing import Any

from llmservice_contract.container import HEALTH_PATH, HTTP_PORT_NAME

STARTUP_PERIOD_SECONDS = 1


def engine_probes(budget_seconds: int) -> dict[str, Any]:
    """The three probes of an engine that may take ``budget_seconds`` to load."""
    request = {"path": HEALTH_PATH, "port": HTTP_PORT_NAME}
    return {
        "startupProbe": {
            "httpGet": request,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": budget_seconds // STARTUP_PERIOD_SECONDS,
        },
        "readinessProbe": {"httpGet": request, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"httpGet": request, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }
