"""Detects the capabilities of this cluster's HorizontalPodAutoscalers with a dry run that uses all of them.

The version of the cluster is not sufficient, because each capability has a feature gate.
"""

import logging
from typing import Any, NamedTuple

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import RequestRefused
from llmservice_operator.resources.autoscaler import target
from llmservice_operator.resources.kinds import HORIZONTAL_POD_AUTOSCALER

INVALID = 422

logger = logging.getLogger(__name__)


class Support(NamedTuple):
    """See Platform's fields of these names."""

    tolerance_is_settable: bool
    scales_to_zero: bool


async def detect(cluster: Cluster, namespace: str) -> Support | None:
    """Ask the API server, with a dry run in ``namespace``. None if the operator may not. Raises ApiError if it does not
    respond."""
    zero = True
    try:
        kept = await cluster.create(_probe(namespace, 0), dry_run=True)
    except RequestRefused as error:
        if error.status != INVALID:
            logger.warning("Could not detect the HPA capabilities: %s", error.message)
            return None
        zero = False
        kept = await cluster.create(_probe(namespace, 1), dry_run=True)
    tolerance = kept["spec"].get("behavior", {}).get("scaleUp", {}).get("tolerance") is not None
    return Support(tolerance, zero)


def _probe(namespace: str, least: int) -> dict[str, Any]:
    return {
        "apiVersion": HORIZONTAL_POD_AUTOSCALER.api_version,
        "kind": HORIZONTAL_POD_AUTOSCALER.kind,
        "metadata": {"generateName": "llmservice-probe-", "namespace": namespace},
        "spec": {
            "scaleTargetRef": target("probe"),
            "minReplicas": least,
            "maxReplicas": 1,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "probe"}, "target": {"type": "AverageValue", "averageValue": "1"}},
                }
            ],
            "behavior": {"scaleUp": {"tolerance": "0"}},
        },
    }
