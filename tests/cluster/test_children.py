"""Rendered children on a real API server: it takes them, its defaults are no drift, and each change is.

All writes are dry runs: the answer is the object as it would be stored, with every default, and nothing stays behind.
"""

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from builders.cases import CASES
from builders.services import ServiceBuilder
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.resources import kinds
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, Network, Platform, Proxy
from support import versions
from support.cluster import APPLY, Cluster

NETWORK = Network(
    clients=({"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}},),
    gateways=({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}},),
    prometheus=({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},),
    excepted=("10.96.0.0/12",),
    api_server=("10.96.0.1/32", "172.18.0.2/32", "fd00::1/128"),
)
PLATFORM = Platform(
    adapter=Adapter.OWN,
    tolerance_is_settable=True,
    scales_to_zero=True,
    network=NETWORK,
    proxy=Proxy(https="http://proxy.corp.example:3128", no_proxy=(".corp.example",)),
    ca_bundle="-----BEGIN CERTIFICATE-----",
    ip_family_policy="PreferDualStack",
)


def rendered(cluster: Cluster, builder: ServiceBuilder, namespace: str) -> list[dict[str, Any]]:
    service = builder.build()
    minor = versions.minor(cluster)
    platform = dataclasses.replace(PLATFORM, tolerance_is_settable=minor >= 35, scales_to_zero=minor >= 37)
    if "deviceClassName" in service["spec"].get("accelerator", {}):
        versions.need(cluster, "resource.k8s.io/v1", "resourceclaimtemplates")
    owner = Owner(service["metadata"]["name"], namespace, service["metadata"]["uid"])
    spec = LLMServiceSpec.model_validate(service["spec"])
    objects = [*make_children(owner, spec, platform, 2), make_inspection(owner, spec, platform)]
    copied: list[dict[str, Any]] = json.loads(json.dumps(objects))
    return copied


def dry_run(cluster: Cluster, namespace: str, desired: Mapping[str, Any]) -> dict[str, Any]:
    path = kinds.named(desired["kind"]).path(namespace, desired["metadata"]["name"])
    query = {"dryRun": "All", "fieldManager": "llmservice-tests", "force": "true", "fieldValidation": "Strict"}
    answer = cluster.request("PATCH", path, desired, content_type=APPLY, **query)
    assert answer.ok, answer.message
    assert not answer.warnings, answer.warnings
    stored: dict[str, Any] = answer.body
    return stored


@pytest.mark.parametrize("case", CASES)
def test_the_api_servers_defaults_are_no_drift(cluster: Cluster, shared_namespace: str, case: str) -> None:
    for desired in rendered(cluster, CASES[case], shared_namespace):
        stored = dry_run(cluster, shared_namespace, desired)
        assert not differs(desired, stored), f"{desired['kind']} {desired['metadata']['name']}"


@pytest.mark.parametrize("case", ["everything", "scheduling", "s3", "scaled", "access"])
def test_each_owned_field_changed_or_removed_is_drift(cluster: Cluster, shared_namespace: str, case: str) -> None:
    for desired in rendered(cluster, CASES[case], shared_namespace):
        stored = dry_run(cluster, shared_namespace, desired)
        for path in leaves(desired):
            if path[0] not in ("apiVersion", "kind") and at(desired, path) != {}:
                place = f"{desired['kind']}: {'.'.join(map(str, path))}"
                assert differs(desired, altered(stored, path)), f"{place} altered"
                if at(desired, path):
                    assert differs(desired, without(stored, path)), f"{place} removed"


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_standard(cluster: Cluster, shared_namespace: str, case: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    path = f"/api/v1/namespaces/{shared_namespace}"
    answer = cluster.request(
        "PATCH", path, {"metadata": {"labels": labels}}, content_type="application/merge-patch+json"
    )
    assert answer.ok, answer.message
    for desired in rendered(cluster, CASES[case], shared_namespace):
        if desired["kind"] in ("StatefulSet", "Job"):
            dry_run(cluster, shared_namespace, desired)
            template = copy.deepcopy(desired["spec"]["template"])
            for field in ("priorityClassName", "runtimeClassName"):
                template["spec"].pop(field, None)
            for claim in desired["spec"].get("volumeClaimTemplates") or ():
                name = claim["metadata"]["name"]
                template["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
            pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "probe"}}
            answer = cluster.request("POST", f"{path}/pods", pod, dryRun="All", fieldValidation="Strict")
            assert answer.ok, answer.message


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values that hold no further values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = list(items)
    if not inside:
        yield path
    for key, item in inside:
        yield from leaves(item, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at the path; None if there is none. The API server keeps the order of lists."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def altered(stored: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """``stored`` with another value at the path."""
    changed = copy.deepcopy(stored)
    match at(changed, path):
        case bool(old):
            new: Any = not old
        case int(old):
            new = old + 1
        case str(old):
            new = "7" + old
        case _:
            new = True
    at(changed, path[:-1])[path[-1]] = new
    return changed


def without(stored: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """``stored`` without the value at the path."""
    changed = copy.deepcopy(stored)
    del at(changed, path[:-1])[path[-1]]
    return changed
