"""The NetworkPolicies: who may connect to a service's pods, and where these may connect to.

One policy selects all pods of the service, including inspections. Multi-node replicas have one more each, which allows
all ports between their pods, because vLLM chooses most of them itself. Everything else is denied. CNIs always let the
kubelet connect to the pods of its node.
"""

import functools
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from llmservice_contract.container import HTTP_PORT, METRICS_PORT
from llmservice_contract.node_addresses import NODE_ADDRESSES
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import Network, Peer

DNS_PORT = 53
POD_IDENTITY, POD_IDENTITY_PORT = ("169.254.170.23/32", "fd00:ec2::23/128"), 80
"""EKS Pod Identity: the agent that gives a pod the role of its ServiceAccount, never the role of the node."""
EVERYTHING = ("0.0.0.0/0", "::/0")
SURGE = 1
"""Replicas that a rollout may add to the desired ones."""


def make_network_policies(
    owner: Owner, spec: LLMServiceSpec, network: Network | None, replicas: int
) -> list[dict[str, Any]]:
    """The policies of the service and of its multi-node replicas; empty if the platform uses none."""
    if network is None:
        return []
    found = [_of_service(owner, spec, network)]
    if spec.parallelism.is_multi_node:
        found += [_of_replica(owner, number) for number in range(replicas + SURGE)]
    return found


def _of_service(owner: Owner, spec: LLMServiceSpec, network: Network) -> dict[str, Any]:
    components = [names.ENGINE_COMPONENT, names.RANK_COMPONENT, names.INSPECTION_COMPONENT]
    selector = {
        "matchLabels": names.of_service(owner.name),
        "matchExpressions": [{"key": names.COMPONENT_LABEL, "operator": "In", "values": components}],
    }
    return _policy(
        owner,
        names.network_policy(owner.name),
        {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(_ingress(network)),
            "egress": list(_egress(spec, network)),
        },
    )


@functools.lru_cache(maxsize=2048)
def _of_replica(owner: Owner, number: int) -> dict[str, Any]:
    """Cached, because a service may have a thousand that differ only in the number. No caller modifies them."""
    own = {
        "matchLabels": {**names.of_service(owner.name), names.POD_INDEX_LABEL: str(number)},
        "matchExpressions": [{"key": names.NODES_LABEL, "operator": "Exists"}],
    }
    return _policy(
        owner,
        names.network_policy(owner.name, number),
        {
            "podSelector": own,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": own}]}],
            "egress": [{"to": [{"podSelector": own}]}],
        },
    )


def _policy(owner: Owner, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return sealed(
        {
            **kinds.NETWORK_POLICY.header,
            "metadata": metadata(owner, name, names.ENGINE_COMPONENT),
            "spec": spec,
        }
    )


def _ingress(network: Network) -> Iterable[dict[str, Any]]:
    callers = _peers((*network.clients, *network.gateways))
    yield {**({"from": callers} if callers else {}), "ports": _ports(HTTP_PORT)}
    # `kubectl llm top` reads the pods' metrics through the API server.
    readers = _peers((*network.prometheus, *({"ipBlock": {"cidr": each}} for each in network.api_server)))
    if readers:
        # Pods of operator versions before 0.3.0 serve metrics on the clients' port.
        yield {"from": readers, "ports": _ports(METRICS_PORT, HTTP_PORT)}


def _egress(spec: LLMServiceSpec, network: Network) -> Iterable[dict[str, Any]]:
    yield {"ports": [{"port": DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]}
    others = [*_peers(network.pods), *_outside((*NODE_ADDRESSES, *network.excepted, *network.api_server))]
    if others:  # an empty list would mean everything
        yield {"to": others}
    if spec.service_account_name:
        agents = [{"ipBlock": {"cidr": each}} for each in POD_IDENTITY]
        yield {"to": agents, "ports": _ports(POD_IDENTITY_PORT)}


def _outside(excepted: Iterable[str]) -> list[dict[str, Any]]:
    """All addresses except these."""
    networks = {ipaddress.ip_network(each) for each in excepted}
    found = []
    for everything in map(ipaddress.ip_network, EVERYTHING):
        some = [each for each in networks if each.version == everything.version]
        if everything in some:
            continue
        inside = sorted(some, key=lambda each: (int(each.network_address), each.prefixlen))
        found.append({"ipBlock": {"cidr": str(everything), "except": [str(each) for each in inside]}})
    return found


def _peers(peers: Iterable[Peer]) -> list[dict[str, Any]]:
    return [dict(peer) for peer in peers]


def _ports(*ports: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def network_of(policy: Mapping[str, Any]) -> Network | None:
    """The settings from which a service's policy was made, with gateways as clients; None for any other policy."""
    try:
        ingress, egress = policy["spec"]["ingress"], policy["spec"]["egress"]
        readers = list(ingress[1]["from"]) if len(ingress) > 1 else []
        others = next((list(rule["to"]) for rule in egress if "ports" not in rule), [])
        blocks = {block["cidr"]: list(block["except"]) for each in others if (block := each.get("ipBlock"))}
        excepted = [each for cidr in EVERYTHING for each in blocks.get(cidr, [cidr]) if each not in NODE_ADDRESSES]
        api_server = [each for each in excepted if {"ipBlock": {"cidr": each}} in readers]
        return Network(
            clients=tuple(ingress[0].get("from", ())),
            prometheus=tuple(each for each in readers if each.get("ipBlock", {}).get("cidr") not in api_server),
            pods=tuple(each for each in others if "ipBlock" not in each),
            excepted=tuple(each for each in excepted if each not in api_server),
            api_server=tuple(api_server),
        )
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
