"""Makes the plan of a service and its changed spec: simulates it, and estimates memory and cost before and after."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts as StoredFacts
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.plan import omissions
from llmservice_operator.cli.plan.service_plan import (
    DOES_NOT_FIT,
    Appraisal,
    DryRunRefusal,
    Fit,
    PlannedChange,
    Removal,
    Side,
)
from llmservice_operator.planner.conditions.fits import ask, found_in, not_modelled, verdict_on
from llmservice_operator.planner.conditions.gpu_candidates import candidates
from llmservice_operator.planner.model import capacity, pods
from llmservice_operator.planner.model.fit_estimate import estimated_with_draft
from llmservice_operator.planner.model.observed import NodeCapacity, Observed
from llmservice_operator.planner.model.revisions import facts_key
from llmservice_operator.planner.status import pricing
from llmservice_operator.planner.status.pricing import bill_of_spec
from llmservice_operator.resources import devices, names
from llmservice_operator.resources.platform import Prices
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.simulate import SimulationResult, StartingPoint, simulate
from llmservice_operator.simulation.simulator import DidNotConverge, Simulator

_WORDS = {"True": "Fits", "False": DOES_NOT_FIT, "Unknown": "Unknown"}


def appraise(side: Side) -> Appraisal:
    """What is known of this side of a change."""
    bill = bill_of_spec(side.spec, side.replicas, side.prices, side.product)
    per_hour = bill.per_hour if bill is not None else None
    return Appraisal(
        fit=_fit(side),
        cost_per_hour=None if per_hour is None else float(per_hour),
        currency=side.prices.currency,
    )


def _fit(side: Side) -> Fit | None:
    """None if the model or the GPUs are not known."""
    facts = side.facts
    gpus = candidates(side.spec, side.nodes)
    if facts is None or not facts.configuration or not gpus:
        return None
    verdict = not_modelled(side.spec) or verdict_on(
        found_in(estimated_with_draft(ask(side.spec, facts.configuration, facts.weight_bytes, gpus), side.draft))
    )
    return Fit(_WORDS[verdict.status], verdict.message)


_KUBERNETES_WITH_NEW_CONTROLLER = 37
"""Minor version from which on the StatefulSets' controller replaces several pods in the newer way."""
_POOL = "a node"
"""Name of the node that stands for free devices of which only the number is known."""
_MOST_REPLICAS_TWICE = 200
"""Replicas up to which a second simulation, with a free device, takes no more than seconds."""
_PLENTY = 1_000_000
"""More devices than any change takes."""

Object = dict[str, Any]


def planned(
    observed: Observed,
    after: Object,
    ground: ClusterCapacity,
    minor: int | None,
    namespace: str,
    name: str,
    refusals: Sequence[DryRunRefusal],
    notes: Sequence[str],
    model: ModelFacts | None = None,
    draft: Mapping[str, Any] | None = None,
) -> PlannedChange:
    """The plan, once all is known that can be. ``model``: what the person says of the model to come, ``draft``:
    config.json of its draft model. Raises Failure."""
    facts = model or _facts(observed.service, after)
    known = _facts(observed.service, observed.service)
    if (known is None or not known.configuration) and _same_model(observed.service, after):
        known = facts
    older = minor is not None and minor < _KUBERNETES_WITH_NEW_CONTROLLER
    try:
        simulation = simulate(observed, after, ground, facts=facts, draft=draft, before_1_37=older)
        if ground.nodes is None and simulation.steps:
            notes = [*notes, "nodes can't be read: assuming that each pod can be scheduled"]
            if max(simulation.before.replicas, simulation.after.replicas) <= _MOST_REPLICAS_TWICE:
                notes += _if_there_were_room(observed, after, ground, simulation, facts, older)
    except DidNotConverge as error:
        raise Failure(f"LLMService {name} can't be simulated: {error}") from None
    prices, product = pricing.from_status((observed.service.get("status") or {}).get("cost") or {})
    if observed.platform.prices.gpu_hours:
        prices = observed.platform.prices
    before = _appraised(
        observed.service,
        simulation.before.replicas,
        ground,
        known,
        draft if _draft_of(observed.service) == _draft_of(after) else None,
        prices,
        product,
    )
    then = _appraised(after, simulation.after.replicas, ground, facts, draft, prices, product)
    answer = PlannedChange(namespace, name, tuple(refusals), simulation, tuple(notes), _noun(after), before, then)
    is_known = facts is not None and bool(facts.configuration)
    more = omissions.notes(
        answer,
        observed.service.get("spec"),
        after["spec"],
        is_model_known=is_known,
        draft_model=_draft_of(after),
        is_draft_known=draft is not None,
    )
    return dataclasses.replace(answer, notes=(*answer.notes, *more))


def removed(observed: Observed, namespace: str, name: str, notes: Sequence[str]) -> PlannedChange:
    """What the deletion of a service frees: its pods go, and so do its own volume claims with their data."""
    held = [pods.name(each) for each in observed.children if each["kind"] == "PersistentVolumeClaim"]
    model = Simulator(observed, ClusterCapacity())
    replicas = int(observed.service["spec"].get("replicas") or model.ready)
    before = StartingPoint(replicas, model.ready, model.devices)
    return PlannedChange(
        namespace, name, (), None, tuple(notes), _noun(observed.service), removal=Removal(before, tuple(held))
    )


def grounded(
    options: argparse.Namespace, observed: Observed, after: Object, seen: ClusterCapacity
) -> tuple[Observed, ClusterCapacity, list[str]]:
    """What pods can stand on, as seen, or as --spare says; then with all on one node, and a note."""
    if options.spare is not None and device_of(after):
        around, pool = pooled(observed, after, options.spare, seen)
        return around, pool, [f"assuming {options.spare} free devices (--spare)"]
    return observed, seen, []


_PLENTY = 1_000_000
"""Of further devices, which --spare does not count."""


def pooled(observed: Observed, after: Object, spare: int, seen: ClusterCapacity) -> tuple[Observed, ClusterCapacity]:
    """The same on one node that any pod may run on: it has the devices that the service holds, and so many more."""
    spec = LLMServiceSpec.model_validate(after["spec"])
    held: dict[str, int] = {}
    for pod in observed.pods:
        need = capacity.Need.of(pod)
        if pods.bound(pod) and need.resource is not None:
            held[need.resource] = held.get(need.resource, 0) + need.count
    wanted = devices.resource_name(spec.accelerator)
    named = {*held, *([wanted] if wanted else [])}
    there = {name: held.get(name, 0) + spare for name in named} | dict.fromkeys(spec.resources.devices or (), _PLENTY)
    key = spec.scheduling.group_within or names.ZONE_LABEL
    products = {devices.product_label(spec.accelerator): (spec.accelerator.products or [""])[0]}
    labels = {key: _POOL, **products, **(spec.scheduling.node_selector or {})}
    moved = [{**pod, "spec": {**pod["spec"], "nodeName": _POOL}} if pods.bound(pod) else pod for pod in observed.pods]
    node = NodeCapacity(_POOL, labels, (), True, False, there, held)
    return dataclasses.replace(observed, pods=moved), ClusterCapacity([node], quotas=seen.quotas)


def settled(observed: Observed) -> Observed:
    """The service at rest, all of whose replicas answer, if what runs can't be read. Raises Failure."""
    model = Simulator(dataclasses.replace(observed, children=(), pods=()), ClusterCapacity())
    try:
        model.run()
    except DidNotConverge as error:
        raise Failure(f"the current service can't be simulated: {error}") from None
    return dataclasses.replace(
        observed,
        service=model.service,
        children=tuple(model.children),
        pods=tuple(pod.json for pod in model.pods.values()),
        now=model.now,
    )


def _if_there_were_room(
    observed: Observed,
    after: Object,
    ground: ClusterCapacity,
    simulation: SimulationResult,
    facts: ModelFacts | None,
    older: bool,
) -> list[str]:
    """What differs if the nodes can't be read, and one more replica has room."""
    around, pool = pooled(observed, after, _PLENTY, ground)
    other = simulate(around, after, pool, facts=facts, before_1_37=older)
    if (other.least_ready, other.most_devices) == (simulation.least_ready, simulation.most_devices):
        return []
    return [
        f"if one extra replica can be scheduled, at least {other.least_ready} stay ready, and at most "
        f"{other.most_devices} devices are held: --spare N plans with N free devices"
    ]


def _facts(service: Mapping[str, Any], after: Mapping[str, Any]) -> ModelFacts | None:
    """What is known of the model to come, if it is the one that was read before."""
    stored = (service.get("status") or {}).get("model")
    if not stored:
        return None
    try:
        facts = StoredFacts.model_validate(stored)
        spec = LLMServiceSpec.model_validate(after["spec"])
    except pydantic.ValidationError:
        return None
    if facts.source != facts_key(spec):
        return None
    return ModelFacts(
        facts.architecture,
        facts.attention_heads,
        facts.key_value_heads,
        facts.layers,
        facts.max_context_length,
        facts.quantization,
        facts.weight_bytes,
        facts.configuration,
        facts.revision,
        facts.remote_code,
    )


def _same_model(service: Mapping[str, Any], after: Object) -> bool:
    one, other = ((each.get("spec") or {}).get("model") or {} for each in (service, after))
    return all(one.get(field) == other.get(field) for field in ("source", "revision"))


def _draft_of(service: Mapping[str, Any]) -> Any:
    """Source of the draft model; None without one."""
    engine = (service.get("spec") or {}).get("engine") or {}
    return (engine.get("speculative") or {}).get("model")


def _appraised(
    service: Mapping[str, Any],
    replicas: int,
    ground: ClusterCapacity,
    facts: ModelFacts | None,
    draft: Mapping[str, Any] | None,
    prices: Prices,
    product: str,
) -> Appraisal:
    try:
        spec = LLMServiceSpec.model_validate(service.get("spec"))
    except pydantic.ValidationError:
        return Appraisal()
    return appraise(Side(spec, replicas, facts, ground.nodes, draft, prices, product))


def _noun(service: Mapping[str, Any]) -> str:
    """What a device of the service is called."""
    return "GPU" if device_of(service) in (None, names.NVIDIA_GPU, names.AMD_GPU) else "device"


def device_of(service: Mapping[str, Any]) -> str | None:
    """The extended resource of one device; None if replicas need none."""
    try:
        return devices.resource_name(LLMServiceSpec.model_validate(service["spec"]).accelerator)
    except pydantic.ValidationError:
        return None
