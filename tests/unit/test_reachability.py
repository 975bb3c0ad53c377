"""The evaluator of NetworkPolicies, held against examples of Kubernetes' documentation."""

from __future__ import annotations

from typing import Any

import pytest

from support.reachability import Network, Outside, Pod

DB, WEB = Pod("default", {"role": "db"}, "172.17.9.9"), Pod("default", {"role": "frontend"}, "172.17.1.4")
OTHER = Pod("myproject", {"role": "x"}, "10.1.1.1")
EXAMPLE = {
    "metadata": {"namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"role": "db"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                    {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                    {"podSelector": {"matchLabels": {"role": "frontend"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }
        ],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}],
                "ports": [{"protocol": "TCP", "port": 5978, "endPort": 5980}],
            }
        ],
    },
}
NAMESPACES = {"myproject": {"project": "myproject"}}


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default"}, "spec": {"podSelector": {}, **spec}}


def test_the_example_of_the_documentation() -> None:
    net = Network([EXAMPLE], NAMESPACES)
    assert net.reaches(WEB, DB, 6379) and net.reaches(OTHER, DB, 6379) and net.reaches(Outside("172.17.0.5"), DB, 6379)
    assert not net.reaches(Outside("172.17.1.5"), DB, 6379)
    assert not net.reaches(Pod("default", {}, "10.9.9.9"), DB, 6379)
    assert not net.reaches(WEB, DB, 6380) and not net.reaches(WEB, DB, 6379, "UDP")
    assert net.reaches(DB, Outside("10.0.0.7"), 5979) and not net.reaches(DB, Outside("10.0.0.7"), 5981)
    assert not net.reaches(DB, Outside("10.0.1.7"), 5978)
    assert net.reaches(DB, WEB, 80) is False, "egress is closed, though nothing selects the other end"
    assert net.reaches(OTHER, WEB, 80), "a pod that no policy selects is open"


@pytest.mark.parametrize(
    ("spec", "open_"),
    [
        ({}, False),
        ({"ingress": [{}]}, True),
        ({"ingress": []}, False),
        ({"policyTypes": ["Egress"]}, True),
        ({"ingress": [{"from": []}]}, True),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, False),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, True),
        ({"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "y"}}}]}]}, False),
        ({"ingress": [{"ports": [{"protocol": "TCP"}]}]}, True),
        ({"ingress": [{"ports": [{"protocol": "UDP", "port": 80}]}]}, False),
    ],
)
def test_what_is_absent_and_what_is_empty(spec: dict[str, Any], open_: bool) -> None:
    assert Network([policy(**spec)]).reaches(OTHER, WEB, 80) is open_


def test_policies_add_up() -> None:
    both = [policy(), policy(ingress=[{"from": [{"namespaceSelector": {}}]}])]
    assert Network(both).reaches(OTHER, WEB, 80)


@pytest.mark.parametrize(
    "wrong",
    [
        policy(ingress=[{"form": []}]),
        policy(ingress=[{"from": [{"podselector": {}}]}]),
        policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]),
        policy(ingress=[{"ports": [{"port": "http"}]}]),
    ],
)
def test_what_it_does_not_know_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        Network([wrong]).reaches(OTHER, WEB, 80)
