"""Scheduling fields of pods: the accelerator's requirements, merged with those of the user."""

from typing import Any

from llmservice_operator.api.placement import Scheduling, Toleration
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices, names

DEFAULT_SPREAD = "kubernetes.io/hostname"


def engine_scheduling(service: str, spec: LLMServiceSpec, rank: int = 0) -> dict[str, Any]:
    """Scheduling fields of the engine's pod spec, without empty ones."""
    several = spec.parallelism.is_multi_node
    fields = user_scheduling(spec.scheduling)
    taint = devices.taint_key(spec.accelerator)
    if taint is not None:
        own = {"key": taint, "operator": "Exists"}
        fields["tolerations"] = [own, *(t for t in fields.get("tolerations", []) if t != own)]
    affinity = {
        **({"nodeAffinity": _products(spec)} if spec.accelerator.products else {}),
        **({"podAffinity": _together(service, spec)} if several else {}),
    }
    if affinity:
        fields["affinity"] = affinity
    if several:
        fields["schedulingGates"] = [{"name": names.GROUP_GATE}]
    fields["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": spec.scheduling.spread_over or DEFAULT_SPREAD,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector(service, names.component_of_rank(rank))},
        }
    ]
    return fields


def user_scheduling(scheduling: Scheduling) -> dict[str, Any]:
    """Fields of a pod spec that the user set."""
    fields: dict[str, Any] = {
        "nodeSelector": scheduling.node_selector,
        "tolerations": [_toleration(toleration) for toleration in scheduling.tolerations or ()],
        "priorityClassName": scheduling.priority_class_name,
        "runtimeClassName": scheduling.runtime_class_name,
        "schedulerName": scheduling.scheduler_name,
    }
    return {name: value for name, value in fields.items() if value}


def _products(spec: LLMServiceSpec) -> dict[str, Any]:
    term = {
        "key": devices.product_label(spec.accelerator),
        "operator": "In",
        "values": list(spec.accelerator.products or ()),
    }
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [term]}]},
    }


def _together(service: str, spec: LLMServiceSpec) -> dict[str, Any]:
    """Keeps the pods of one replica in one topology domain. Kubernetes accepts the first of them anywhere."""
    within = spec.scheduling.group_within
    near = {
        "labelSelector": {"matchLabels": names.of_service(service)},
        "matchLabelKeys": [names.POD_INDEX_LABEL],
        "topologyKey": within or names.ZONE_LABEL,
    }
    if within is not None:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [near]}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": near}]}


def _toleration(toleration: Toleration) -> dict[str, Any]:
    return toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
