"""What the platform team decided about the network of all services. Set at start, never changes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Peer = Mapping[str, Any]
"""As a NetworkPolicy has it: a podSelector, a namespaceSelector or both, or an ipBlock."""

MOST_PEERS = 16
"""Of each list."""
MOST_ADDRESSES = 32
"""Networks that are excepted, and addresses of the API server."""

ANY_POD: Peer = {"namespaceSelector": {}}


@dataclasses.dataclass(frozen=True)
class Network:
    """Who may reach a service's pods, and what they may reach."""

    clients: tuple[Peer, ...] = ()
    """Who may reach the port of the clients. With no ``gateways`` either: everybody may."""
    gateways: tuple[Peer, ...] = ()
    """Gateways and ingress controllers, which may reach it too."""
    prometheus: tuple[Peer, ...] = ()
    """Who may reach the metrics port."""
    pods: tuple[Peer, ...] = (ANY_POD,)
    """Pods that the service's pods may reach: hubs, stores and collectors in the cluster."""
    excepted: tuple[str, ...] = ()
    """Networks that the service's pods may not reach by address, as CIDRs."""
    api_server: tuple[str, ...] = ()
    """The API server's addresses, as CIDRs of one address each."""
