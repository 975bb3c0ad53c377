"""IP addresses to which nothing here connects for a user, whatever name resolves to them."""

from __future__ import annotations

import ipaddress

from llmservice_contract.node_addresses import NODE_ADDRESSES

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_OF_NODES = tuple(ipaddress.ip_network(each) for each in NODE_ADDRESSES)


def is_never_allowed(address: Address) -> bool:
    """Whether it is of this machine, of a link, of a node's metadata and credentials, of a group, or of no host."""
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return True
    return any(address in network for network in _OF_NODES)


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
