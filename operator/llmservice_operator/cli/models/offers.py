"""What the catalogue offers to a namespace, with the GPUs on which each model fits.

The configuration of a model is what a service of the namespace has read, otherwise what the model's author states. The
estimate is that of a service with this model and no other field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pydantic

from llmservice_contract import configuration
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.engine_settings import HF_OVERRIDES
from llmservice_contract.foreign import read_json
from llmservice_operator.api.catalogue import LLMModelSpec
from llmservice_operator.api.model import CatalogueKind, Model
from llmservice_operator.api.placement import Accelerator, Parallelism
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.cli import service as services
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.plan import platform_discovery
from llmservice_operator.cli.plan.snapshot import ClusterReader
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.planner.conditions.fits import ask, found_in, verdict_on
from llmservice_operator.planner.conditions.gpu_candidates import of_node
from llmservice_operator.planner.model import catalogue
from llmservice_operator.planner.model.fit_estimate import estimated
from llmservice_operator.planner.model.observed import NodeCapacity
from llmservice_operator.planner.model.revisions import facts_key
from llmservice_operator.planner.model.spec_errors import explain
from llmservice_operator.planner.status import pricing
from llmservice_operator.resources import devices, quantity
from llmservice_operator.resources.platform import Prices

COUNTS = (1, 2, 4, 8)
"""GPUs per replica that are tried; a replica is on one node."""
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model."""

    source: str
    """``Source`` if a service has read them, ``Catalogue`` if the model's author states them."""
    architecture: str | None = None
    layers: int | None = None
    attention_heads: int | None = None
    max_context_length: int | None = None
    weight_bytes: int | None = None
    packed: str | None = None
    """The configuration for the estimate."""


@dataclass(frozen=True, slots=True)
class Placement:
    """GPUs of one node on which the model fits."""

    count: int
    product: str
    free: bool
    """Whether so many are free on one node."""
    price: Decimal | None
    """Of all of them for an hour."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that services of the namespace may name."""

    kind: CatalogueKind
    name: str
    entry: LLMModelSpec
    facts: Facts | None
    placement: Placement | None
    verdict: str
    """Fits, DoesNotFit or Unknown."""
    message: str
    """Why it does not fit, or why that is not known."""
    services: int
    currency: str


@dataclass(frozen=True, slots=True)
class _Pool:
    """The GPUs of one product."""

    gpu: GPU
    accelerator: AcceleratorType
    total: int
    """The most of one node."""
    free: int
    """The most that are free on one node."""


def find(cluster: KubernetesClient, namespace: str) -> tuple[list[Offer], list[str]]:
    """The models by name, and notes about what could not be read. Raises Failure."""
    reader = ClusterReader(cluster, namespace)
    models = reader.models()
    ground, minor, unseen = reader.around()
    notes = [f"{kind}: {why}" for kind, why in sorted(unseen.items()) if kind != "ResourceQuota"]
    try:
        running = services.find(cluster, namespace, None)
    except Failure as failure:
        running, notes = [], [*notes, str(failure)]
    discovered = platform_discovery.from_deployment(reader.operators(), namespace, minor)
    prices = discovered.platform.prices if discovered is not None else _prices(running)
    pools = _pools(ground.nodes)
    made: list[Offer] = []
    for each in models:
        kind, name = CatalogueKind(each["kind"]), str(each["metadata"]["name"])
        try:
            entry = catalogue.SPECS[kind].model_validate(each.get("spec"))
        except pydantic.ValidationError as error:
            notes.append(f"{kind} {name} can't be used: {explain(error).message}")
            continue
        if entry.is_offered_to(namespace):
            made.append(_offer(namespace, kind, name, entry, running, pools, prices))
    return sorted(made, key=lambda each: (each.name, each.kind)), notes


def _offer(
    namespace: str,
    kind: CatalogueKind,
    name: str,
    entry: LLMModelSpec,
    running: Sequence[Object],
    pools: Sequence[_Pool] | None,
    prices: Prices,
) -> Offer:
    facts = _read(entry, running) or _stated(entry)
    placement, verdict, message = _place(entry, facts, pools, prices)
    own = namespace if kind is CatalogueKind.LLM_MODEL else ""
    users = sum(catalogue.ref_of(each) == (kind, own, name) for each in running)
    return Offer(kind, name, entry, facts, placement, verdict, message, users, prices.currency)


def _spec(entry: LLMModelSpec, count: int = 1, accelerator: AcceleratorType = AcceleratorType.NVIDIA) -> LLMServiceSpec:
    model = Model(source=entry.source, revision=entry.revision, format=entry.format, size=entry.size)
    return LLMServiceSpec(model=model, parallelism=Parallelism(tensor=count), accelerator=Accelerator(type=accelerator))


def _read(entry: LLMModelSpec, running: Iterable[Object]) -> Facts | None:
    """What a service has read of this source and revision."""
    key = facts_key(_spec(entry))
    for each in running:
        try:
            found = ModelFacts.model_validate((each.get("status") or {}).get("model"))
        except pydantic.ValidationError:
            continue
        if found.source == key:
            return Facts(
                "Source",
                found.architecture,
                found.layers,
                found.attention_heads,
                found.max_context_length,
                found.weight_bytes,
                found.configuration,
            )
    return None


def _stated(entry: LLMModelSpec) -> Facts | None:
    size = int(quantity.parse(entry.size)) if entry.size is not None else None
    whole = read_json(entry.config, most=HF_OVERRIDES.longest, deepest=HF_OVERRIDES.deepest)
    if not isinstance(whole, dict):
        return Facts("Catalogue", weight_bytes=size) if size else None
    text = whole.get("text_config")
    config = text if isinstance(text, dict) else whole
    named = whole.get("architectures")

    def number(name: str) -> int | None:
        value = config.get(name)
        return value if type(value) is int and 0 < value < 1 << 31 else None

    return Facts(
        "Catalogue",
        str(named[0])[:256] if isinstance(named, list) and named else None,
        number("num_hidden_layers"),
        number("num_attention_heads"),
        number("max_position_embeddings"),
        size,
        _packed(whole),
    )


def _packed(config: dict[str, Any]) -> str | None:
    try:
        return configuration.packed(configuration.relevant(config))
    except ValueError:
        return None


def _place(
    entry: LLMModelSpec, facts: Facts | None, pools: Sequence[_Pool] | None, prices: Prices
) -> tuple[Placement | None, str, str]:
    """The fewest GPUs on which it fits, free ones and cheap ones first; the verdict, and why."""
    if facts is None or not facts.packed:
        return None, "Unknown", "no service of the namespace has read its configuration, and the catalogue has none"
    if pools is None:
        return None, "Unknown", "nodes can't be read"
    if not pools:
        return None, "Unknown", "no node has a label with its GPU product"
    why: tuple[str, str] | None = None
    for count in COUNTS:
        fitting = []
        for pool in pools:
            if pool.total < count:
                continue
            spec = _spec(entry, count, pool.accelerator)
            verdict = verdict_on(found_in(estimated(ask(spec, facts.packed, facts.weight_bytes, [pool.gpu]))))
            if verdict.status == "True":
                fitting.append(_placement(pool, count, prices))
            else:
                why = ("DoesNotFit" if verdict.status == "False" else "Unknown", verdict.message)
        if fitting:
            return min(fitting, key=_order), "Fits", ""
    return None, *(why or ("DoesNotFit", "no node has a GPU"))


def _placement(pool: _Pool, count: int, prices: Prices) -> Placement:
    price = prices.gpu_hours.get(pool.gpu.name)
    return Placement(count, pool.gpu.name, pool.free >= count, None if price is None else count * price.per_hour)


def _order(placement: Placement) -> tuple[bool, bool, Decimal, str]:
    return not placement.free, placement.price is None, placement.price or Decimal(0), placement.product


def _pools(nodes: Sequence[NodeCapacity] | None) -> list[_Pool] | None:
    """The GPUs of nodes that take pods, by product; None if the nodes are not known."""
    if nodes is None:
        return None
    found: dict[tuple[str, AcceleratorType], _Pool] = {}
    for accelerator in (AcceleratorType.NVIDIA, AcceleratorType.AMD):
        spec = Accelerator(type=accelerator)
        whole = LLMServiceSpec(model=Model(source="pvc://models"), accelerator=spec)
        resource = devices.resource_name(spec) or ""
        for node in nodes:
            total, gpu = node.allocatable.get(resource, 0), of_node(whole, node)
            if not total or gpu is None or not node.ready or node.unschedulable:
                continue
            free = total - node.requested.get(resource, 0)
            before = found.get((gpu.name, accelerator))
            most = (before.total, before.free) if before is not None else (0, 0)
            found[gpu.name, accelerator] = _Pool(gpu, accelerator, max(most[0], total), max(most[1], free))
    return list(found.values())


def _prices(running: Iterable[Object]) -> Prices:
    """The prices in the status of services, for users who can't read the platform's."""
    found = [pricing.from_status((each.get("status") or {}).get("cost") or {})[0] for each in running]
    priced = [each for each in found if each.gpu_hours]
    hours = {product: price for each in priced for product, price in each.gpu_hours.items()}
    return Prices(priced[0].currency if priced else "", hours)
