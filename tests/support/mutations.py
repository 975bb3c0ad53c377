"""Admission policies that change one field of one kind of object, for the test of the operator on a real API server.

Each policy applies to the objects of one service in one namespace.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from llmservice_operator.resources import kinds

Json = dict[str, Any]
ROOT = "/apis/admissionregistration.k8s.io/v1"
POD, ENGINE = "/spec", "/spec/containers/0"
T, C = "/spec/template/spec", "/spec/template/spec/containers/0"
FAKE = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
SIDECAR = {"name": "proxy", "image": "registry.example.com/proxy:1"}


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One policy."""

    name: str
    kind: str
    patches: Sequence[tuple[str, str, Any]]
    """Operation, JSON pointer and value of each patch."""
    unless: str = ""
    """CEL: the object is left alone if it is true, for patches that add to a list."""
    reported: bool = False
    """Whether it changes a field that the operator applied."""
    expression: str = ""
    """CEL for the value of the only patch, if it depends on the object."""

    def policy(self, name: str, namespace: str, service: str) -> Json:
        """The policy for the objects of one service."""
        kind = kinds.named(self.kind)
        patches = ", ".join(
            f"JSONPatch{{op: {json.dumps(op)}, path: {json.dumps(path)}"
            + ("" if op == "remove" else f", value: {self.expression or cel(value)}")
            + "}"
            for op, path, value in self.patches
        )
        expression = f"({self.unless}) ? [] : [{patches}]" if self.unless else f"[{patches}]"
        label = "app.kubernetes.io/instance"
        of_service = (
            f"has(object.metadata.labels) && '{label}' in object.metadata.labels && "
            f"object.metadata.labels['{label}'] == {json.dumps(service)}"
        )
        rule = {
            "apiGroups": [kind.group],
            "apiVersions": ["*"],
            "operations": ["CREATE"] if self.kind == "Pod" else ["CREATE", "UPDATE"],
            "resources": [kind.plural],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "resourceRules": [rule],
                },
                "matchConditions": [{"name": "of-service", "expression": of_service}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        }


def binding(name: str) -> Json:
    """The binding that puts a policy in force."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }


def cel(value: Any) -> str:
    """A value as a CEL literal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: dyn({cel(each)})" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(f"dyn({cel(each)})" for each in value) + "]"
    return json.dumps(value)


def _template(field: str, value: Any, *, reported: bool = True, name: str = "") -> Mutation:
    return Mutation(name or field.lower(), "StatefulSet", [("add", f"{C}/{field}", value)], reported=reported)


def _spec(field: str, value: Any, *, reported: bool = False) -> Mutation:
    return Mutation(f"pod-spec-{field.lower()}", "StatefulSet", [("add", f"{T}/{field}", value)], reported=reported)


def _metadata(kinds: Iterable[str]) -> list[Mutation]:
    return [
        Mutation(
            f"metadata-{kind.lower()}",
            kind,
            [
                ("add", "/metadata/labels/cost-center", "a"),
                ("add", "/metadata/annotations/policy.example.com~1by", "x"),
            ],
            unless="has(object.metadata.annotations) && 'policy.example.com/by' in object.metadata.annotations",
        )
        for kind in kinds
    ]


MIRROR = Mutation(
    "image-registry",
    "StatefulSet",
    [("replace", f"{C}/image", "")],
    unless="object.spec.template.spec.containers[0].image.startsWith('mirror.example.com/')",
    reported=True,
    expression="'mirror.example.com/' + object.spec.template.spec.containers[0].image",
)

QUICK = (
    MIRROR,
    _template("imagePullPolicy", "Always"),
    Mutation(
        "resources",
        "StatefulSet",
        [("add", f"{C}/resources/requests/cpu", "51m"), ("add", f"{C}/resources/requests/ephemeral-storage", "3Gi")],
        reported=True,
    ),
    Mutation(
        "tolerations",
        "StatefulSet",
        [("add", f"{T}/tolerations", [FAKE, {"key": "pool", "operator": "Exists"}])],
        reported=True,
    ),
    Mutation("node-selector", "StatefulSet", [("add", f"{T}/nodeSelector/pool", "gpu")], reported=True),
    Mutation(
        "sidecar",
        "StatefulSet",
        [("add", f"{T}/containers/-", SIDECAR)],
        unless="object.spec.template.spec.containers.size() > 1",
    ),
    Mutation(
        "first-sidecar",
        "StatefulSet",
        [("add", C, SIDECAR)],
        unless="object.spec.template.spec.containers.size() > 1",
    ),
    Mutation("no-security-context", "StatefulSet", [("remove", f"{C}/securityContext", None)], reported=True),
    Mutation("management-policy", "StatefulSet", [("replace", "/spec/podManagementPolicy", "OrderedReady")]),
    Mutation("service-ports", "Service", [("add", "/spec/ports/0/name", "tcp")], reported=True),
    Mutation("budget", "PodDisruptionBudget", [("add", "/spec/maxUnavailable", "50%")], reported=True),
    Mutation("hpa-bounds", "HorizontalPodAutoscaler", [("replace", "/spec/maxReplicas", 7)], reported=True),
    Mutation(
        "pod-sidecar", "Pod", [("add", f"{POD}/containers/-", SIDECAR)], unless="object.spec.containers.size() > 1"
    ),
    Mutation("pod-first-sidecar", "Pod", [("add", f"{POD}/containers/0", SIDECAR)]),
)
"""Those that every run tries."""

MORE = (
    _template("args", ["--verbose"]),
    _template("env", [{"name": "HTTP_PROXY", "value": "http://proxy.example.com"}], reported=False),
    _template("workingDir", "/tmp", reported=False, name="working-dir"),
    _template("terminationMessagePolicy", "FallbackToLogsOnError", reported=False),
    _template("lifecycle", {"preStop": {"sleep": {"seconds": 1}}}),
    Mutation("memory", "StatefulSet", [("add", f"{C}/resources/requests/memory", "1Gi")], reported=True),
    Mutation("no-cpu", "StatefulSet", [("remove", f"{C}/resources/requests/cpu", None)], reported=True),
    Mutation("probe", "StatefulSet", [("replace", f"{C}/readinessProbe/periodSeconds", 9)], reported=True),
    Mutation(
        "read-only-root",
        "StatefulSet",
        [("replace", f"{C}/securityContext/readOnlyRootFilesystem", False)],
        reported=True,
    ),
    Mutation("pod-uid", "StatefulSet", [("add", f"{T}/securityContext/runAsUser", 12345)], reported=True),
    Mutation(
        "volume",
        "StatefulSet",
        [("add", f"{T}/volumes/-", {"name": "extra", "emptyDir": {}})],
        unless="object.spec.template.spec.volumes.exists(v, v.name == 'extra')",
    ),
    Mutation("no-tolerations", "StatefulSet", [("add", f"{T}/tolerations/0/operator", "Exists")]),
    _spec(
        "affinity",
        {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}
                ]
            }
        },
    ),
    _spec(
        "topologySpreadConstraints",
        [
            {
                "maxSkew": 5,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"a": "b"}},
            }
        ],
        reported=True,
    ),
    _spec("priorityClassName", "system-cluster-critical"),
    _spec("initContainers", [{"name": "init", "image": "registry.example.com/init:1"}]),
    _spec("imagePullSecrets", [{"name": "mirror"}]),
    _spec("dnsConfig", {"options": [{"name": "ndots", "value": "2"}]}),
    _spec("hostAliases", [{"ip": "10.1.1.1", "hostnames": ["hub"]}]),
    _spec("terminationGracePeriodSeconds", 900, reported=True),
    _spec("automountServiceAccountToken", True, reported=True),
    _spec("enableServiceLinks", True, reported=True),
    Mutation("template-label", "StatefulSet", [("add", "/spec/template/metadata/labels/team", "a")]),
    Mutation(
        "template-annotation",
        "StatefulSet",
        [("add", "/spec/template/metadata/annotations/sidecar.istio.io~1inject", "true")],
    ),
    Mutation(
        "scrape",
        "StatefulSet",
        [("add", "/spec/template/metadata/annotations/prometheus.io~1scrape", "false")],
        reported=True,
    ),
    Mutation("history", "StatefulSet", [("add", "/spec/revisionHistoryLimit", 5)], reported=True),
    Mutation("min-ready", "StatefulSet", [("add", "/spec/minReadySeconds", 1)], reported=True),
    Mutation(
        "policy-of-claims",
        "StatefulSet",
        [("add", "/spec/persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Delete", "whenScaled": "Retain"})],
    ),
    Mutation(
        "traffic",
        "Service",
        [("add", "/spec/internalTrafficPolicy", "Local")],
        unless="has(object.spec.clusterIP) && object.spec.clusterIP == 'None'",
    ),
    Mutation("affinity-of-clients", "Service", [("add", "/spec/sessionAffinity", "ClientIP")], reported=True),
    Mutation("not-ready-addresses", "Service", [("add", "/spec/publishNotReadyAddresses", True)], reported=True),
    Mutation(
        "hpa-behavior",
        "HorizontalPodAutoscaler",
        [("replace", "/spec/behavior/scaleDown/stabilizationWindowSeconds", 7)],
        reported=True,
    ),
    Mutation("budget-minimum", "PodDisruptionBudget", [("add", "/spec/unhealthyPodEvictionPolicy", "AlwaysAllow")]),
    Mutation("pod-env", "Pod", [("add", f"{ENGINE}/env", [{"name": "X", "value": "1"}])]),
    Mutation("pod-pull-policy", "Pod", [("add", f"{ENGINE}/imagePullPolicy", "Always")]),
    Mutation("pod-image", "Pod", [("replace", f"{ENGINE}/image", "mirror.example.com/engine:1")]),
    Mutation("pod-label", "Pod", [("add", "/metadata/labels/team", "a")]),
    Mutation("pod-annotations", "Pod", [("add", "/metadata/annotations", {"sidecar.istio.io/status": "x"})]),
    Mutation("pod-volume", "Pod", [("add", f"{POD}/volumes/-", {"name": "extra", "emptyDir": {}})]),
    Mutation("pod-tolerations", "Pod", [("add", f"{POD}/tolerations", [FAKE, {"operator": "Exists"}])]),
    Mutation("pod-init", "Pod", [("add", f"{POD}/initContainers", [{"name": "init", "image": "init"}])]),
    Mutation("pod-grace", "Pod", [("add", f"{POD}/terminationGracePeriodSeconds", 5)]),
    *_metadata(each for each in kinds.SHOWN if kinds.named(each).adapter is None),
)
"""The rest of the matrix."""

OF_JOBS = (
    Mutation(
        "job-image",
        "Job",
        [("replace", f"{C}/image", "")],
        unless="object.spec.template.spec.containers[0].image.startsWith('mirror.example.com/')",
        expression="'mirror.example.com/' + object.spec.template.spec.containers[0].image",
    ),
    Mutation("job-ttl", "Job", [("add", "/spec/ttlSecondsAfterFinished", 600)]),
    Mutation("job-deadline", "Job", [("add", "/spec/activeDeadlineSeconds", 1234)]),
    Mutation("job-pull-policy", "Job", [("add", f"{C}/imagePullPolicy", "Always")]),
    *_metadata(("Job",)),
)
"""For services that wait for the inspection of their model."""
