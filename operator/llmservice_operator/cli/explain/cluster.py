"""Facts from quotas, nodes and the autoscaler that concern a service that is not Ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.cli.explain import phrases
from llmservice_operator.planner.model.pods import bound
from llmservice_operator.planner.model.pods import ready as is_ready
from llmservice_operator.planner.report.phrases import join_truncated
from llmservice_operator.resources import names, quantity

Object = Mapping[str, Any]


def full_quotas(quotas: Sequence[Object]) -> Iterator[str]:
    """The exhausted resources of each quota."""
    for quota in quotas:
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        full = [
            f"{what} {used[what]} of {most}"
            for what, most in hard.items()
            if what in used and _number(used[what]) >= _number(most)
        ]
        if full:
            yield f"{quota['metadata']['name']} is full: {join_truncated(sorted(full), most=4)}"


def holders(nodes: Sequence[Object], found: Sequence[Object]) -> str:
    """The nodes with the device that unscheduled pods request: how many, of which product, in which state."""
    resource = next((device for pod in found if not bound(pod) and (device := _device(pod))), "")
    if not resource:
        return ""
    having = [node for node in nodes if _number((node.get("status") or {}).get("allocatable", {}).get(resource)) > 0]
    if not having:
        return f"none of {phrases.count(len(nodes), 'node')} has {resource}"
    by_product = Counter[str]()
    for node in having:
        by_product[_product(node)] += int(_number(node["status"]["allocatable"][resource]))
    products = join_truncated([f"{count} x {product}" for product, count in by_product.most_common()], most=4)
    cordoned = sum(bool((node.get("spec") or {}).get("unschedulable")) for node in having)
    unready = sum(not is_ready(node) for node in having)
    states = [f"{count} {state}" for count, state in ((cordoned, "cordoned"), (unready, "not Ready")) if count]
    text = f"{len(having)} of {len(nodes)} have {resource}, free or not: {products}"
    return text + (f"; {' and '.join(states)}" if states else "")


def autoscaler(found: Object | None) -> str:
    """The problem that the autoscaler reports."""
    for each in ((found or {}).get("status") or {}).get("conditions") or ():
        message = str(each.get("message") or "")
        if each["type"] in ("AbleToScale", "ScalingActive") and each["status"] == "False":
            return f"{each.get('reason') or each['type']}: {message}"
    return ""


def _product(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    return str(labels.get(names.NVIDIA_PRODUCT_LABEL) or labels.get(names.AMD_PRODUCT_LABEL) or "no product label")


def _device(pod: Object) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    engine: Object = next((each for each in containers if each["name"] == ENGINE_CONTAINER), {})
    limits = (engine.get("resources") or {}).get("limits") or {}
    return next((str(name) for name in limits if "/" in name), "")


def _number(text: Any) -> Fraction:
    """A Kubernetes quantity; 0 if it is absent or not a quantity."""
    try:
        return quantity.parse(text or 0)
    except ValueError:
        return Fraction(0)
