"""A sample of a scaled service as kubectl shows it: the metrics API, the autoscaler and the service."""

import dataclasses
import json
from typing import Any

from kube import kubectl

SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6}
LATENCY_PATH = (
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/llmservice_time_to_first_token_seconds"
    "?labelSelector=llmservice%3D{name},percentile%3Dp99"
)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One look."""

    second: float
    """Seconds since the first look."""
    latency: float | None
    """p99 time to the first token in seconds; None if no request in the window got one."""
    load: str
    """The autoscaler's metric and its target as `kubectl get hpa` shows them, such as ``170/100 (avg)``."""
    wanted: int
    """Replicas that the autoscaler asks for."""
    ready: int
    """Replicas that answer."""
    active: tuple[bool, str]
    """Whether the service is scaled, and the condition's own words."""
    loaded: bool
    """Whether the demo's load is on."""


def look(namespace: str, name: str, second: float, loaded: bool) -> Sample:
    """Look now. Raises KubectlFailed if the service is gone."""
    printed = kubectl("get", "--raw", LATENCY_PATH.format(namespace=namespace, name=name), check=False)
    service = json.loads(kubectl("get", f"llms/{name}", "-n", namespace, "-o", "json"))
    columns = kubectl("get", "hpa", name, "-n", namespace, "--no-headers", check=False)
    status = service.get("status", {})
    return Sample(
        second=second,
        latency=latency(printed),
        load=load_column(columns),
        wanted=service["spec"].get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        active=scaling_active(service),
        loaded=loaded,
    )


def latency(printed: str) -> float | None:
    """Seconds in an answer of the metrics API; None if it has no value, or gave no answer."""
    items = json.loads(printed).get("items", []) if printed.strip() else []
    return quantity(items[0]["value"]) if items else None


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: ``187500m`` is 187.5."""
    return float(text[:-1]) * SUFFIXES[text[-1]] if text[-1] in SUFFIXES else float(text)


def load_column(printed: str) -> str:
    """The column TARGETS of a line of `kubectl get hpa`."""
    fields = printed.split()
    return " ".join(fields[2:-4]) if len(fields) > 6 else ""


def scaling_active(service: dict[str, Any]) -> tuple[bool, str]:
    """The condition ScalingActive in words."""
    for each in service.get("status", {}).get("conditions", []):
        if each["type"] == "ScalingActive":
            return each["status"] == "True", f"{each['reason']}: {each['message']}"
    return False, "the operator's first look"
