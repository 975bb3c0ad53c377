"""Computes which pods can connect to which ports, from NetworkPolicies as Kubernetes defines them.

The CNI of the local cluster enforces no policies, so tests compute what an enforcing CNI would allow. An unknown field
is an error. An ipBlock also matches pods by their address: Kubernetes leaves that to the CNI, and this allows most.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """One end of a connection that policies select by labels."""

    namespace: str
    labels: Mapping[str, str]
    address: str = "10.244.0.9"


@dataclass(frozen=True)
class Outside:
    """The other end where it is no pod."""

    address: str


End = Pod | Outside


@dataclass(frozen=True)
class Network:
    """The policies of a cluster, and the labels of its namespaces beside `kubernetes.io/metadata.name`."""

    policies: Sequence[Json]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def reaches(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether both ends let this connection through."""
        return self._lets(source, target, "egress", port, protocol) and self._lets(
            target, source, "ingress", port, protocol
        )

    def _lets(self, end: End, other: End, direction: str, port: int, protocol: str) -> bool:
        if isinstance(end, Outside):
            return True
        applied = [policy for policy in self.policies if self._selects(policy, end, direction)]
        if not applied:
            return True
        rules = [rule for policy in applied for rule in policy["spec"].get(direction) or ()]
        return any(self._allows(rule, direction, other, end.namespace, port, protocol) for rule in rules)

    def _selects(self, policy: Json, pod: Pod, direction: str) -> bool:
        spec = policy["spec"]
        _only(policy, "apiVersion", "kind", "metadata", "spec")
        _only(spec, "podSelector", "policyTypes", "ingress", "egress")
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
        inside = policy["metadata"]["namespace"] == pod.namespace
        return direction.title() in types and inside and selects(spec["podSelector"], pod.labels)

    def _allows(self, rule: Json, direction: str, other: End, namespace: str, port: int, protocol: str) -> bool:
        key = "from" if direction == "ingress" else "to"
        _only(rule, key, "ports")
        peers, ports = rule.get(key), rule.get("ports")
        return (not peers or any(self._is(peer, other, namespace) for peer in peers)) and (
            not ports or any(_has(each, port, protocol) for each in ports)
        )

    def _is(self, peer: Json, other: End, namespace: str) -> bool:
        _only(peer, "podSelector", "namespaceSelector", "ipBlock")
        if "ipBlock" in peer:
            return _holds(peer["ipBlock"], other.address)
        if isinstance(other, Outside):
            return False
        if "namespaceSelector" in peer:
            labels = {**self.namespaces.get(other.namespace, {}), "kubernetes.io/metadata.name": other.namespace}
            if not selects(peer["namespaceSelector"], labels):
                return False
        elif other.namespace != namespace:
            return False
        return selects(peer.get("podSelector") or {}, other.labels)


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    _only(selector, "matchLabels", "matchExpressions")
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        _fits(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _fits(expression: Json, labels: Mapping[str, str]) -> bool:
    key = expression["key"]
    match expression["operator"]:
        case "In":
            return labels.get(key) in expression["values"]
        case "NotIn":
            return labels.get(key) not in expression["values"]
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise AssertionError(f"an operator that Kubernetes does not know: {expression}")


def _holds(block: Json, address: str) -> bool:
    _only(block, "cidr", "except")
    own, outer = ipaddress.ip_address(address), ipaddress.ip_network(block["cidr"])
    inner = [ipaddress.ip_network(each) for each in block.get("except") or ()]
    for each in inner:
        assert each.version == outer.version and each != outer and each.subnet_of(outer), (  # type: ignore[arg-type]
            f"the API server refuses {each} as an exception from {outer}"
        )
    return own in outer and not any(own in each for each in inner)


def _has(given: Json, port: int, protocol: str) -> bool:
    _only(given, "port", "protocol", "endPort")
    first = given.get("port", 0)
    assert isinstance(first, int), "named ports are not computed here"
    last = given.get("endPort", first) if "port" in given else 65_535
    return given.get("protocol", "TCP") == protocol and first <= port <= last


def _only(found: Json, *names: str) -> None:
    unknown: Iterable[str] = found.keys() - set(names)
    assert not unknown, f"fields that are not computed here: {sorted(unknown)}"
