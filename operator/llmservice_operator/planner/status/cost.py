"""``status.cost``: the cost of the GPUs that a service has now.

It changes when GPUs, their products or the prices change, and never with the load, so that nothing is written at rest.
The cost of a million tokens is a metric instead.
"""

from collections import Counter

from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.status import Cost, PricedGPUs
from llmservice_operator.planner.model import capacity
from llmservice_operator.planner.model.observed import NOTHING, Input, Object
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.status import pricing


def check(state: ServiceState) -> Cost | None:
    """The cost; None without GPUs or without prices."""
    prices = state.observed.platform.prices
    on_cpu = state.spec is not None and state.spec.accelerator.type is AcceleratorType.CPU
    if not prices.gpu_hours:
        return None
    held = state.once(_held)
    if on_cpu and not held:
        return None
    gpus = Counter[str]()
    for pod, need in held:
        gpus[_priced_as(state, pod, need)] += need.count
    bill = pricing.bill(gpus, prices)
    return Cost(
        currency=bill.currency,
        per_hour=None if bill.per_hour is None else pricing.exact(bill.per_hour),
        gpus=[_line(line) for line in bill.lines],
        message=bill.missing or None,
    )


def evaluate(state: ServiceState) -> Result:
    """Requires the GPU products of nodes, if the cost is not known without them."""
    if not state.observed.platform.prices.gpu_hours:
        return Result()
    known = state.observed.products or {}
    unknown = any(not _named(need) and pod["spec"]["nodeName"] not in known for pod, need in state.once(_held))
    return Result(requires=frozenset({Input.PRODUCTS}) if unknown else NOTHING)


def _held(state: ServiceState) -> list[tuple[Object, capacity.Need]]:
    """Pods that hold GPUs of a node, and what they need."""
    found = []
    for pod in (*state.engines, *state.workers, *state.leaving):
        ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        need = capacity.Need.of(pod)
        if need.resource and need.count and pod.get("spec", {}).get("nodeName") and not ended:
            found.append((pod, need))
    return found


def _priced_as(state: ServiceState, pod: Object, need: capacity.Need) -> str:
    product = _named(need) or (state.observed.products or {}).get(pod["spec"]["nodeName"], "")
    return pricing.priced_as(product, need.resource or "")


def _named(need: capacity.Need) -> str:
    """The only product that the pod accepts; empty if there is not exactly one."""
    products = {product for named in need.products.values() for product in named}
    return products.pop() if len(products) == 1 else ""


def _line(line: pricing.Line) -> PricedGPUs:
    price = line.price
    return PricedGPUs(
        product=line.product or None,
        count=line.count,
        price=None if price is None else pricing.exact(price.per_hour),
        source=None if price is None else price.source,
        date=None if price is None else price.date,
    )
