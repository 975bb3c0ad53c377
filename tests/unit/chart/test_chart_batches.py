"""The objects of files and batches in the chart."""

from typing import Any

import pytest

from llmservice_operator.config.batches import BatchesSettings, read_batches
from llmservice_operator.config.gateway import read_gateway
from support.helm import HelmError, render

ENABLED = {"gateway": {"type": "NGINX"}, "batches": {"enabled": True, "secret": "batches-key"}}


def objects(values: dict[str, Any], name: str = "llmservice-operator-batches") -> dict[str, dict[str, Any]]:
    """The objects of this name by kind."""
    return {each["kind"]: each for each in render(values) if each["metadata"]["name"] == name}


def pod(found: dict[str, dict[str, Any]], kind: str = "StatefulSet") -> dict[str, Any]:
    """Their pod."""
    spec: dict[str, Any] = found[kind]["spec"]["template"]["spec"]
    return spec


def variables(spec: dict[str, Any]) -> dict[str, str]:
    """The environment of a pod's container."""
    return {each["name"]: each["value"] for each in spec["containers"][0]["env"]}


def test_there_are_none_unless_they_are_enabled() -> None:
    assert not objects({"gateway": {"type": "NGINX"}})
    gateway = pod(objects({"gateway": {"type": "NGINX"}}, "llmservice-operator-gateway"), "Deployment")
    assert not [name for name in variables(gateway) if "BATCHES" in name]


def test_the_defaults_are_the_programs() -> None:
    found = objects(ENABLED)
    own = read_batches(variables(pod(found)))
    defaults = BatchesSettings()
    changed = {name for name in BatchesSettings.model_fields if getattr(own, name) != getattr(defaults, name)}
    assert changed == {"batches_gateway", "log_format"}
    assert own.batches_gateway == "http://llmservice-operator-gateway.llmservice-system"


def test_the_gateway_leads_to_its_service() -> None:
    found = objects(ENABLED)
    gateway = read_gateway(variables(pod(objects(ENABLED, "llmservice-operator-gateway"), "Deployment")))
    assert gateway.gateway_batches == "llmservice-operator-batches.llmservice-system:80"
    assert found["Service"]["spec"]["ports"][0]["port"] == 80
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["StatefulSet"]["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_with_a_certificate_it_uses_tls() -> None:
    values = {**ENABLED, "gateway": {"type": "NGINX", "tls": {"secret": "certificate"}}}
    assert read_batches(variables(pod(objects(values)))).batches_gateway.startswith("https://")


def test_its_pod_has_no_rights_and_writes_to_its_volumes_alone() -> None:
    found = objects(ENABLED)
    assert set(found) == {"StatefulSet", "Service", "NetworkPolicy"}
    spec = pod(found)
    assert spec["automountServiceAccountToken"] is False
    assert found["StatefulSet"]["spec"]["replicas"] == 1
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert {each["name"]: each.get("readOnly", False) for each in container["volumeMounts"]} == {
        "data": False,
        "key": True,
        "tmp": False,
    }


def test_the_claim_is_the_charts_or_the_users() -> None:
    (made,) = objects(ENABLED)["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert made["spec"]["resources"]["requests"] == {"storage": "20Gi"}
    found = objects({**ENABLED, "batches": {**ENABLED["batches"], "existingClaim": "mine"}})
    assert "volumeClaimTemplates" not in found["StatefulSet"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in pod(found)["volumes"]


def test_only_the_gateway_reaches_it_and_it_reaches_the_gateway() -> None:
    clients = objects(ENABLED)["NetworkPolicy"]["spec"]["ingress"][0]
    assert clients["ports"] == [{"port": "clients", "protocol": "TCP"}]
    (peer,) = clients["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    restricted = {**ENABLED, "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "shop"}}}]}}
    gateway = objects(restricted, "llmservice-operator-gateway")["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    selected = [each["podSelector"]["matchLabels"].get("app.kubernetes.io/component") for each in gateway]
    assert "batches" in selected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batches": {"enabled": True, "secret": "key"}}, "gateway.type"),
        ({"gateway": {"type": "NGINX"}, "batches": {"enabled": True}}, "batches.secret"),
        ({"batches": {"keyMegabytes": 10, "namespaceMegabytes": 5}}, "batches.namespaceMegabytes"),
        ({"batches": {"maxFileMegabytes": 513}}, "maxFileMegabytes"),
        ({"batches": {"replicas": 2}}, "replicas"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(values)
