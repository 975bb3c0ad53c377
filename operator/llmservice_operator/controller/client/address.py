"""Addresses of the API server, for the NetworkPolicies that keep engines from it."""

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
    server does not respond, and RequestRefused if the operator may not read them."""
    found = await cluster.get(ENDPOINT_SLICE, NAMESPACE, NAME)
    return _networks(*of_service(environment), *_endpoints(found))


def of_service(environment: Mapping[str, str]) -> tuple[str, ...]:
    """CIDR of the API server's Service, from the pod's environment; empty if that has a host name or nothing."""
    return _networks(environment.get("KUBERNETES_SERVICE_HOST", ""))


def log_refused(error: RequestRefused) -> None:
    """Warns that only the address of the Service is known."""
    logger.warning(
        "NetworkPolicies exclude only the API server's Service, because the operator may not read EndpointSlice "
        "%s/%s: %s. Set the chart value networkPolicy.apiServer to the API server's addresses.",
        NAMESPACE,
        NAME,
        error.message,
    )


def _networks(*found: str) -> tuple[str, ...]:
    networks = dict.fromkeys(network for each in found if (network := _network(each)))
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
