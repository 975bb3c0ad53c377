"""Addresses of the API server, for the NetworkPolicies that keep engines from it. Read once, when the operator
starts."""

import ipaddress
import logging
from collections.abc import Iterator, Mapping

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import RequestRefused
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources.kinds import ENDPOINT_SLICE
from llmservice_operator.resources.platform import MOST_ADDRESSES

NAMESPACE, NAME = "default", "kubernetes"

logger = logging.getLogger(__name__)


async def addresses(cluster: Cluster, environment: Mapping[str, str]) -> tuple[str, ...]:
    """CIDRs of the API server's Service, from the pod's environment, and of its endpoints. Raises ApiError if the API
    server does not respond."""
    of_service = [environment.get("KUBERNETES_SERVICE_HOST", "")]
    try:
        found = await cluster.get(ENDPOINT_SLICE, NAMESPACE, NAME)
    except RequestRefused as error:
        found = None
        logger.warning(
            "NetworkPolicies exclude only the API server's Service, because the operator may not read EndpointSlice "
            "%s/%s: %s. Set the chart value networkPolicy.apiServer to the API server's addresses.",
            NAMESPACE,
            NAME,
            error.message,
        )
    networks = dict.fromkeys(network for each in (*of_service, *_endpoints(found)) if (network := _network(each)))
    return tuple(sorted(networks)[:MOST_ADDRESSES])


def _endpoints(found: Object | None) -> Iterator[str]:
    for endpoint in (found or {}).get("endpoints") or ():
        yield from endpoint.get("addresses") or ()


def _network(address: str) -> str:
    """The network of an address; empty for a host name, which some clouds use instead."""
    try:
        return str(ipaddress.ip_network(address))
    except ValueError:
        return ""
