"""The chart's ValidatingAdmissionPolicies: which placements services may ask for, and what the operator may make.

Most cases are decided by evaluating the rendered CEL, and by the operator's own check of the same lists; those at the
end by the API server itself.
"""

import contextlib
import copy
import functools
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import COMMIT, a_service
from llmservice_operator.api.placement import Scheduling
from llmservice_operator.config.settings import from_environment
from llmservice_operator.resources import placements
from support.admission import denials, policy
from support.cluster import APPLY, MERGE, Cluster, wait_until
from support.helm import ROOT, HelmError, only, render

Json = dict[str, Any]
OPERATOR = "system:serviceaccount:llmservice-system:llmservice-operator"
LISTS: Json = {
    "tolerations": ["nvidia.com/gpu", "dedicated=team-a", "example.com/*", "node.kubernetes.io/unreachable"],
    "nodeSelectorKeys": ["pool", "topology.kubernetes.io/*"],
    "priorityClassNames": ["serving", "batch-*", "system-node-critical"],
    "runtimeClassNames": [],
    "schedulerNames": ["default-scheduler"],
}
ANYTHING: Json = {name: ["*"] for name in LISTS}
NODE, MASTER = "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"


def tolerating(**fields: str) -> Json:
    return {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}, fields]}


PLACEMENTS: list[tuple[Json | None, Json, bool]] = [
    # The defaults.
    (None, {"spreadOver": "topology.kubernetes.io/zone"}, True),
    (None, {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}, True),
    (None, tolerating(key="amd.com/gpu", value="present", effect="NoSchedule"), True),
    (None, tolerating(operator="Exists"), False),
    (None, tolerating(key=NODE, operator="Exists"), False),
    (None, tolerating(key="team", value="a"), False),
    (None, {"nodeSelector": {"pool": "a", "kubernetes.io/arch": "amd64"}}, True),
    (None, {"nodeSelector": {"pool": "a", NODE: ""}}, False),
    (None, {"nodeSelector": {MASTER: ""}}, False),
    (None, {"priorityClassName": "system-cluster-critical"}, False),
    (None, {"priorityClassName": "serving"}, False),
    (None, {"runtimeClassName": "nvidia"}, True),
    (None, {"runtimeClassName": "privileged"}, False),
    (None, {"schedulerName": "default-scheduler"}, True),
    (None, {"schedulerName": "packer"}, False),
    # Lists of names, beginnings and values.
    (LISTS, tolerating(key="dedicated", value="team-a"), True),
    (LISTS, tolerating(key="dedicated", operator="Equal", value="team-a"), True),
    (LISTS, tolerating(key="dedicated", value="team-b"), False),
    (LISTS, tolerating(key="dedicated", operator="Exists"), False),
    (LISTS, tolerating(key="example.com/gpu", operator="Exists"), True),
    (LISTS, tolerating(key="example.com.attacker.org/gpu", operator="Exists"), False),
    (LISTS, tolerating(key="node.kubernetes.io/unreachable", operator="Exists"), True),
    (LISTS, tolerating(key="node.kubernetes.io/not-ready", operator="Exists"), False),
    (LISTS, {"nodeSelector": {"pool": "a", "topology.kubernetes.io/zone": "b"}}, True),
    (LISTS, {"nodeSelector": {"poolside": "a"}}, False),
    (LISTS, {"priorityClassName": "batch-low"}, True),
    (LISTS, {"priorityClassName": "system-node-critical"}, True),
    (LISTS, {"priorityClassName": "system-cluster-critical"}, False),
    (LISTS, {"runtimeClassName": "nvidia"}, False),
    # Any, without what Kubernetes itself needs.
    (ANYTHING, tolerating(key="team", operator="Exists"), True),
    (ANYTHING, tolerating(operator="Exists"), False),
    (ANYTHING, tolerating(key=NODE, operator="Exists"), False),
    (ANYTHING, tolerating(key="node.kubernetes.io/unschedulable", operator="Exists"), False),
    (ANYTHING, {"nodeSelector": {NODE: ""}}, False),
    (ANYTHING, {"priorityClassName": "anything"}, True),
    (ANYTHING, {"priorityClassName": "system-node-critical"}, False),
    (ANYTHING, {"runtimeClassName": "kata", "schedulerName": "packer"}, True),
]


def rendered(allowed: Json | None = None, **values: Any) -> list[Json]:
    return _rendered(json.dumps({**({"allowed": allowed} if allowed is not None else {}), **values}))


@functools.cache
def _rendered(values: str) -> list[Json]:
    return render(json.loads(values))


def service(scheduling: Json | None) -> Json:
    """An LLMService, with that placement if there is one."""
    made = a_service("chat").from_source("hf://org/model-1B", COMMIT)
    return made.with_spec(scheduling=scheduling).build() if scheduling is not None else made.build()


def naming(source: str = "hf://org/model-1B", **secrets: str) -> Json:
    """The LLMService that owns the rendered children, with Secrets of these names."""
    made = a_service("chat").from_source(source, COMMIT).build()
    spec: Json = {**made["spec"], "model": {"source": source}}
    if "model" in secrets:
        spec["model"]["credentialsRef"] = {"name": secrets["model"]}
    if "keys" in secrets:
        spec["access"] = {"apiKeys": {"secretRef": {"name": secrets["keys"]}}}
    if "store" in secrets:
        login = {"credentialsRef": {"name": secrets["store"]}}
        spec["access"] = {**spec.get("access", {}), "rateLimits": {"store": {"address": "a:1", **login}}}
    if "ranks" in secrets:
        spec["parallelism"] = {"secretRef": {"name": secrets["ranks"]}}
    return {
        **made,
        "metadata": {**made["metadata"], "uid": children()[0]["metadata"]["ownerReferences"][0]["uid"]},
        "spec": spec,
    }


def allowed_by_the_operator(objects: list[Json], scheduling: Json) -> bool:
    """What the operator decides with the lists that the chart gives it."""
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    reported = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    lists = from_environment(reported).platform.allowed_placement
    assert lists is not None
    return placements.denied(Scheduling.model_validate(scheduling), lists) is None


@pytest.mark.parametrize(("lists", "scheduling", "good"), PLACEMENTS)
def test_policy_and_operator_agree_on_what_is_allowed(lists: Json | None, scheduling: Json, good: bool) -> None:
    objects = rendered(lists)
    said = denials(policy(objects, "-placement"), service(scheduling))
    assert (not said) is good, said
    assert allowed_by_the_operator(objects, scheduling) is good
    assert all("chart value allowed." in each for each in said)


def test_a_service_that_is_older_than_the_lists_can_be_changed_elsewhere_and_not_made_worse() -> None:
    rules = policy(rendered(), "-placement")
    old = service({"priorityClassName": "system-node-critical"})
    assert denials(rules, {**old, "metadata": {"labels": {"a": "b"}}}, old) == []
    worse = service({"priorityClassName": "system-node-critical", "schedulerName": "packer"})
    assert len(denials(rules, worse, old)) == 2
    assert denials(rules, worse, service(None))
    assert denials(rules, service(None), old) == []


@pytest.mark.parametrize(
    ("lists", "named"),
    [
        ({"tolerations": ["a'] || true || ['"]}, "tolerations"),
        ({"nodeSelectorKeys": ["a b"]}, "nodeSelectorKeys"),
        ({"priorityClassNames": ["a=b"]}, "priorityClassNames"),
        ({"schedulerNames": "packer"}, "schedulerNames"),
        ({"runtimeClass": []}, "runtimeClass"),
    ],
)
def test_a_list_that_can_not_be_is_refused(lists: Json, named: str) -> None:
    with pytest.raises(HelmError, match=named):
        rendered(lists)


def test_policies_are_never_made_for_watched_namespaces_and_can_be_switched_off() -> None:
    for values in (
        {"watchNamespaces": ["team-a"], "scaling": {"adapter": "none"}},
        {"admissionPolicies": {"enabled": False}},
    ):
        assert not [each for each in rendered(**values) if each["kind"].startswith("ValidatingAdmission")]


def test_every_policy_is_bound_and_denies_where_it_can_not_be_decided() -> None:
    objects = rendered()
    policies = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [each["spec"] for each in objects if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {each["policyName"] for each in bindings} == set(policies)
    assert all(each["validationActions"] == ["Deny"] for each in bindings)
    assert all(each["spec"]["failurePolicy"] == "Fail" for each in policies.values())


@functools.cache
def children() -> list[Json]:
    """Every child that is rendered, now and by earlier versions."""
    files = [*(ROOT / "tests/unit/golden").glob("*.yaml"), *(ROOT / "tests/fixtures").glob("*/children/*.yaml")]
    return [each for path in sorted(files) for each in yaml.safe_load_all(path.read_text()) if each]


def workloads() -> list[Json]:
    """The StatefulSets and Jobs among them."""
    return copy.deepcopy([each for each in children() if each["kind"] in ("StatefulSet", "Job")])


PLATFORM: Json = {
    "runtime": {"pullSecrets": ["registry", "mirror"]},
    "scaling": {
        "adapter": "keda",
        "prometheus": {"url": "https://prometheus.monitoring:9090/"},
        "keda": {"authentication": "prometheus", "authModes": "bearer"},
    },
    "gateway": {
        "type": "GatewayAPI",
        "parentRefs": [{"name": "inference", "namespace": "gateway-system", "sectionName": "https"}],
        "domain": "llm.example.com",
        "endpointPicker": {"name": "{service}-epp"},
    },
}
"""Values with which the chart's operator makes all the children."""


def own_policies() -> list[Json]:
    """All policies on what the operator may do."""
    found = [each for each in rendered(**PLATFORM) if each["kind"] == "ValidatingAdmissionPolicy"]
    return [each for each in found if "-own-" in each["metadata"]["name"]]


def denied(obj: Json | None, before: Json | None = None, *, user: str = OPERATOR, **more: Any) -> list[str]:
    """What all policies say against it."""
    return [each for rules in own_policies() for each in denials(rules, obj, before, user=user, **more)]


def test_the_operator_may_make_whatever_it_makes() -> None:
    assert len(workloads()) > 50
    for each in children():
        claim = _names(each, "claimName")
        named = naming(f"pvc://{claim.pop()}/a" if claim else "hf://org/model-1B", **_named_by(each))
        named["metadata"]["uid"] = each["metadata"]["ownerReferences"][0]["uid"]
        assert denied(each, params=[named]) == [], each["metadata"]
        assert denied(each, each, params=[named]) == [], each["metadata"]
        assert denied(each, each, params=[naming()]) == [], "what is there already stays"
        assert denied(None, each, params=[named]) == []


def _names(obj: Any, *keys: str) -> set[str]:
    """Values of these keys, wherever they are."""
    if isinstance(obj, list):
        return {name for each in obj for name in _names(each, *keys)}
    if not isinstance(obj, dict):
        return set()
    found = {value for key, value in obj.items() if key in keys and isinstance(value, str)}
    return found | {name for each in obj.values() for name in _names(each, *keys)}


def _named_by(obj: Json) -> dict[str, str]:
    pod = obj["spec"].get("template", {}).get("spec", {}) if "spec" in obj else {}
    of_volumes = {each["name"]: each["secret"]["secretName"] for each in pod.get("volumes", ()) if "secret" in each}
    of_variables = [
        ("model", each["valueFrom"]["secretKeyRef"]["name"])
        for container in pod.get("containers", ())
        for each in container.get("env", ())
        if "secretKeyRef" in each.get("valueFrom", {})
    ]
    places = {"keys": "keys", "store-credentials": "store", "group-secret": "ranks"}
    return {places[name]: secret for name, secret in of_volumes.items()} | dict(of_variables)


def a_set(**annotations: str) -> Json:
    """A StatefulSet whose pods read the Secret hf-token and no other."""
    found = [each for each in workloads() if each["kind"] == "StatefulSet" and _named_by(each) == {"model": "hf-token"}]
    found[0]["metadata"].setdefault("annotations", {}).update(annotations)
    return found[0]


def _other_secret(obj: Json, name: str = "others") -> Json:
    changed = copy.deepcopy(obj)
    changed["spec"]["template"]["spec"].setdefault("volumes", []).append({"name": "v", "secret": {"secretName": name}})
    return changed


def _other_variable(obj: Json) -> Json:
    changed = copy.deepcopy(obj)
    reference = {"secretKeyRef": {"name": "others", "key": "password"}}
    changed["spec"]["template"]["spec"]["containers"][0].setdefault("env", []).append(
        {"name": "A", "valueFrom": reference}
    )
    return changed


def _other_claim(obj: Json) -> Json:
    changed = copy.deepcopy(obj)
    claim = {"name": "c", "persistentVolumeClaim": {"claimName": "database"}}
    changed["spec"]["template"]["spec"].setdefault("volumes", []).append(claim)
    return changed


def _all_variables(obj: Json) -> Json:
    changed = copy.deepcopy(obj)
    changed["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "others"}}]
    return changed


@pytest.mark.parametrize("change", [_other_secret, _other_variable, _other_claim, _all_variables])
def test_the_operator_reads_no_secret_that_no_service_names(change: Callable[[Json], Json]) -> None:
    good, named = a_set(), naming(model="hf-token")
    assert denied(good, params=[named]) == []
    assert denied(good, params=[naming()]), "a new one"
    for params in ([named], [named, {**naming(model="others"), "metadata": {"name": "another", "uid": "u"}}]):
        assert denied(change(good), params=params)
        assert denied(change(good), good, params=params)
    assert denied(change(good), params=[]), "a namespace without services"
    assert denied(good, good, params=[]) == [], "what is left there can be changed, and so cleaned up"
    assert denied(good, params=[]) == ["no params"] * 2


def test_a_rollback_reads_the_secret_of_before_and_no_other() -> None:
    good = a_set()
    kept = json.dumps(_other_secret(good)["spec"]["template"], sort_keys=True, separators=(",", ":"))
    variables = json.dumps(_other_variable(good)["spec"]["template"], sort_keys=True, separators=(",", ":"))
    named = naming(model="hf-token")
    for text, change in ((kept, _other_secret), (variables, _other_variable)):
        while_rolling = a_set(**{"llmservice.dev/last-good": text})
        assert denied(while_rolling, change(good), params=[named]) == [], "noted as the new template comes"
        assert denied(change(while_rolling), while_rolling, params=[named]) == [], "and rolled back to"
        assert denied(while_rolling, good, params=[named]), "never noted by itself"
        assert denied(while_rolling, params=[named])
        assert denied(_other_secret(while_rolling, "third"), while_rolling, params=[named])


OF_OTHERS: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"}, "data": {"a": "b"}}


def test_the_operator_touches_nothing_of_others() -> None:
    (ours, *_) = [each for each in children() if each["kind"] == "ConfigMap"]
    meta, named = ours["metadata"], naming()
    assert denied(OF_OTHERS, OF_OTHERS, params=[named])
    assert denied(None, OF_OTHERS)
    taken = {**OF_OTHERS, "metadata": {**meta, "name": "aws-auth"}}
    assert denied(taken, OF_OTHERS, params=[named]), "nor makes it one of its own"
    assert denied({**ours, "metadata": {**meta, "labels": {}}}, params=[named])
    (owner,) = meta["ownerReferences"]
    others = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}
    for owners in ([], [others], [owner, others], [{**owner, "controller": False}], [{**owner, "uid": "made-up"}]):
        assert denied({**ours, "metadata": {**meta, "ownerReferences": owners}}, params=[named]), owners
    moved = {**ours, "metadata": {**meta, "ownerReferences": [{**owner, "name": "none", "uid": "made-up"}]}}
    assert denied(moved, ours, params=[named])
    two = [{**owner, "controller": False}, {**owner, "name": "none", "uid": "made-up"}]
    assert denied({**ours, "metadata": {**meta, "ownerReferences": two}}, ours, params=[named])
    beside = {**ours, "metadata": {**meta, "ownerReferences": [owner, others]}}
    assert denied(beside, beside, params=[named]) == [], "an owner that another user added stays"
    stripped = {**ours, "metadata": {**meta, "ownerReferences": []}}
    assert denied(ours, stripped, params=[named]) == [], "its own are adopted again"
    for name in ("kube-system", "kube-public", "kube-node-lease", "llmservice-system"):
        assert denied(ours, namespace=name, params=[named])
        assert denied(ours, ours, namespace=name, params=[named]) == [], "what is there from before"
        assert denials(policy(rendered(), "-namespaces"), service(None), namespace=name)
    assert denials(policy(rendered(), "-namespaces"), service(None)) == []
    more = rendered(admissionPolicies={"reservedNamespaces": ["ingress"]})
    assert denials(policy(more, "-own-objects"), ours, user=OPERATOR, namespace="ingress")


def test_services_and_network_policies_of_the_operator_are_for_pods_of_services() -> None:
    (address, *_) = [each for each in children() if each["kind"] == "Service"]
    for change in (
        {"type": "LoadBalancer"},
        {"externalIPs": ["10.0.0.1"]},
        {"type": "ExternalName", "externalName": "a.example"},
        {"selector": {"app": "payments"}},
    ):
        assert denied({**address, "spec": {**address["spec"], **change}}, params=[naming()])
    (network, *_) = [each for each in children() if each["kind"] == "NetworkPolicy"]
    assert denied({**network, "spec": {**network["spec"], "podSelector": {}}}, params=[naming()])


def test_the_operator_changes_of_a_service_the_number_of_replicas_alone() -> None:
    before = service({"spreadOver": "zone"})
    assert denied({**before, "spec": {**before["spec"], "replicas": 3}}, before) == []
    crd = yaml.safe_load((ROOT / "crds/llmservice.dev_llmservices.yaml").read_text())
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for name in fields.keys() - {"replicas"}:
        assert denied({**before, "spec": {**before["spec"], name: {"other": True}}}, before), name
    assert denied(
        {**before, "metadata": {**before["metadata"], "annotations": {"llmservice.dev/upgrade": "a"}}}, before
    )


def test_what_autoscalers_can_do_is_still_found_out() -> None:
    probe = {"kind": "HorizontalPodAutoscaler", "metadata": {"generateName": "llmservice-probe-"}, "spec": {}}
    assert denied(probe, namespace="llmservice-system", dry_run=True) == []
    assert denied(probe, namespace="llmservice-system")


def test_the_secrets_of_the_policies_are_those_of_the_crd() -> None:
    crd = yaml.safe_load((ROOT / "crds/llmservice.dev_llmservices.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def references(schema: Json, path: str = "spec") -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            if name.endswith("Ref"):
                yield f"{path}.{name}"
            yield from references(inner, f"{path}.{name}")

    text = json.dumps(policy(rendered(), "-own-secrets"))
    found = [each for each in references(spec) if not each.endswith(".configMapRef")]
    assert len(found) == 4
    assert [each for each in found if f"params.{each}.name" not in text] == []


def _pod(change: Callable[[Json], Any]) -> Callable[[Json], Any]:
    return lambda obj: change(obj["spec"]["template"]["spec"])


def _container(**fields: Any) -> Callable[[Json], Any]:
    return lambda obj: obj["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(fields)


ESCAPES: dict[str, Callable[[Json], Any]] = {
    "a token": _pod(lambda pod: pod.update(automountServiceAccountToken=True)),
    "a token by default": _pod(lambda pod: pod.pop("automountServiceAccountToken")),
    "a token as a volume": _pod(
        lambda pod: pod["volumes"].append(
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        )
    ),
    "another account": _pod(lambda pod: pod.update(serviceAccountName="cluster-admin")),
    "the host's network": _pod(lambda pod: pod.update(hostNetwork=True)),
    "the host's processes": _pod(lambda pod: pod.update(hostPID=True)),
    "the host's IPC": _pod(lambda pod: pod.update(hostIPC=True)),
    "a node's name": _pod(lambda pod: pod.update(nodeName="control-plane-0")),
    "a path of the host": _pod(lambda pod: pod["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    "another kind of volume": _pod(
        lambda pod: pod["volumes"].append({"name": "n", "nfs": {"server": "a", "path": "/"}})
    ),
    "root": _pod(lambda pod: pod["securityContext"].update(runAsUser=0)),
    "maybe root": _pod(lambda pod: pod["securityContext"].pop("runAsNonRoot")),
    "no seccomp": _pod(lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"})),
    "a sysctl": _pod(lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    "no security context": _pod(lambda pod: pod.pop("securityContext")),
    "a privileged container": _container(privileged=True),
    "more privileges": _container(allowPrivilegeEscalation=True),
    "a writable root": _container(readOnlyRootFilesystem=False),
    "a capability": _container(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "kept capabilities": _container(capabilities={"drop": ["NET_RAW"]}),
    "root in the container": _container(runAsUser=0),
    "no seccomp in the container": _container(seccompProfile={"type": "Unconfined"}),
    "an unmasked /proc": _container(procMount="Unmasked"),
    "a port of the host": _pod(lambda pod: pod["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}])),
    "another container": _pod(lambda pod: pod["containers"].append({"name": "b", "image": "b"})),
    "an init container": _pod(
        lambda pod: pod.update(initContainers=[{"name": "i", "image": "i", "securityContext": {"privileged": True}}])
    ),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_the_operator_may_make_nothing_else(name: str) -> None:
    rules = policy(rendered(), "-own-workloads")
    good = workloads()[-1]
    bad = copy.deepcopy(good)
    ESCAPES[name](bad)
    assert denials(rules, bad, user=OPERATOR)
    assert denials(rules, bad, good, user=OPERATOR), "nor make one so that is there"
    assert denials(rules, bad, user="system:serviceaccount:kube-system:job-controller") == []


def test_the_operator_changes_no_image_of_a_pod() -> None:
    rules = policy(rendered(), "-own-pods")
    labels = {"app.kubernetes.io/managed-by": "llmservice-operator"}
    pod: Json = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [{"name": "a", "image": "a"}],
            "initContainers": [{"name": "i", "image": "i"}],
            "schedulingGates": [{"name": "g"}],
        },
    }
    admitted = copy.deepcopy(pod)
    del admitted["spec"]["schedulingGates"]
    admitted["metadata"]["annotations"] = {"a": "b"}
    assert denials(rules, admitted, pod, user=OPERATOR) == []
    for containers in ("containers", "initContainers"):
        taken = copy.deepcopy(pod)
        taken["spec"][containers][0]["image"] = "attacker"
        assert denials(rules, taken, pod, user=OPERATOR)
        assert denials(rules, taken, pod) == [], "others are none of its business"
    for change in ({"labels": {**labels, "app": "payments"}}, {"labels": labels, "finalizers": ["a/b"]}):
        assert denials(rules, {**pod, "metadata": change}, pod, user=OPERATOR)
    others = {**pod, "metadata": {"labels": {"app": "payments"}}}
    assert denials(
        rules, {**others, "metadata": {**others["metadata"], "annotations": {"a": "b"}}}, others, user=OPERATOR
    )


@contextlib.contextmanager
def in_force(cluster: Cluster, namespace: str, **values: Json) -> Iterator[str]:
    """The chart's policies in one namespace of the cluster; the user that is the operator there."""
    name = f"admission-{secrets.token_hex(4)}"
    operators = f"{namespace}-operator"
    objects = render({"fullnameOverride": name, **values}, namespace=operators)
    root = "/apis/admissionregistration.k8s.io/v1"
    plurals = {"ValidatingAdmissionPolicy": "policies", "ValidatingAdmissionPolicyBinding": "policybindings"}
    made = [each for each in objects if each["kind"] in plurals]
    paths = [f"{root}/validatingadmission{plurals[each['kind']]}/{each['metadata']['name']}" for each in made]
    try:
        for path, each in zip(paths, made, strict=True):
            if each["kind"].endswith("Binding"):
                here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
                each["spec"].setdefault("matchResources", {})["namespaceSelector"] = here
            answer = cluster.request("PATCH", path, each, content_type=APPLY, fieldManager="test")
            assert answer.ok, answer.message
        yield f"system:serviceaccount:{operators}:{name}"
    finally:
        for path in paths:
            cluster.request("DELETE", path)


def with_disk(obj: Json, name: str) -> Json:
    """The StatefulSet, with a claim of that name for each pod."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = [{"metadata": {"name": name}, "spec": spec}]
    return {**obj, "spec": {**obj["spec"], "volumeClaimTemplates": claims}}


def bounded(metadata: Json, service: str) -> list[tuple[str, Json, Json, list[Json]]]:
    """Autoscalers and budgets: collection, object, its spec, and changes of the spec that are refused."""
    target = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": service}
    load = {"metric": {"name": "load"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    pods = {"app.kubernetes.io/name": "llmservice", "app.kubernetes.io/instance": service}
    targets = [
        {**target, "name": "another"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": service},
        {"apiVersion": "example.com/v1", "kind": "LLMService", "name": service},
    ]
    selectors = [
        {},
        {"matchLabels": {"app.kubernetes.io/name": "llmservice"}},
        {"matchLabels": {**pods, "app.kubernetes.io/instance": "another"}},
        {"matchLabels": {**pods, "app.kubernetes.io/name": "payments"}},
        {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    ]
    return [
        (
            "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
            {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata},
            {"scaleTargetRef": target, "maxReplicas": 2, "metrics": [{"type": "External", "external": load}]},
            [{"scaleTargetRef": each} for each in targets],
        ),
        (
            "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata},
            {"selector": {"matchLabels": pods}, "maxUnavailable": 1},
            [
                *({"selector": each} for each in selectors),
                {"maxUnavailable": 0},
                {"maxUnavailable": "0%"},
                {"maxUnavailable": None, "minAvailable": 1},
            ],
        ),
    ]


def warnings_of(cluster: Cluster, user: str) -> list[Json]:
    """What the controller of the policies says of the types in their CEL, once it has read them."""
    name = user.rpartition(":")[2]
    count = len([each for each in rendered() if each["kind"] == "ValidatingAdmissionPolicy"])
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked() -> list[Json]:
        found = [
            each for each in cluster.request("GET", path).body["items"] if each["metadata"]["name"].startswith(name)
        ]
        status = [each.get("status") or {} for each in found]
        return status if all(each.get("observedGeneration") for each in status) else []

    status = wait_until(checked, "the types of the policies are checked")
    assert len(status) == count
    return [warning for each in status for warning in (each.get("typeChecking") or {}).get("expressionWarnings") or ()]


def test_the_api_server_decides_as_the_evaluator_does(cluster: Cluster, namespace: str) -> None:
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [],
    }
    with in_force(cluster, namespace) as user:
        _, _, operators, name = user.split(":")
        binding["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": operators}]
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        assert cluster.request("POST", path, binding).ok
        sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        good = next(each for each in reversed(workloads()) if each["kind"] == "StatefulSet")
        assert _named_by(good) == {}
        claims = _names(good, "claimName")
        made = cluster.create(namespace, naming(*(f"pvc://{name}/a" for name in claims))).body["metadata"]
        owner = {**good["metadata"]["ownerReferences"][0], "name": made["name"], "uid": made["uid"]}
        good = {**good, "metadata": {"name": "chat", "labels": good["metadata"]["labels"], "ownerReferences": [owner]}}
        dry = {"dryRun": "All"}

        def held(obj: Json) -> bool:
            answer = cluster.request("POST", sets, obj, user=user, **dry)
            return not answer.ok and "ValidatingAdmissionPolicy" in answer.message

        token = copy.deepcopy(good)
        ESCAPES["a token"](token)
        wait_until(lambda: held(token), "the policies are in force")
        answer = cluster.request("POST", sets, good, user=user, **dry)
        assert answer.ok, answer.message
        escapes = {name: copy.deepcopy(good) for name in ESCAPES}
        for name, escape in ESCAPES.items():
            escape(escapes[name])
        # Two are refused for what they are, in later versions of Kubernetes before any policy is asked.
        passed = {name for name, bad in escapes.items() if not held(bad)}
        assert passed <= {"an unmasked /proc", "a privileged container"}
        assert not [name for name in passed if cluster.request("POST", sets, escapes[name], user=user, **dry).ok]
        assert cluster.request("POST", sets, token, **dry).ok, "only the operator is held to it"
        for bad in (_other_secret(good), _other_variable(good), _other_claim(good), _all_variables(good)):
            assert held(bad)
        stray = copy.deepcopy(good)
        stray["metadata"]["ownerReferences"][0]["uid"] = "made-up"
        assert held(stray)
        renamed = copy.deepcopy(good)
        renamed["metadata"]["ownerReferences"][0]["name"] = "none"
        assert held({**renamed, "metadata": {**renamed["metadata"], "name": "none"}}), "the uid is a service's"
        pulling = copy.deepcopy(good)
        pulling["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "others"}]
        assert held(pulling)
        assert held({**good, "metadata": {**good["metadata"], "name": "postgres"}})
        assert held(with_disk(good, "data-my"))
        answer = cluster.request("POST", sets, with_disk(good, "cache"), user=user, **dry)
        assert answer.ok, answer.message
        second = {**good, "metadata": {**good["metadata"], "name": "chat-r1"}}
        answer = cluster.request("POST", sets, second, user=user, **dry)
        assert answer.ok, answer.message
        for path, obj, spec, wrong in bounded(good["metadata"], owner["name"]):
            collection = path.format(namespace=namespace)
            # Dry runs of an autoscaler are not looked at.
            for change in wrong:
                answer = cluster.request("POST", collection, {**obj, "spec": {**spec, **change}}, user=user)
                assert "ValidatingAdmissionPolicy" in answer.message, change
            answer = cluster.request("POST", collection, {**obj, "spec": spec}, user=user)
            assert answer.ok, answer.message
            assert cluster.request("DELETE", f"{collection}/{obj['metadata']['name']}").ok
        there = cluster.request("POST", sets, good, user=user)
        assert there.ok, there.message
        template = {"spec": {"template": _other_secret(good)["spec"]["template"]}}
        answer = cluster.request("PATCH", f"{sets}/chat", template, content_type=MERGE, user=user, **dry)
        assert "ValidatingAdmissionPolicy" in answer.message
        answer = cluster.request("PATCH", f"{sets}/chat", {"spec": {"replicas": 0}}, content_type=MERGE, user=user)
        assert answer.ok, answer.message
        maps = f"/api/v1/namespaces/{namespace}/configmaps"
        assert cluster.request("POST", maps, OF_OTHERS).ok
        answer = cluster.request("PATCH", f"{maps}/aws-auth", {"data": {"a": "c"}}, content_type=MERGE, user=user)
        assert "ValidatingAdmissionPolicy" in answer.message
        answer = cluster.request("DELETE", f"{maps}/aws-auth", user=user)
        assert "ValidatingAdmissionPolicy" in answer.message
        path = cluster.services(namespace, "chat")
        answer = cluster.request("PATCH", path, {"spec": {"replicas": 2}}, content_type=MERGE, user=user)
        assert answer.ok, answer.message
        source = {"spec": {"model": {"source": "hf://others/model"}}}
        answer = cluster.request("PATCH", path, source, content_type=MERGE, user=user)
        assert "ValidatingAdmissionPolicy" in answer.message

        # Nothing is created for a deleted service. Other users are not affected.
        kept = {**good, "metadata": {"name": "kept", "labels": good["metadata"]["labels"]}}
        assert cluster.request("POST", sets, kept).ok
        left = {**good, "metadata": {"name": "left", "labels": good["metadata"]["labels"]}}
        assert cluster.request("POST", sets, left).ok
        assert cluster.request("DELETE", path).ok
        wait_until(lambda: held({**good, "metadata": {**good["metadata"], "name": "b"}}), "no service is left")
        finalizers = {"metadata": {"finalizers": ["example.com/a"]}}
        for change in (finalizers, {"metadata": {"finalizers": None}}):
            answer = cluster.request("PATCH", f"{sets}/kept", change, content_type=MERGE)
            assert answer.ok, f"the garbage collector has to: {answer.message}"
        assert cluster.request("POST", maps, {"metadata": {"name": "mine"}}).ok
        adopted = {"metadata": {"ownerReferences": [{**owner, "name": "left", "uid": "made-up"}]}}
        answer = cluster.request("PATCH", f"{sets}/left", adopted, content_type=MERGE, user=user, **dry)
        assert answer.ok, answer.message
        for change in (_other_secret, _other_claim, _other_variable, _all_variables):
            template = {"spec": {"template": change(good)["spec"]["template"]}}
            answer = cluster.request(
                "PATCH", f"{sets}/left", {**adopted, **template}, content_type=MERGE, user=user, **dry
            )
            assert "ValidatingAdmissionPolicy" in answer.message

        for lists, scheduling, allowed in PLACEMENTS:
            if lists is None:
                answer = cluster.create(namespace, service(scheduling), dry_run=True)
                assert answer.ok is allowed, (scheduling, answer.message)
        assert warnings_of(cluster, user) == []


def test_the_samples_ask_for_nothing_that_is_not_allowed() -> None:
    rules = policy(rendered(), "-placement")
    files = [Path(path) for path in (ROOT / "manifests/samples").glob("*.yaml")]
    services = [each for path in files for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "LLMService"]
    assert services
    for each in services:
        assert denials(rules, each) == []
