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
from llmservice_operator.render import placements
from llmservice_operator.settings import from_environment
from support.admission import denials, policy
from support.cluster import APPLY, Cluster, wait_until
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


def allowed_by_the_operator(objects: list[Json], scheduling: Json) -> bool:
    """What the operator decides with the lists that the chart gives it."""
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    lists = from_environment(told).platform.allowed_placement
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


def workloads() -> list[Json]:
    """Every StatefulSet and Job that is rendered, now and by earlier versions."""
    files = [*(ROOT / "tests/unit/golden").glob("*.yaml"), *(ROOT / "tests/fixtures").glob("*/children/*.yaml")]
    objects = [each for path in sorted(files) for each in yaml.safe_load_all(path.read_text())]
    return [each for each in objects if each and each["kind"] in ("StatefulSet", "Job")]


def test_the_operator_may_make_whatever_it_makes() -> None:
    rules = policy(rendered(), "-own-workloads")
    found = workloads()
    assert len(found) > 50
    for each in found:
        assert denials(rules, each, user=OPERATOR) == [], each["metadata"]


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
    pod: Json = {
        "metadata": {},
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


@contextlib.contextmanager
def in_force(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The chart's policies in one namespace of the cluster; the user that is the operator there."""
    name = f"admission-{secrets.token_hex(4)}"
    objects = render({"fullnameOverride": name}, namespace=namespace)
    root = "/apis/admissionregistration.k8s.io/v1"
    plurals = {"ValidatingAdmissionPolicy": "policies", "ValidatingAdmissionPolicyBinding": "policybindings"}
    made = [each for each in objects if each["kind"] in plurals]
    paths = [f"{root}/validatingadmission{plurals[each['kind']]}/{each['metadata']['name']}" for each in made]
    try:
        for path, each in zip(paths, made, strict=True):
            if each["kind"].endswith("Binding"):
                here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
                each["spec"]["matchResources"] = {"namespaceSelector": here}
            answer = cluster.request("PATCH", path, each, content_type=APPLY, fieldManager="test")
            assert answer.ok, answer.message
        yield f"system:serviceaccount:{namespace}:{name}"
    finally:
        for path in paths:
            cluster.request("DELETE", path)


def warnings_of(cluster: Cluster, user: str) -> list[Json]:
    """What the controller of the policies says of the types in their CEL, once it has read them."""
    name = user.rpartition(":")[2]
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked() -> list[Json]:
        found = [
            each for each in cluster.request("GET", path).body["items"] if each["metadata"]["name"].startswith(name)
        ]
        status = [each.get("status") or {} for each in found]
        return status if all(each.get("observedGeneration") for each in status) else []

    status = wait_until(checked, "the types of the policies are checked")
    assert len(status) == 5
    return [warning for each in status for warning in (each.get("typeChecking") or {}).get("expressionWarnings") or ()]


def test_the_api_server_decides_as_the_evaluator_does(cluster: Cluster, namespace: str) -> None:
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [],
    }
    with in_force(cluster, namespace) as user:
        binding["subjects"] = [{"kind": "ServiceAccount", "name": user.rpartition(":")[2], "namespace": namespace}]
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        assert cluster.request("POST", path, binding).ok
        sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        good = next(each for each in reversed(workloads()) if each["kind"] == "StatefulSet")
        good = {**good, "metadata": {"name": "chat", "labels": good["metadata"]["labels"]}}
        good["metadata"].pop("ownerReferences", None)
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
        # Two are refused for what they are, before any policy is asked.
        passed = {name for name, bad in escapes.items() if not held(bad)}
        assert passed == {"an unmasked /proc", "a privileged container"}
        assert not [name for name in passed if cluster.request("POST", sets, escapes[name], user=user, **dry).ok]
        assert cluster.request("POST", sets, token, **dry).ok, "only the operator is held to it"

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
