"""The PodDisruptionBudget: draining nodes evicts one replica at a time, and unready pods at any time.

If one pod of a multi-node replica is evicted, all its pods become unready and may be evicted too, but no others.
"""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed


def make_disruption_budget(owner: Owner, spec: LLMServiceSpec) -> dict[str, Any]:
    """The budget for the engine's pods."""
    return sealed(
        {
            **kinds.BUDGET.header,
            "metadata": metadata(owner, names.disruption_budget(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": _pods(owner.name, spec),
            },
        }
    )


def _pods(service: str, spec: LLMServiceSpec) -> dict[str, Any]:
    if not spec.parallelism.is_multi_node:
        return {"matchLabels": names.selector(service, names.ENGINE_COMPONENT)}
    components = {
        "key": names.COMPONENT_LABEL,
        "operator": "In",
        "values": [names.ENGINE_COMPONENT, names.RANK_COMPONENT],
    }
    return {"matchLabels": names.of_service(service), "matchExpressions": [components]}
