"""The PodDisruptionBudget: drained nodes take one replica at a time, and never wait for one that is not ready."""

from typing import Any

from llmservice_operator.render import names
from llmservice_operator.render.objects import Owner, metadata, sealed


def make_disruption_budget(owner: Owner) -> dict[str, Any]:
    """The budget for the engine's pods."""
    return sealed(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(owner, names.disruption_budget(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": names.selector(owner.name, names.ENGINE_COMPONENT)},
            },
        }
    )
