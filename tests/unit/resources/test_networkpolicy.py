"""Who reaches a service's pods, and what these reach, computed from the policies that the planner renders."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from builders.observed import a_scene
from builders.pods import a_pod
from builders.services import ServiceBuilder, a_service
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Allowed, Network, Platform
from support import reachability
from support.reachability import Outside, Pod

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
ALLOWED = Allowed(service_accounts=("team-a/reader",))
API_SERVER = ("10.96.0.1/32", "172.18.0.2/32", "fd00:10:96::1/128")
NETWORK = Network(prometheus=(MONITORING,), api_server=API_SERVER)
SEVERAL = (
    a_service("chat", "team-a")
    .from_source("s3://models/chat")
    .read()
    .spread_over(tensor=4, pipeline=2, nodes=4)
    .with_replicas(2)
)
HTTP, METRICS, PROBE, GROUP, MASTER, CHOSEN_BY_VLLM = 8000, 8002, 8001, 29500, 29501, 41234

PROMETHEUS = Pod("monitoring", {"app": "prometheus"}, "10.244.9.1")
OTHER_TENANT = Pod("team-b", {"app": "web"}, "10.244.3.7")
FORGER = Pod(
    "team-b",
    {
        **names.labels("chat", "engine"),
        names.POD_INDEX_LABEL: "0",
        names.NODES_LABEL: "4",
        "kubernetes.io/metadata.name": "monitoring",
        "app": "prometheus",
    },
    "10.244.3.8",
)
"""A pod of another tenant with every label that counts, in its own namespace."""
NEIGHBOUR = Pod("team-a", names.labels("other", "engine"), "10.244.3.9")


def policies(service: ServiceBuilder, network: Network | None = NETWORK, **scene: Any) -> list[dict[str, Any]]:
    """Those that a plan of the service has."""
    plan = a_scene(service).on(Platform(network=network, allowed=ALLOWED)).plan()
    return [each for each in plan.objects if each["kind"] == "NetworkPolicy"]


def pods_of(service: ServiceBuilder, replica: int = 0) -> list[Pod]:
    """The pods of a replica, as its StatefulSets make them; rank 0 is the first."""
    found = []
    for child in a_scene(service).on(Platform(network=NETWORK, allowed=ALLOWED)).plan().objects:
        if child["kind"] == "StatefulSet":
            meta = child["spec"]["template"]["metadata"]["labels"]
            rank = int(meta.get(names.RANK_LABEL, 0))
            labels = {**meta, names.POD_INDEX_LABEL: str(replica)}
            found.append((rank, Pod("team-a", labels, f"10.244.{replica}.{rank + 1}")))
    return [pod for _, pod in sorted(found, key=lambda each: each[0])]


def network_of(service: ServiceBuilder, network: Network | None = NETWORK) -> reachability.Network:
    return reachability.Network(policies(service, network))


SCENES = {"one node": a_service("chat", "team-a").with_replicas(2), "several nodes": SEVERAL}


@pytest.fixture(params=SCENES)
def service(request: pytest.FixtureRequest) -> ServiceBuilder:
    return SCENES[request.param]


def test_without_policies_a_stranger_reaches_every_port() -> None:
    net = network_of(SEVERAL, None)
    assert net.policies == []
    assert net.reaches(OTHER_TENANT, pods_of(SEVERAL)[0], MASTER), "what the policies are for"


def test_clients_reach_the_clients_port_and_no_other(service: ServiceBuilder) -> None:
    net, (leader, *_) = network_of(service), pods_of(service)
    for client in (OTHER_TENANT, FORGER, NEIGHBOUR, PROMETHEUS, Outside("203.0.113.9"), Outside("2001:db8::9")):
        assert net.reaches(client, leader, HTTP)
    for client in (OTHER_TENANT, FORGER, NEIGHBOUR, Outside("203.0.113.9")):
        for port in (METRICS, PROBE, GROUP, MASTER, CHOSEN_BY_VLLM, 1, 65_535):
            assert not net.reaches(client, leader, port), port
        assert not net.reaches(client, leader, HTTP, "UDP")


def test_stated_clients_and_gateways_alone_reach_it() -> None:
    gateway = {"namespaceSelector": {"matchLabels": {"role": "gateway"}}, "podSelector": {"matchLabels": {"app": "gw"}}}
    client = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.0.0/16"]}}
    given = Network(clients=(client,), gateways=(gateway,), prometheus=(MONITORING,))
    net = reachability.Network(policies(SEVERAL, given), {"gateways": {"role": "gateway"}})
    leader = pods_of(SEVERAL)[0]
    assert net.reaches(Outside("10.1.2.3"), leader, HTTP)
    assert net.reaches(Pod("gateways", {"app": "gw"}), leader, HTTP)
    for other in (OTHER_TENANT, Pod("gateways", {"app": "x"}), Pod("team-b", {"app": "gw"}), Outside("203.0.113.9")):
        assert not net.reaches(other, leader, HTTP)
    assert net.reaches(PROMETHEUS, leader, HTTP), "pods of an earlier release have their metrics there"


def test_prometheus_and_the_api_server_read_metrics_and_nobody_else_does(service: ServiceBuilder) -> None:
    net, (leader, *_) = network_of(service), pods_of(service)
    assert net.reaches(PROMETHEUS, leader, METRICS)
    assert net.reaches(Outside("172.18.0.2"), leader, METRICS), "kubectl llm top"
    assert not net.reaches(PROMETHEUS, leader, MASTER)
    closed = network_of(service, Network())
    assert not closed.reaches(PROMETHEUS, leader, METRICS), "without a peer it is closed"


def test_ranks_reach_those_of_their_own_replica_alone() -> None:
    net = network_of(SEVERAL)
    first, second = pods_of(SEVERAL, 0), pods_of(SEVERAL, 1)
    assert len(first) == 4
    for one, other in itertools.permutations(first, 2):
        for port in (GROUP, MASTER, CHOSEN_BY_VLLM):
            assert net.reaches(one, other, port)
    for one, other in itertools.product(first, second):
        for port in (GROUP, MASTER, CHOSEN_BY_VLLM, PROBE, METRICS):
            assert not net.reaches(one, other, port)
            assert not net.reaches(other, one, port)


def test_no_other_pod_reaches_a_port_of_the_ranks() -> None:
    net = network_of(SEVERAL)
    inspection = Pod("team-a", names.labels("chat", names.INSPECTION_COMPONENT), "10.244.0.99")
    other_service = [
        Pod("team-a", {**pod.labels, names.INSTANCE_LABEL: "other"}, "10.244.0.98") for pod in pods_of(SEVERAL)
    ]
    for target in pods_of(SEVERAL):
        for source in (OTHER_TENANT, FORGER, NEIGHBOUR, PROMETHEUS, inspection, *other_service, Outside("203.0.113.9")):
            for port in (GROUP, MASTER, CHOSEN_BY_VLLM):
                assert not net.reaches(source, target, port)


def test_a_surge_pod_and_pods_of_one_node_have_what_they_need() -> None:
    net, surge = network_of(SEVERAL), pods_of(SEVERAL, 2)
    assert net.reaches(surge[1], surge[0], MASTER)
    assert len(policies(SCENES["one node"])) == 1
    one, other = (pods_of(SCENES["one node"], number)[0] for number in (0, 1))
    assert not network_of(SCENES["one node"]).reaches(one, other, METRICS)


METADATA = (
    *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    *("fd00:ec2::254", "fd20:ce::254", "fe80::1", "64:ff9b::a9fe:a9fe"),
)


def test_no_pod_of_a_service_reaches_the_nodes_metadata_or_the_api_server(service: ServiceBuilder) -> None:
    net = network_of(service)
    inspection = Pod("team-a", names.labels("chat", names.INSPECTION_COMPONENT), "10.244.0.99")
    for pod in (*pods_of(service), inspection):
        for address in (*METADATA, "10.96.0.1", "172.18.0.2", "fd00:10:96::1"):
            for port in (80, 443, 6443):
                assert not net.reaches(pod, Outside(address), port), address
        for address in ("203.0.113.9", "2001:db8::9", "10.97.3.4"):
            assert net.reaches(pod, Outside(address), 443), address
        for resolver in (Pod("kube-system", {"k8s-app": "kube-dns"}), Outside("169.254.20.10")):
            assert net.reaches(pod, resolver, 53, "UDP")
            assert net.reaches(pod, resolver, 53, "TCP")
        assert net.reaches(pod, Pod("store", {"app": "valkey"}), 6379)


def test_a_service_account_opens_the_agent_for_its_own_role_alone() -> None:
    named = SEVERAL.with_spec(serviceAccountName="reader")
    for service, is_open in ((named, True), (SEVERAL, False)):
        net, pod = network_of(service), pods_of(service)[0]
        for address in ("169.254.170.23", "fd00:ec2::23"):
            assert net.reaches(pod, Outside(address), 80) is is_open
            assert not net.reaches(pod, Outside(address), 443)
        for address in METADATA:
            assert not net.reaches(pod, Outside(address), 80), address


def test_a_platform_confines_what_pods_reach_in_the_cluster() -> None:
    hub = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hub"}}}
    given = Network(pods=(hub,), excepted=("10.244.0.0/16", "10.96.0.0/12"), api_server=API_SERVER)
    net, pod = network_of(SEVERAL, given), pods_of(SEVERAL)[0]
    assert net.reaches(pod, Pod("hub", {}, "10.244.7.7"), 8080)
    assert not net.reaches(pod, OTHER_TENANT, 80)
    assert not net.reaches(pod, Outside("10.97.0.9"), 80)
    assert net.reaches(pod, Outside("203.0.113.9"), 443)
    assert net.reaches(pod, pods_of(SEVERAL)[1], MASTER), "ranks of one replica reach each other all the same"
    closed = Network(pods=(), excepted=("0.0.0.0/0", "::/0"))
    net = network_of(SEVERAL, closed)
    assert not net.reaches(pod, Outside("203.0.113.9"), 443)
    assert net.reaches(pod, Outside("203.0.113.9"), 53, "UDP")


def test_the_policy_comes_before_any_pod_of_the_service() -> None:
    waiting = a_service("chat", "team-a").from_source("s3://models/chat").spread_over(tensor=2)
    for scene in (waiting, SEVERAL):
        kinds = [each["kind"] for each in a_scene(scene).on(Platform(network=NETWORK, allowed=ALLOWED)).plan().objects]
        pods = [kinds.index(kind) for kind in ("Job", "StatefulSet") if kind in kinds]
        assert pods, kinds
        assert kinds.index("NetworkPolicy") < min(pods)


def test_switched_off_the_policies_go() -> None:
    scene = a_scene(SEVERAL).on(Platform(network=NETWORK, allowed=ALLOWED)).applied()
    assert not [each for each in scene.plan().deletions if each.kind == "NetworkPolicy"]
    gone = {each.name for each in scene.on(Platform()).plan().deletions if each.kind == "NetworkPolicy"}
    assert gone == {"chat.service", "chat.replica-0", "chat.replica-1", "chat.replica-2"}


def test_a_replicas_policy_stays_as_long_as_its_pods() -> None:
    scene = (
        a_scene(SEVERAL.with_replicas(3)).on(Platform(network=NETWORK, allowed=ALLOWED)).applied().with_spec(replicas=1)
    )
    labels = {names.POD_INDEX_LABEL: "2", names.NODES_LABEL: "4"}
    draining = a_pod("chat-2").labelled(labels).on_node()
    gone = {each.name for each in scene.with_pods(draining).plan().deletions if each.kind == "NetworkPolicy"}
    assert gone == {"chat.replica-3"}
    gone = {each.name for each in scene.plan().deletions if each.kind == "NetworkPolicy"}
    assert gone == {"chat.replica-2", "chat.replica-3"}


def test_its_names_are_those_of_no_other_service() -> None:
    for replica in (None, 0):
        assert "." in names.network_policy("chat", replica), "a service's name is a DNS label"


def an_api_server(desired: dict[str, Any]) -> dict[str, Any]:
    return {**copy.deepcopy(desired), "metadata": copy.deepcopy(desired["metadata"])}


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["ingress"].append({}),
        lambda spec: spec["ingress"][1]["from"].append({"podSelector": {}}),
        lambda spec: spec["ingress"][1]["ports"].append({"port": 29501, "protocol": "TCP"}),
        lambda spec: spec["ingress"][1].pop("from"),
        lambda spec: spec["egress"].append({}),
        lambda spec: spec["egress"][1]["to"][1]["ipBlock"]["except"].pop(),
        lambda spec: spec["podSelector"]["matchLabels"].update({"more": "yes"}),
        lambda spec: spec["policyTypes"].pop(),
    ],
)
def test_whatever_opens_more_is_drift(change: Callable[[dict[str, Any]], Any]) -> None:
    desired = policies(SEVERAL)[0]
    live = an_api_server(desired)
    assert not differs(desired, live)
    change(live["spec"])
    assert differs(desired, live)
