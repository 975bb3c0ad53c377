"""The autoscaler: a HorizontalPodAutoscaler, or a ScaledObject from which KEDA makes one if KEDA owns the metrics API.

It scales the LLMService, never the StatefulSet, by one metric: the load in percent of what the replicas can handle
(``external_metrics.LOAD``). The operator's algorithm determines that number. The autoscaler only adds the behavior in
the spec, without a tolerance and without other limits.
"""

from typing import Any

from llmservice_operator.api import GROUP, KIND, VERSION
from llmservice_operator.api.scaling import Scaling, ScalingRules
from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import Adapter, Platform

SCALE_DOWN_STABILIZATION_SECONDS = 300
"""Kubernetes' default for the scale-down stabilization window, in seconds."""
UNLIMITED = {"type": "Pods", "value": 1000, "periodSeconds": 15}
"""A policy without effect, because no service has more replicas."""
KEDA_POLLING_SECONDS = 15
KEDA_NAME_LABEL = "scaledobject.keda.sh/name"
"""KEDA adds this label if it is missing."""
KEDA_EXCLUDED_LABELS = "scaledobject.keda.sh/hpa-excluded-labels"
"""Annotation with labels that KEDA does not copy to its HPA, because that HPA is not a child of the service."""


def make_autoscaler(owner: Owner, scaling: Scaling | None, platform: Platform) -> dict[str, Any] | None:
    """The autoscaler; None if the service has no scaling or the platform has no adapter."""
    if scaling is None or platform.adapter is Adapter.NONE:
        return None
    if platform.adapter is Adapter.KEDA:
        return _scaled_object(owner, scaling, platform)
    return _horizontal_pod_autoscaler(owner, scaling, platform)


def target(service: str) -> dict[str, str]:
    """The reference to the scaled LLMService."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": service}


def _horizontal_pod_autoscaler(owner: Owner, scaling: Scaling, platform: Platform) -> dict[str, Any]:
    metric = {"name": external_metrics.LOAD, "selector": {"matchLabels": {external_metrics.SERVICE_LABEL: owner.name}}}
    average = {"type": "AverageValue", "averageValue": str(external_metrics.TARGET_LOAD)}
    return sealed(
        {
            **kinds.HORIZONTAL_POD_AUTOSCALER.header,
            "metadata": metadata(owner, names.autoscaler(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "scaleTargetRef": target(owner.name),
                "minReplicas": scaling.min_replicas if platform.scales_to_zero else max(1, scaling.min_replicas),
                "maxReplicas": scaling.max_replicas,
                "metrics": [{"type": "External", "external": {"metric": metric, "target": average}}],
                "behavior": _behavior(scaling, platform),
            },
        }
    )


def _scaled_object(owner: Owner, scaling: Scaling, platform: Platform) -> dict[str, Any]:
    labels = f'{external_metrics.NAMESPACE_LABEL}="{owner.namespace}",{external_metrics.SERVICE_LABEL}="{owner.name}"'
    if platform.prometheus_matchers:
        labels = f"{labels},{platform.prometheus_matchers}"
    trigger: dict[str, Any] = {
        "type": "prometheus",
        "name": "load",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": platform.prometheus_url,
            "query": f"max({external_metrics.LOAD}{{{labels}}})",
            "threshold": str(external_metrics.TARGET_LOAD),
            "activationThreshold": "0",
            "ignoreNullValues": "false",
            **({"authModes": platform.keda_auth_modes} if platform.keda_auth_modes else {}),
            **({"customHeaders": platform.keda_headers} if platform.keda_headers else {}),
            **({"unsafeSsl": "true"} if platform.prometheus_insecure else {}),
        },
    }
    if platform.keda_authentication:
        trigger["authenticationRef"] = {"name": platform.keda_authentication, "kind": "ClusterTriggerAuthentication"}
    meta = metadata(owner, names.autoscaler(owner.name), names.ENGINE_COMPONENT)
    meta["labels"] |= {KEDA_NAME_LABEL: meta["name"]}
    meta["annotations"] = {KEDA_EXCLUDED_LABELS: names.MANAGED_BY_LABEL}
    behavior = _behavior(scaling, platform)
    return sealed(
        {
            **kinds.SCALED_OBJECT.header,
            "metadata": meta,
            "spec": {
                "scaleTargetRef": target(owner.name),
                "pollingInterval": KEDA_POLLING_SECONDS,
                "cooldownPeriod": behavior["scaleDown"]["stabilizationWindowSeconds"],
                "minReplicaCount": scaling.min_replicas,
                "maxReplicaCount": scaling.max_replicas,
                "advanced": {
                    "restoreToOriginalReplicaCount": False,
                    "horizontalPodAutoscalerConfig": {"behavior": behavior},
                },
                "triggers": [trigger],
            },
        }
    )


def _behavior(scaling: Scaling, platform: Platform) -> dict[str, Any]:
    return {
        "scaleUp": _rules(scaling.behavior.scale_up, 0, platform),
        "scaleDown": _rules(scaling.behavior.scale_down, SCALE_DOWN_STABILIZATION_SECONDS, platform),
    }


def _rules(rules: ScalingRules, stabilization: int, platform: Platform) -> dict[str, Any]:
    stated = rules.stabilization_window_seconds
    return {
        "stabilizationWindowSeconds": stabilization if stated is None else stated,
        "selectPolicy": rules.select_policy.value if rules.select_policy else "Max",
        "policies": [policy.model_dump(mode="json", by_alias=True) for policy in rules.policies or ()] or [UNLIMITED],
        **({"tolerance": "0"} if platform.tolerance_is_settable else {}),
    }
