"""Every JSON document that kubectl llm prints, field by field. This is API: docs/reference/cli has a schema of each.

The names here are the names in the JSON, in camelCase. A field may be added; one that is renamed, removed or gets
another meaning is a change of the version. What other modules call their own things does not matter here.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

API_VERSION: Final = "cli.llmservice.dev/v1alpha1"
Version = Literal["cli.llmservice.dev/v1alpha1"]


class Part(msgspec.Struct, kw_only=True, rename="camel"):
    """An object inside a document. A field that is unset is left out."""


class FindingPart(Part, kw_only=True):
    """One cause, as an entry of status.findings has it."""

    reason: str
    message: str
    condition: str | UnsetType = UNSET
    """The condition that reports it; absent for an entry of status.findings."""
    subject: str | UnsetType = UNSET
    affected_pods: int | UnsetType = UNSET
    numbers: dict[str, str] | UnsetType = UNSET
    certainty: Literal["Certain", "Likely"] | UnsetType = UNSET
    alternative: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    fix: str | UnsetType = UNSET


class PodPart(Part, kw_only=True):
    """One pod of the engine."""

    name: str
    state: str
    node: str
    age: str
    restarts: int
    ready: bool


class EventPart(Part, kw_only=True):
    """A Kubernetes Event."""

    age: str
    type: str
    """Normal or Warning."""
    reason: str
    object: str
    """What it is about, such as `pod chat-0`."""
    message: str


class Explanation(Part, kw_only=True, tag_field="kind", tag="Explanation"):
    """`kubectl llm explain NAME -o json`: why a service is not ready, and how to fix it. Texts may be empty."""

    api_version: Version = API_VERSION
    namespace: str
    name: str
    ready: bool
    """Whether the newest spec is Ready."""
    summary: str
    """Ready or not, for which reason, since when."""
    operator: str
    """What is wrong with the operator itself."""
    desired: str
    """What the spec asks for."""
    current: str
    """How much of it is there."""
    placeable: str
    """How many replicas could be placed, if that is fewer than may be asked for."""
    memory: str
    """How the model fits its GPUs."""
    cost: str
    findings: list[FindingPart]
    """What keeps the service from being Ready, the gravest first."""
    other_findings: list[FindingPart]
    """What else is wrong, and keeps no client from being served."""
    pending_approval: str
    """The upgrade that waits for approval."""
    pods: list[PodPart]
    autoscaler: str
    """The problem that the autoscaler reports."""
    quotas: list[str]
    """Quotas that are full."""
    nodes: str
    """The nodes that have the device."""
    events: list[EventPart]
    """Warnings about the service that no finding reports, the newest first."""
    logs: dict[str, str]
    """The last lines of engines that ended without a message, by pod."""
    unreadable: list[str]
    """What could not be read, and why."""


class RefusalPart(Part, kw_only=True):
    """Something that would be refused."""

    by: str
    """`API server`, or `types` and `rules` of kubectl llm if no cluster was asked."""
    object: str
    message: str


class CountsPart(Part, kw_only=True):
    """Counts of a service."""

    replicas: int
    """Desired."""
    ready: int
    devices: int
    """Held by its pods."""


class StrategyPart(Part, kw_only=True):
    """How replicas are replaced."""

    strategy: str
    """InPlace or Surge."""
    reason: str
    """As part of a sentence."""


class StepPart(Part, kw_only=True):
    """A step of the rollout."""

    action: str
    """Start, StartSurge, Replace, RollBack, Stop or StopSurge."""
    replicas: list[int]
    """By number."""
    pods: list[str]
    ready: int
    """Ready replicas meanwhile."""
    devices: int
    """Devices held meanwhile."""


class FieldPart(Part, kw_only=True):
    """A field that changes."""

    path: str
    before: Any
    """Null for absent."""
    after: Any


class SpecFieldPart(FieldPart, kw_only=True):
    """A field of the spec that changes."""

    restarts: bool
    """Whether pods are replaced because of it."""
    children: list[str]
    """Kinds of objects that change because of it."""


class ChildPart(Part, kw_only=True):
    """An object of the service that changes."""

    change: str
    """Create, Update, Replace, Rename, Recreate or Delete."""
    kind: str
    name: str
    replaces: str | UnsetType = UNSET
    """The name of the object whose place it takes."""
    fields: list[FieldPart]


class ClaimsPart(Part, kw_only=True):
    """Volume claims of replicas' own."""

    created: list[str]
    deleted: list[str]


class VerdictPart(Part, kw_only=True):
    """Whether the model fits its GPUs."""

    verdict: str
    """Fits, DoesNotFit or Unknown."""
    message: str


class FitChangePart(Part, kw_only=True):
    """The same before and after."""

    before: VerdictPart | UnsetType = UNSET
    after: VerdictPart | UnsetType = UNSET


class CostChangePart(Part, kw_only=True):
    """What its GPUs cost in an hour."""

    before_per_hour: float | UnsetType = UNSET
    after_per_hour: float | UnsetType = UNSET
    currency: str


Outcome = Literal["NoChange", "Change", "CannotSucceed"]


class ServicePlan(Part, kw_only=True):
    """The plan of one service. After `notes`, fields are absent if the change would be refused, or nothing is known."""

    namespace: str
    name: str
    outcome: Outcome
    summary: str
    """The outcome in a sentence."""
    refusals: list[RefusalPart]
    notes: list[str]
    """What could not be known, and what was assumed."""
    created: bool | UnsetType = UNSET
    """Whether the service does not exist yet."""
    removed: bool | UnsetType = UNSET
    """Whether only the old manifests (--against) have the service. Applying the new ones does not delete it; `after`
    counts what remains once it is deleted."""
    end: str | UnsetType = UNSET
    """Done, Paused, NotAccepted, RolledBack, Stuck or NoBetter."""
    why: str | UnsetType = UNSET
    """What stops it; empty if nothing does."""
    before: CountsPart | UnsetType = UNSET
    after: CountsPart | UnsetType = UNSET
    least_ready: int | UnsetType = UNSET
    """The fewest ready replicas on the way."""
    peak_devices: int | UnsetType = UNSET
    peak_pods: int | UnsetType = UNSET
    strategies: list[StrategyPart] | UnsetType = UNSET
    """How replicas are replaced; more than one if the first is given up on the way."""
    steps: list[StepPart] | UnsetType = UNSET
    spec: list[SpecFieldPart] | UnsetType = UNSET
    children: list[ChildPart] | UnsetType = UNSET
    volume_claims: ClaimsPart | UnsetType = UNSET
    pending_approval: list[str] | UnsetType = UNSET
    """What an upgrade of the operator would change and does not without approval."""
    fit: FitChangePart | UnsetType = UNSET
    cost: CostChangePart | UnsetType = UNSET


class Plan(Part, kw_only=True, tag_field="kind", tag="Plan"):
    """`kubectl llm plan -f FILE -o json`: what applying manifests will do."""

    api_version: Version = API_VERSION
    outcome: Outcome
    """The worst of all services."""
    services: list[ServicePlan]


class Generation(Part, kw_only=True, tag_field="kind", tag="Generation"):
    """`kubectl llm try NAME PROMPT -o json`: the answer of a model."""

    api_version: Version = API_VERSION
    namespace: str
    name: str
    model: str
    """The name under which the model is served."""
    api: Literal["Chat", "Completion"]
    """Completion if the model has no chat template, or with --completion."""
    text: str
    reasoning: str
    """What a reasoning model writes before its answer; empty if nothing is separated."""
    finish_reason: str
    """`stop`, or `length` if the answer was cut at --max-tokens."""
    prompt_tokens: int | None
    """Null if the server does not count them."""
    output_tokens: int | None
    first_token_seconds: float | None
    seconds: float
    """From the request to the end of the answer."""


class MeasuredPart(Part, kw_only=True):
    """Percentiles in seconds; null for one that is unbounded because of failed requests."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class ReplicasPart(Part, kw_only=True):
    """Ready replicas before and after a rate; 0 if unknown."""

    before: int
    after: int


class TargetPart(Part, kw_only=True):
    """One latency target at one rate."""

    latency: str
    """timeToFirstToken, interTokenLatency or requestLatency."""
    percentile: int
    target_seconds: float
    measured_seconds: float | None
    """Null if it is unbounded because of failed requests, or nothing was measured."""
    verdict: Literal["Holds", "Exceeded", "Unknown"]
    """Unknown if there were too few requests for this percentile."""


class RatePart(Part, kw_only=True):
    """What was measured at one rate. A request that failed, or was not sent, is slower than every target."""

    rate: float
    """Requests per second, on average."""
    seconds: float
    """From the first arrival to the last answer."""
    requests: int
    """All that arrived: succeeded, failed and not sent."""
    succeeded: int
    failed: int
    not_sent: int
    """Beyond --max-in-flight."""
    errors: dict[str, int]
    """Failed requests by kind, such as `http_429` or `timeout`."""
    ready_replicas: ReplicasPart
    output_tokens_per_second: float
    time_to_first_token: MeasuredPart | None
    inter_token_latency: MeasuredPart | None
    request_latency: MeasuredPart | None
    client_limited: bool
    """Whether the machine that sent the requests was too slow, so that times may be too long."""
    targets: list[TargetPart]


class Bench(Part, kw_only=True, tag_field="kind", tag="Bench"):
    """`kubectl llm bench NAME -o json`: latencies of a service at request rates."""

    api_version: Version = API_VERSION
    namespace: str
    name: str
    model: str
    """The name under which the model is served."""
    url: str | None
    """Where requests were sent; null for the way through the API server."""
    prompt_tokens: int
    """Of each prompt, about."""
    max_tokens: int
    highest_rate: float | None
    """The highest rate of those tried at which all targets hold, and below which none is exceeded; null if there is
    none."""
    rates: list[RatePart]
    notes: list[str]


class PercentilesPart(Part, kw_only=True):
    """Seconds."""

    p50: float
    p99: float


class MoneyPart(Part, kw_only=True):
    """Amounts as decimal numbers; null if not known."""

    currency: str
    per_hour: str | None
    per_million_tokens: str | None


class ServiceLoad(Part, kw_only=True):
    """What one service does. Null is what is not known."""

    namespace: str
    name: str
    replicas: int
    """Desired."""
    ready_replicas: int
    seconds: int
    """The time over which rates and latencies are measured."""
    requests_per_second: float | None
    generated_tokens_per_second: float | None
    time_to_first_token: PercentilesPart | None
    inter_token_latency: PercentilesPart | None
    kv_cache_usage: float | None
    """From 0 to 1."""
    requests_running: float | None
    requests_waiting: float | None
    cost: MoneyPart | None


class Top(Part, kw_only=True, tag_field="kind", tag="Top"):
    """`kubectl llm top -o json`: requests, latencies, cache, queue and cost of services. With `--watch` one a line."""

    api_version: Version = API_VERSION
    items: list[ServiceLoad]


class LedgerPart(Part, kw_only=True):
    """Bytes of one GPU; null if not known."""

    total: int
    requested: int
    """What vLLM takes of it."""
    weights: int | None
    activation: int | None
    cuda_graphs: int | None
    non_torch: int | None
    kv_available: int | None
    """Below 0 if the others take too much."""
    kv_per_token: int | None
    weights_by_part: dict[str, int]


class CachePart(Part, kw_only=True):
    """Blocks of the KV cache."""

    blocks: int | None
    block_tokens: int | None
    block_bytes: int | None


class SuggestionPart(Part, kw_only=True):
    """A change with which the model would fit."""

    change: dict[str, str | int]
    """Values by the path of their field."""
    message: str
    gpus: int
    per_gpu: LedgerPart = msgspec.field(name="perGPU")
    max_context_length: int | None
    max_concurrency: float | None


class Fit(Part, kw_only=True, tag_field="kind", tag="Fit"):
    """`kubectl llm fit -f FILE -o json`: whether a model fits a GPU."""

    api_version: Version = API_VERSION
    verdict: str
    """Fits, DoesNotFit or Unknown."""
    reason: str
    message: str
    architecture: str | None
    gpu: str
    gpus: int
    """Of one replica."""
    per_gpu: LedgerPart = msgspec.field(name="perGPU")
    context_length: int | None
    """Tokens of the longest request that is to be served."""
    max_context_length: int | None
    """Tokens of the longest request that could be served."""
    max_concurrency: float | None
    """Requests of the longest context that the cache holds at once."""
    kv_cache: CachePart
    load_seconds: int | None
    suggestions: list[SuggestionPart]


class KeyItem(Part, kw_only=True):
    """One key of a Secret. Nothing of it opens anything."""

    id: str
    tier: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    """Why the entry is no key."""


class KeyList(Part, kw_only=True, tag_field="kind", tag="KeyList"):
    """`kubectl llm keys list NAME -o json`."""

    api_version: Version = API_VERSION
    items: list[KeyItem]


class NewKey(Part, kw_only=True, tag_field="kind", tag="NewKey"):
    """`kubectl llm keys create|rotate NAME -o json`: the one time that the key itself is shown."""

    api_version: Version = API_VERSION
    id: str
    key: str
    """What the client sends."""
    tier: str
    role: str
    secret: str
    """The Secret that holds the entry."""
    entry: str
    """The entry's value: the key's hash, and what it opens."""


class UpgradeItem(Part, kw_only=True):
    """A service for which an upgrade waits."""

    namespace: str
    name: str
    digest: str
    """Names the change: the annotation `llmservice.dev/upgrade` with it approves."""
    version: str
    """Of the operator."""
    changes: list[str]


class UpgradeCheck(Part, kw_only=True, tag_field="kind", tag="UpgradeCheck"):
    """`kubectl llm upgrade-check -o json`."""

    api_version: Version = API_VERSION
    items: list[UpgradeItem]


class PlacementPart(Part, kw_only=True):
    """The fewest GPUs of one node on which a service with this model and no other field fits."""

    gpus: int
    """Per replica."""
    product: str
    free: bool
    """Whether so many are free on one node now."""
    per_hour: str | None
    """Their price as a decimal number; null if not known."""
    currency: str | None


class CatalogueModel(Part, kw_only=True):
    """A model that services of the namespace may use. Null is what is not known."""

    ref_kind: str
    """`spec.model.ref.kind` of a service that uses it."""
    name: str
    source: str
    revision: str | None
    digest: str | None
    licence: str | None
    description: str | None
    credentials_secret: str | None
    """Name of the Secret that the namespace must have."""
    facts_from: str | None
    """Source: a service of the namespace has read the model. Catalogue: the model's author states them."""
    architecture: str | None
    layers: int | None
    attention_heads: int | None
    max_context_length: int | None
    weight_bytes: int | None
    fits: str
    """Fits, DoesNotFit or Unknown."""
    placement: PlacementPart | None
    """Null unless it fits."""
    message: str
    """Why it does not fit, or why that is unknown."""
    services: int
    """Services of the namespace that name it."""


class Models(Part, kw_only=True, tag_field="kind", tag="Models"):
    """`kubectl llm models -o json`: the models of the catalogue that services of a namespace may use."""

    api_version: Version = API_VERSION
    namespace: str
    items: list[CatalogueModel]


Document = Explanation | Plan | Generation | Bench | Top | Fit | KeyList | NewKey | UpgradeCheck | Models
DOCUMENTS: dict[str, type[Document]] = {
    "explanation": Explanation,
    "plan": Plan,
    "generation": Generation,
    "bench": Bench,
    "top": Top,
    "fit": Fit,
    "key-list": KeyList,
    "new-key": NewKey,
    "upgrade-check": UpgradeCheck,
    "models": Models,
}
"""By the name of the schema's file."""


def text(document: Document, *, indent: int | None = 2) -> str:
    """The document as it is printed, in ASCII: other characters, some of which steer terminals, are escaped."""
    return json.dumps(msgspec.to_builtins(document), indent=indent).replace("\x7f", "\\u007f")


def schema(name: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of a document."""
    found = msgspec.json.schema(DOCUMENTS[name])
    for part in found["$defs"].values():
        if "apiVersion" in part.get("properties", {}):
            part["required"] = ["kind", "apiVersion", *(each for each in part["required"] if each != "kind")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DOCUMENTS[name].__name__, **found}
