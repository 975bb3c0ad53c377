"""What the operator reports: verdicts, never fast-changing data."""

from typing import Annotated, Literal

from pydantic import Field

from llmservice_operator.api.base import APIType

Generation = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
"""A generation of the spec, as the API server counts it."""


class Condition(APIType):
    """One verdict on the service, as Kubernetes' own conditions are."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """Ready, Accepted, Fits, Scheduled, Serving, RolledOut, ScalingActive; Reconciling and Stalled only while True."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """The cause in one CamelCase word."""
    message: Annotated[str, Field(max_length=8192)] = ""
    """The cause for a person: what is the matter, where, what to do."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    observed_generation: Generation | None = None
    """The generation of the spec that this verdict is on."""


class ModelFacts(APIType):
    """What the model's own configuration says, read before its weights are loaded."""

    source: Annotated[str, Field(max_length=1280)]
    """Source and revision that these facts are of."""
    architecture: Annotated[str, Field(max_length=256)] | None = None
    """Architecture, such as `LlamaForCausalLM`."""
    attention_heads: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Attention heads of a layer."""
    key_value_heads: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Key and value heads of a layer."""
    layers: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Layers that are stacked."""
    max_context_length: Annotated[int, Field(ge=1, le=1_073_741_824)] | None = None
    """Longest context that the model was made for, in tokens."""
    weight_bytes: Annotated[int, Field(ge=0, le=1_125_899_906_842_624)] | None = None
    """Bytes of the weights as stored."""
    quantization: Annotated[str, Field(max_length=64)] | None = None
    """Quantization method of the checkpoint; absent for 16 bits."""
    configuration: Annotated[str, Field(max_length=4096)] | None = None
    """What memory depends on of its config.json, packed (JSON, zlib, base64); empty where that was too much."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=40)] | None = None
    """Commit of the hub's repository that every replica is served from."""
    draft: Annotated[str, Field(max_length=1280)] | None = None
    """Source and revision of the draft model that was looked up, if it is a hub's."""
    draft_revision: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=40)] | None = None
    """Commit of the draft model's repository that every replica uses."""
    remote_code: Annotated[bool, Field(strict=True)] | None = None
    """Whether it can be loaded only with code of its own repository, which is never executed."""


GiB = Annotated[str, Field(max_length=16, pattern=r"^-?[0-9]+\.[0-9]Gi$")]
"""Bytes in GiB with one decimal, such as `61.0Gi`."""


class Memory(APIType):
    """Where the memory of one GPU goes, reckoned beforehand: the one with the least room that the service may get."""

    gpu: Annotated[str, Field(max_length=128)]
    """The GPU, as the node's label has it."""
    total: GiB
    """What it has."""
    requested: GiB
    """What vLLM takes of it: the sum of the next five."""
    weights: GiB
    """The model's parameters."""
    activation: GiB
    """The peak of a step beside them."""
    cuda_graphs: GiB
    """Recorded steps."""
    non_torch: GiB
    """Communication and kernels."""
    kv_available: GiB
    """What is left for the KV cache; below 0 where the others are too much."""
    kv_per_token: Annotated[int, Field(ge=0, le=1_073_741_824)]
    """Bytes of the KV cache for a token."""
    max_context_length: Annotated[int, Field(ge=0, le=1_073_741_824)] | None = None
    """Tokens of the longest request that the cache holds, up to what the model was made for."""
    max_concurrency: Annotated[str, Field(max_length=16, pattern=r"^[0-9]+(\.[0-9]+)?$")] | None = None
    """Requests of the longest context that it holds at once."""


class Ceiling(APIType):
    """How many replicas could be placed, beside what is asked for."""

    replicas: Annotated[int, Field(ge=0, le=1_000_000)]
    """Those that run, and those that free devices and quota have room for."""
    limited_by: Literal["Nodes", "Quota"]
    """What there would have to be more of for another one."""
    message: Annotated[str, Field(max_length=2048)]
    """Which nodes have room, and why others have none."""


class ScalingStatus(APIType):
    """The count that the autoscaler of the platform wants, and why."""

    desired_replicas: Annotated[int, Field(ge=0, le=1_000_000)]
    """Replicas that it wants."""
    last_change: Annotated[str, Field(max_length=1024)] | None = None
    """Why the count last changed; absent if it has not changed since it was first set."""


Quantity = Annotated[str, Field(min_length=1, max_length=128)]
"""A number, or a quantity as Kubernetes writes it."""


class Finding(APIType):
    """One cause of what is the matter, as a machine reads it; the conditions tell the same to people."""

    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """The cause in one CamelCase word; `docs/operations/REASON.md` tells what lies behind it."""
    certainty: Literal["Certain", "Likely"]
    """Certain: what was observed has no other cause. Likely: it may have, and `alternative` names it if it is known."""
    message: Annotated[str, Field(max_length=2048)]
    """What is the matter, with the numbers found."""
    subject: Annotated[str, Field(max_length=253)] | None = None
    """The pod that it is about, the first one if it is about several; absent if it is about none in particular."""
    affected_pods: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many pods it is about; absent if it is about none in particular."""
    numbers: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Numbers and quantities of the message, by name."""
    alternative: Annotated[str, Field(max_length=2048)] | None = None
    """What else it may be; absent if it can be nothing else, or nothing else is known."""
    field: Annotated[str, Field(max_length=256)] | None = None
    """Path of the LLMService's field to change first, such as `spec.model.maxContextLength`; absent where none is."""
    fix: Annotated[str, Field(max_length=2048)] | None = None
    """What to do."""


Amount = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?$")]
"""An amount of money as a decimal number, such as `2.49`."""


class PricedGPUs(APIType):
    """GPUs of one product that the service has, and what one costs."""

    product: Annotated[str, Field(max_length=128)] | None = None
    """Product, as the node's label has it; absent where it is not known."""
    count: Annotated[int, Field(ge=1, le=1_000_000)]
    """GPUs of it, those of pods that are being deleted included until they are gone."""
    price: Amount | None = None
    """Of one GPU for an hour; absent where the platform states none."""
    source: Annotated[str, Field(max_length=256)] | None = None
    """Where the price is from."""
    date: Annotated[str, Field(max_length=10)] | None = None
    """Of when the price is, as YYYY-MM-DD."""


class Cost(APIType):
    """What the GPUs cost that the service has now, by the platform's own prices."""

    currency: Annotated[str, Field(max_length=3)]
    """Of every amount, as ISO 4217 has it."""
    per_hour: Amount | None = None
    """All of its GPUs for an hour; absent where a price is missing."""
    gpus: Annotated[list[PricedGPUs], Field(max_length=32)] = []  # noqa: RUF012
    """Its GPUs by product; empty while it has none."""
    message: Annotated[str, Field(max_length=2048)] | None = None
    """Why `perHour` is absent, and what to do."""


class UpgradeOffer(APIType):
    """What the installed operator would change about the pods, and does only once somebody agrees."""

    digest: Annotated[str, Field(max_length=64)]
    """Names this change: the annotation `llmservice.dev/upgrade` with it, on the LLMService, agrees."""
    version: Annotated[str, Field(max_length=64)]
    """Version of that operator."""
    changes: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = []  # noqa: RUF012
    """Each difference, as a line."""


class LLMServiceStatus(APIType):
    """What is, and why it is not what the spec wants."""

    observed_generation: Generation | None = None
    """The generation of the spec that this status is on."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []  # noqa: RUF012
    """Verdicts; `Ready` sums them up."""
    replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Replicas that exist."""
    ready_replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Replicas that answer requests."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the replicas' pods, for the scale subresource."""
    gpus: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Devices that the service asks for: replicas x tensor x pipeline; 0 on a CPU."""
    address: Annotated[str, Field(max_length=512)] | None = None
    """Where clients inside the cluster reach the OpenAI API, as a URL."""
    model: ModelFacts | None = None
    """What the model's own configuration says, where it had to be read."""
    memory: Memory | None = None
    """Where the memory of a GPU goes; absent while the model is not known."""
    scaling: ScalingStatus | None = None
    """The count that the autoscaler wants; only with `scaling`, once latencies have been measured."""
    ceiling: Ceiling | None = None
    """How many replicas could be placed when that was last looked at; only with `scaling` on GPUs whose nodes can be
    read."""
    findings: Annotated[list[Finding], Field(max_length=8)] = []  # noqa: RUF012
    """What is the matter, the gravest first; empty where nothing is."""
    cost: Cost | None = None
    """What its GPUs cost now; absent on a CPU, and where the platform states no prices."""
    upgrade: UpgradeOffer | None = None
    """Set while a change waits for consent that is none of the spec's."""
