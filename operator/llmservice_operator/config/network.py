"""The platform's settings for NetworkPolicies: a JSON object that the chart writes for its value ``networkPolicy``."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from llmservice_operator.config.section import Problems, json_object
from llmservice_operator.resources.platform import ANY_POD, MOST_ADDRESSES, MOST_PEERS, Network, Peer

MOST_TERMS = 16
"""Maximum number of labels and expressions of a selector, and of values of an expression."""

_PEERS = ("clients", "gateways", "prometheus", "pods")
_NETWORKS = ("except", "apiServer")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def read_network(text: str) -> Network:
    """The settings in ``text``. Raises Problems."""
    given = json_object(text, "in the form that the chart writes for its value networkPolicy")
    problems = list(_problems(given))
    if problems:
        raise Problems(*problems)

    def peers(name: str, default: tuple[Peer, ...] = ()) -> tuple[Peer, ...]:
        return tuple(map(_as_stored, given[name])) if name in given else default

    return Network(
        clients=peers("clients"),
        gateways=peers("gateways"),
        prometheus=peers("prometheus"),
        pods=peers("pods", (ANY_POD,)),
        excepted=tuple(str(ipaddress.ip_network(each)) for each in given.get("except", ())),
        api_server=tuple(str(ipaddress.ip_network(each)) for each in given.get("apiServer", ())),
    )


def _as_stored(peer: dict[str, Any]) -> Peer:
    """``peer`` without empty lists and maps inside selectors and blocks, because the API server drops them."""
    found = {key: {name: value for name, value in inner.items() if value} for key, inner in peer.items()}
    for selector in found.values():
        if "matchExpressions" in selector:
            selector["matchExpressions"] = [
                {name: value for name, value in each.items() if value} for each in selector["matchExpressions"]
            ]
    return found


def _problems(given: dict[str, Any]) -> Iterator[str]:
    for name in given:
        if name not in (*_PEERS, *_NETWORKS):
            yield f"{name[:64]} is unknown; the fields are {', '.join((*_PEERS, *_NETWORKS))}"
    for name in _PEERS:
        found = given.get(name, [])
        if not isinstance(found, list) or len(found) > MOST_PEERS:
            yield f"{name} must be a list of at most {MOST_PEERS} peers"
            continue
        for number, peer in enumerate(found):
            if not _is_peer(peer):
                yield (
                    f"{name}[{number}] must have a podSelector, a namespaceSelector or both, with matchLabels and "
                    "matchExpressions, or an ipBlock with a cidr and an except"
                )
    for name in _NETWORKS:
        found = given.get(name, [])
        if not isinstance(found, list) or len(found) > MOST_ADDRESSES:
            yield f"{name} must be a list of at most {MOST_ADDRESSES} CIDRs"
            continue
        for number, each in enumerate(found):
            if not _is_network(each):
                yield f"{name}[{number}] must be a CIDR such as 10.0.0.0/8"


def _is_peer(peer: Any) -> bool:
    if not isinstance(peer, dict) or not peer:
        return False
    if "ipBlock" in peer:
        return peer.keys() == {"ipBlock"} and _is_block(peer["ipBlock"])
    return peer.keys() <= {"podSelector", "namespaceSelector"} and all(map(_is_selector, peer.values()))


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict) or not block.keys() <= {"cidr", "except"} or not _is_network(block.get("cidr")):
        return False
    inner, outer = block.get("except", []), ipaddress.ip_network(block["cidr"])
    if not isinstance(inner, list) or len(inner) > MOST_ADDRESSES or not all(map(_is_network, inner)):
        return False
    return all(_is_inside(ipaddress.ip_network(each), outer) for each in inner)


def _is_inside(inner: Any, outer: Any) -> bool:
    return inner.version == outer.version and inner != outer and bool(inner.subnet_of(outer))


def _is_network(text: Any) -> bool:
    try:
        return isinstance(text, str) and "/" in text and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def _is_selector(selector: Any) -> bool:
    if not isinstance(selector, dict) or not selector.keys() <= {"matchLabels", "matchExpressions"}:
        return False
    labels, expressions = selector.get("matchLabels", {}), selector.get("matchExpressions", [])
    if not isinstance(labels, dict) or not isinstance(expressions, list):
        return False
    if len(labels) > MOST_TERMS or len(expressions) > MOST_TERMS:
        return False
    return all(_KEY.fullmatch(key) and _is_value(value) for key, value in labels.items()) and all(
        map(_is_expression, expressions)
    )


def _is_expression(expression: Any) -> bool:
    if not isinstance(expression, dict) or not expression.keys() <= {"key", "operator", "values"}:
        return False
    key, values = expression.get("key"), expression.get("values", [])
    if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(values, list) or len(values) > MOST_TERMS:
        return False
    match expression.get("operator"):
        case "In" | "NotIn":
            return bool(values) and all(map(_is_value, values))
        case "Exists" | "DoesNotExist":
            return not values
    return False


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and bool(_VALUE.fullmatch(value))
