"""The kinds that a plan reads, and where the API server has them."""

from __future__ import annotations

from llmservice_operator.api import GROUP, KIND, PLURAL, VERSION
from llmservice_operator.cli.cluster import Thing

API_VERSION = f"{GROUP}/{VERSION}"

CHILDREN = {
    "StatefulSet": ("apps/v1", "statefulsets"),
    "ConfigMap": ("v1", "configmaps"),
    "Service": ("v1", "services"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": ("keda.sh/v1alpha1", "scaledobjects"),
    "Job": ("batch/v1", "jobs"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
}
"""apiVersion and plural of each kind of child."""


def root(api_version: str) -> str:
    """Path of an API."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def service(namespace: str, name: str) -> Thing:
    """An LLMService."""
    return Thing(root(API_VERSION), KIND, PLURAL, namespace, name)


def child(kind: str, namespace: str, name: str) -> Thing:
    """A child, or a pod."""
    api_version, plural = CHILDREN[kind] if kind != "Pod" else ("v1", "pods")
    return Thing(root(api_version), kind, plural, namespace, name)
