"""HorizontalPodAutoscalers with the features of older Kubernetes, on a current cluster."""

import contextlib
import secrets
from collections.abc import Iterator

from support.cluster import Cluster, wait_until


@contextlib.contextmanager
def autoscalers_of_old(cluster: Cluster, namespace: str) -> Iterator[None]:
    """A namespace whose HPAs can't have minReplicas 0, as in clusters before 1.37."""
    name = f"rbac-{secrets.token_hex(4)}"
    root = "/apis/admissionregistration.k8s.io/v1"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rule = {
        "apiGroups": ["autoscaling"],
        "apiVersions": ["*"],
        "resources": ["horizontalpodautoscalers"],
        "operations": ["CREATE", "UPDATE"],
    }
    policy = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "validations": [{"expression": "object.spec.minReplicas > 0", "message": "minReplicas must be above 0"}],
        },
    }
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    made = {"validatingadmissionpolicies": policy, "validatingadmissionpolicybindings": binding}
    probe = {
        "metadata": {"name": "probe"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": "probe"},
            "minReplicas": 0,
            "maxReplicas": 1,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "probe"}, "target": {"type": "AverageValue", "averageValue": "1"}},
                }
            ],
        },
    }
    probes = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    try:
        for plural, body in made.items():
            answer = cluster.request("POST", f"{root}/{plural}", body)
            assert answer.ok, answer.message
        wait_until(lambda: cluster.request("POST", probes, probe, dryRun="All").status == 422, "HPAs to none refused")
        yield
    finally:
        for plural in made:
            cluster.request("DELETE", f"{root}/{plural}/{name}")
