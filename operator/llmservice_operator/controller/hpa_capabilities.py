"""What this cluster's HorizontalPodAutoscalers can do, found out by asking: a dry run of one that uses it all.

A version number would not tell: each of these can be switched on and off.
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


async def detect(cluster: Cluster, namespace: str) -> Support:
    """Ask the API server, with a dry run in ``namespace``. Raises ApiError where it doesn't answer."""
    zero = True
    try:
        kept = await cluster.create(_probe(namespace, 0), dry_run=True)
    except RequestRefused as error:
        if error.status != INVALID:
            logger.warning("What the cluster's autoscalers can do stays unknown: %s", error.message)
            return Support(False, False)
        zero = False
        kept = await cluster.create(_probe(namespace, 1), dry_run=True)
    tolerance = kept["spec"].get("behavior", {}).get("scaleUp", {}).get("tolerance") is not None
    logger.info(
        "Autoscalers of this cluster: tolerance %s, zero %s",
        "can be set" if tolerance else "is a tenth, so that not every count can be reached",
        "is within their reach" if zero else "is the operator's own step",
    )
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
