"""What a stolen token of the operator is not good for, decided by the rendered CEL.

tests/cluster/test_chart_admission.py asks the API server the same.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.test_chart_admission import (
    PLATFORM,
    _all_variables,
    _names,
    _other_claim,
    _other_secret,
    _other_variable,
    a_set,
    bounded,
    children,
    denied,
    naming,
    rendered,
    with_disk,
)
from llmservice_operator.resources import names
from support.admission import denials, policy

Json = dict[str, Any]
PULL = [{"name": "registry"}]


def _owned(obj: Json, *owners: Json) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": list(owners)}}


def _owner(obj: Json) -> Json:
    (found,) = obj["metadata"]["ownerReferences"]
    return dict(found)


def _of(kind: str) -> Json:
    return copy.deepcopy(next(each for each in children() if each["kind"] == kind))


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "PodDisruptionBudget"])
def test_autoscalers_and_budgets_of_the_operator_are_for_their_own_service(kind: str) -> None:
    ours, service = _of(kind), naming()
    assert denied(ours, params=[service]) == []
    name = ours["metadata"]["ownerReferences"][0]["name"]
    (case,) = [each for each in bounded(ours["metadata"], name) if each[1]["kind"] == kind]
    _, obj, spec, wrong = case
    assert denied({**obj, "spec": spec}, params=[service]) == []
    for change in wrong:
        bad = {**obj, "spec": {key: value for key, value in {**spec, **change}.items() if value is not None}}
        assert denied(bad, params=[service]), change
        assert denied(bad, ours, params=[service]), change


def _trigger(**fields: Any) -> Callable[[Json], Any]:
    return lambda spec: spec["triggers"][0].update(fields)


def _metadata(**fields: str) -> Callable[[Json], Any]:
    return lambda spec: spec["triggers"][0]["metadata"].update(fields)


SCALED: dict[str, Callable[[Json], Any]] = {
    "a Deployment": lambda spec: spec["scaleTargetRef"].update(apiVersion="apps/v1", kind="Deployment"),
    "a Deployment by default": lambda spec: spec.update(scaleTargetRef={"name": spec["scaleTargetRef"]["name"]}),
    "another service": lambda spec: spec["scaleTargetRef"].update(name="another"),
    "variables of a container": lambda spec: spec["scaleTargetRef"].update(envSourceContainerName="engine"),
    "another kind of trigger": _trigger(type="metrics-api"),
    "one more trigger": lambda spec: spec["triggers"].append({"type": "cron", "metadata": {}}),
    "another address": _metadata(serverAddress="https://attacker.example"),
    "an address that begins so": _metadata(serverAddress="https://prometheus.monitoring:9090.attacker.example"),
    "no address": lambda spec: spec["triggers"][0]["metadata"].pop("serverAddress"),
    "a variable of a pod": _metadata(passwordFromEnv="DB_PASSWORD"),
    "an address from a variable": _metadata(serverAddressFromEnv="URL"),
    "another login": _trigger(authenticationRef={"name": "others", "kind": "ClusterTriggerAuthentication"}),
    "a login of the namespace": _trigger(authenticationRef={"name": "prometheus"}),
    "another autoscaler": lambda spec: spec["advanced"]["horizontalPodAutoscalerConfig"].update(name="payments"),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_objects_of_the_operator_read_the_platforms_prometheus_alone(name: str) -> None:
    ours = _of("ScaledObject")
    assert denied(ours, params=[naming()]) == []
    bad = copy.deepcopy(ours)
    SCALED[name](bad["spec"])
    assert denied(bad, params=[naming()])
    assert denied(bad, ours, params=[naming()])


def test_without_a_login_of_the_platform_none_is_named() -> None:
    ours = _of("ScaledObject")
    scaling = {**PLATFORM["scaling"], "keda": {}}
    rules = policy(rendered(scaling=scaling), "-own-keda")
    user = "system:serviceaccount:llmservice-system:llmservice-operator"
    assert denials(rules, ours, user=user)
    del ours["spec"]["triggers"][0]["authenticationRef"]
    assert denials(rules, ours, user=user) == []


@pytest.mark.parametrize(
    "name", ["postgres", "chat-r", "chat-r0", "chat-r1a", "chat-rr1", "chat-r1-r1", "chat1", "a-chat"]
)
def test_statefulsets_have_the_name_of_their_service(name: str) -> None:
    good, named = a_set(), naming(model="hf-token")
    assert _owner(good)["name"] == "chat"
    for other in (*(names.engine_statefulset("chat", rank) for rank in (0, 1, 12)), name):
        made = {**good, "metadata": {**good["metadata"], "name": other}}
        assert bool(denied(made, params=[named])) is (other == name), other


def test_the_only_claim_template_is_the_cache() -> None:
    good, named = a_set(), naming(model="hf-token")
    assert denied(with_disk(good, names.CACHE_VOLUME), params=[named]) == []
    two = with_disk(good, names.CACHE_VOLUME)
    two["spec"]["volumeClaimTemplates"] += with_disk(good, "data-my")["spec"]["volumeClaimTemplates"]
    for bad in (with_disk(good, "data-my"), two):
        assert denied(bad, params=[named])
        assert denied(bad, good, params=[named])


def test_a_change_keeps_the_owner_in_uid_name_and_controller() -> None:
    good, named = a_set(), naming(model="hf-token")
    owner, bad = _owner(good), _other_secret(good)
    others = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}
    for owners in (
        [{**owner, "name": "none"}],
        [{**owner, "controller": False}, {**owner, "name": "none"}],
        [{**owner, "name": "none"}, owner],
        [{**owner, "uid": "made-up"}],
        [{**owner, "apiVersion": "llmservice.dev/v99"}],
        [],
    ):
        for changed in (good, bad):
            assert denied(_owned(changed, *owners), good, params=[named]), owners
    beside = _owned(good, owner, others)
    assert denied(beside, beside, params=[named]) == []
    for change in ({"name": "b"}, {"kind": "Pod"}, {"apiVersion": "v2"}, {"uid": "b"}):
        assert denied(_owned(good, owner, {**others, **change}), beside, params=[named]), change


def test_nothing_is_made_of_an_owner_with_the_uid_of_a_service_and_another_name() -> None:
    good, named = a_set(), naming(model="hf-token")
    for change in ({"name": "none"}, {"uid": "made-up"}, {"apiVersion": "llmservice.dev/v99"}):
        made = _owned(good, {**_owner(good), **change})
        made["metadata"]["name"] = made["metadata"]["ownerReferences"][0]["name"]
        assert denied(made, params=[named]), change


@pytest.mark.parametrize("change", [_other_secret, _other_variable, _other_claim, _all_variables])
def test_what_a_deleted_service_has_left_gets_no_other_secret_with_a_new_owner(change: Callable[[Json], Json]) -> None:
    good = a_set()
    owner = _owner(good)
    for left in (_owned(good), _owned(good, {**owner, "controller": False})):
        assert denied(good, _owned(good), params=[]) == [], "adopted as it is"
        for owners in ([owner], [{**owner, "name": "none", "uid": "made-up"}]):
            assert denied(_owned(change(good), *owners), left, params=[])
    kept = json.dumps(_other_secret(good)["spec"]["template"], sort_keys=True, separators=(",", ":"))
    noted = a_set(**{names.LAST_GOOD_ANNOTATION: kept})
    assert denied(noted, _owned(good), params=[]), "nor is it noted as one of before"
    assert denied(_other_secret(noted), _owned(noted), params=[]) == [], "a rollback that had begun"


def _pulling(obj: Json, *secrets: str) -> Json:
    changed = copy.deepcopy(obj)
    changed["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": each} for each in secrets]
    return changed


def test_images_are_pulled_with_the_platforms_secrets_or_those_of_before() -> None:
    good, named = a_set(), naming(model="hf-token")
    assert denied(_pulling(good, "registry", "mirror"), params=[named]) == []
    for bad in (
        _pulling(good, "others"),
        _pulling(good, "registry", "others"),
        _pulling(good, 'registry"},{"name":"a'),
    ):
        assert denied(bad, params=[named])
        assert denied(bad, good, params=[named])
    old = _pulling(good, "old", "older")
    assert denied(old, old, params=[named]) == [], "what is there already stays"
    kept = json.dumps(old["spec"]["template"], sort_keys=True, separators=(",", ":"))
    rolling = a_set(**{names.LAST_GOOD_ANNOTATION: kept})
    assert denied(rolling, old, params=[named]) == [], "noted as the new template comes"
    assert denied(_pulling(rolling, "old", "older"), rolling, params=[named]) == [], "and rolled back to"
    assert denied(_pulling(rolling, "others"), rolling, params=[named])
    assert denied(rolling, good, params=[named]), "never noted by itself"
    assert denied(rolling, params=[named])


def test_services_name_the_pull_secrets_that_the_platform_lists() -> None:
    good = a_set()
    allowed = rendered({"imagePullSecrets": ["team", "llm-*"]}, runtime={"pullSecrets": ["registry"]})
    rules, user = policy(allowed, "-own-workloads"), "system:serviceaccount:llmservice-system:llmservice-operator"

    def kept(*secrets: str) -> Json:
        template = json.dumps(_pulling(good, *secrets)["spec"]["template"], sort_keys=True, separators=(",", ":"))
        return a_set(**{names.LAST_GOOD_ANNOTATION: template})

    for secrets in (("team",), ("registry", "team", "llm-a"), ("llm-",)):
        assert denials(rules, _pulling(good, *secrets), user=user) == [], secrets
        assert denials(rules, kept(*secrets), user=user) == [], secrets
    for secrets in (("team2",), ("a-llm-a",), ("registry", "llm"), ("tea",)):
        assert denials(rules, _pulling(good, *secrets), user=user), secrets
        assert denials(rules, kept(*secrets), user=user), secrets


@pytest.mark.parametrize(
    "source",
    [
        {"podCertificate": {"signerName": "a/b", "keyType": "ED25519"}},
        {"clusterTrustBundle": {"name": "a", "path": "a"}},
        {"serviceAccountToken": {"path": "t"}},
        {"secret": {"name": "others"}},
    ],
    ids=str,
)
def test_projected_volumes_hold_configmaps_and_the_pods_own_fields_alone(source: Json) -> None:
    good, named = a_set(), naming(model="hf-token")

    def projecting(*sources: Json) -> Json:
        changed = copy.deepcopy(good)
        changed["spec"]["template"]["spec"]["volumes"].append({"name": "z", "projected": {"sources": list(sources)}})
        return changed

    fine: list[Json] = [{"configMap": {"name": "a"}}, {"downwardAPI": {"items": []}}]
    assert denied(projecting(*fine), params=[named]) == []
    assert denied(projecting(*fine, source), params=[named])


LABEL = {names.MANAGED_BY_LABEL: names.OPERATOR}


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ConfigMap", "StatefulSet", "Pod"])
def test_keda_and_controllers_copy_the_label(kind: str) -> None:
    rules = policy(rendered(), "-label")
    plain = {"kind": kind, "metadata": {"name": "keda-hpa-chat"}}
    made = {"kind": kind, "metadata": {"name": "keda-hpa-chat", "labels": LABEL}}
    for before in (None, plain):
        assert denials(rules, made, before)
        keda = denials(rules, made, before, may=lambda *asked: asked == ("scaledobjects/status", "patch"))
        assert (keda == []) is (kind == "HorizontalPodAutoscaler")
        assert denials(rules, made, before, may=lambda *asked: asked == ("llmservices/status", "patch")) == []
        for user in ("system:kube-controller-manager", "system:serviceaccount:kube-system:statefulset-controller"):
            assert denials(rules, made, before, user=user) == []
    assert denials(rules, {**made, "spec": {}}, made) == [], "an object that has it"


def _request(**fields: Any) -> Callable[[Json], Any]:
    return lambda devices: devices["requests"][0]["exactly"].update(fields)


CLAIMED: dict[str, Callable[[Json], Any]] = {
    "administrative access": _request(adminAccess=True),
    "a configuration of the driver": lambda devices: devices.update(
        config=[{"opaque": {"driver": "a", "parameters": {}}}]
    ),
    "another class": _request(deviceClassName="others.example.com"),
    "a selector": _request(selectors=[{"cel": {"expression": "true"}}]),
    "one of several classes": lambda devices: devices["requests"].append({"name": "b", "firstAvailable": []}),
}


@pytest.mark.parametrize("name", CLAIMED)
def test_devices_are_claimed_of_the_platforms_classes_without_further_rights(name: str) -> None:
    ours = next(each for each in children() if each["kind"] == "ResourceClaimTemplate" and _selects_none(each))
    (request,) = ours["spec"]["spec"]["devices"]["requests"]
    allowed = {"deviceClasses": [request["exactly"]["deviceClassName"]]}
    rules = policy(rendered(allowed), "-own-devices")
    user = "system:serviceaccount:llmservice-system:llmservice-operator"
    assert denials(rules, ours, user=user) == []
    bad = copy.deepcopy(ours)
    CLAIMED[name](bad["spec"]["spec"]["devices"])
    assert denials(rules, bad, user=user)


def _selects_none(template: Json) -> bool:
    return not any("selectors" in each["exactly"] for each in template["spec"]["spec"]["devices"]["requests"])


@pytest.mark.parametrize(
    "claim",
    [{"resourceClaimName": "others"}, {"resourceClaimTemplateName": "others"}, {"resourceClaimTemplateName": "cha"}],
)
def test_pods_claim_devices_by_the_template_of_their_service_alone(claim: Json) -> None:
    ours = next(
        each
        for each in children()
        if each["kind"] == "StatefulSet" and each["spec"]["template"]["spec"].get("resourceClaims")
    )
    (claimed,) = _names(ours, "claimName")
    service = naming(f"pvc://{claimed}/a")
    assert denied(ours, params=[service]) == []
    bad = copy.deepcopy(ours)
    bad["spec"]["template"]["spec"]["resourceClaims"] = [{"name": "devices", **claim}]
    assert denied(bad, params=[service])
    assert denied(bad, ours, params=[service])
