"""The status of an LLMService. It contains nothing that changes all the time."""

from typing import Annotated, Literal

from pydantic import Field

from llmservice_operator.api.base import APIType
from llmservice_operator.api.rollout import ADDED_ERROR_PERCENT, LATENCY_PERCENT, MOST_LATENCY_PERCENT

Generation = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
"""A generation of the spec, counted by the API server."""


class Condition(APIType):
    """One aspect of the service's state, in the form of Kubernetes' conditions."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """Ready, Accepted, Fits, Scheduled, Serving, RolledOut, ScalingActive, Routed; Reconciling and Stalled only while
    True."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """The cause in one CamelCase word."""
    message: Annotated[str, Field(max_length=8192)] = ""
    """Human-readable message: what is wrong, where, and what to do."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    observed_generation: Generation | None = None
    """The generation of the spec that this condition is about."""


class ModelFacts(APIType):
    """Facts from the model's configuration, read before its weights are loaded."""

    source: Annotated[str, Field(max_length=1280)]
    """Source and revision that these facts are about."""
    architecture: Annotated[str, Field(max_length=256)] | None = None
    """Architecture, such as `LlamaForCausalLM`."""
    attention_heads: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Attention heads of a layer."""
    key_value_heads: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Key and value heads of a layer."""
    layers: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Number of layers."""
    max_context_length: Annotated[int, Field(ge=1, le=1_073_741_824)] | None = None
    """Maximum context length of the model, in tokens."""
    weight_bytes: Annotated[int, Field(ge=0, le=1_125_899_906_842_624)] | None = None
    """Bytes of the weights as stored."""
    quantization: Annotated[str, Field(max_length=64)] | None = None
    """Quantization method of the checkpoint; absent for 16 bits."""
    configuration: Annotated[str, Field(max_length=4096)] | None = None
    """The fields of config.json that the memory estimate uses, packed (JSON, zlib, base64); empty if they are too
    large."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=40)] | None = None
    """Commit of the hub's repository that every replica uses."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)] | None = None
    """Digest of the weights, from what a hub or S3 states of each file. `spec.model.digest` pins it."""
    draft: Annotated[str, Field(max_length=1280)] | None = None
    """Source and revision of the draft model that was resolved, if it is in a hub."""
    draft_revision: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=40)] | None = None
    """Commit of the draft model's repository that every replica uses."""
    remote_code: Annotated[bool, Field(strict=True)] | None = None
    """Whether the model can be loaded only with code from its repository, which is never executed."""
    read_at: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = None
    """When the facts were read."""
    refresh: Annotated[str, Field(max_length=64)] | None = None
    """Digest of the annotation `llmservice.dev/refresh` for which the facts were read."""


GiB = Annotated[str, Field(max_length=16, pattern=r"^-?[0-9]+\.[0-9]Gi$")]
"""Bytes in GiB with one decimal, such as `61.0Gi`."""


class Memory(APIType):
    """Memory estimate for one GPU: of all that the service may get, the one with the least memory for the KV cache."""

    gpu: Annotated[str, Field(max_length=128)]
    """Product of the GPU, as in the node's label."""
    total: GiB
    """Total memory of the GPU."""
    requested: GiB
    """Memory that vLLM uses: the sum of the next five."""
    weights: GiB
    """The model's parameters."""
    activation: GiB
    """Peak memory of activations during a step."""
    cuda_graphs: GiB
    """Captured CUDA graphs."""
    non_torch: GiB
    """Memory outside of PyTorch: communication and kernels."""
    kv_available: GiB
    """What is left for the KV cache; below 0 if the others need too much."""
    kv_per_token: Annotated[int, Field(ge=0, le=1_073_741_824)]
    """Bytes of the KV cache for each token."""
    max_context_length: Annotated[int, Field(ge=0, le=1_073_741_824)] | None = None
    """Tokens of the longest request that fits the KV cache, up to the maximum of the model."""
    max_concurrency: Annotated[str, Field(max_length=16, pattern=r"^[0-9]+(\.[0-9]+)?$")] | None = None
    """Requests of the maximum context length that fit the KV cache at once."""


class PlaceableReplicas(APIType):
    """How many replicas the cluster could place now."""

    replicas: Annotated[int, Field(ge=0, le=1_000_000)]
    """Placeable replicas: those that run, plus those for which free devices and quota suffice."""
    limited_by: Literal["Nodes", "Quota"]
    """Which resource limits the number of placeable replicas."""
    message: Annotated[str, Field(max_length=2048)]
    """Which nodes have free devices, and why other nodes have none."""


class ScalingStatus(APIType):
    """The replica count that the autoscaler computed, and why."""

    desired_replicas: Annotated[int, Field(ge=0, le=1_000_000)]
    """Desired replicas."""
    last_change: Annotated[str, Field(max_length=1024)] | None = None
    """Why the count last changed; absent if it never changed after it was first set."""


class ReplicasWriter(APIType):
    """A client that sets a number of replicas that it does not own."""

    manager: Annotated[str, Field(min_length=1, max_length=128)]
    """Its field manager, as `metadata.managedFields` names it."""
    kind: Literal["LLMService", "StatefulSet", "HorizontalPodAutoscaler"]
    """Kind of the object that it wrote: this service, or an object of it."""
    time: Annotated[str, Field(max_length=64)]
    """When it wrote last."""


Quantity = Annotated[str, Field(min_length=1, max_length=128)]
"""A number, or a Kubernetes quantity."""


class Finding(APIType):
    """One cause of a problem, for programs; the conditions have the same causes for people."""

    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """The cause in one CamelCase word; `docs/operations/REASON.md` explains it."""
    certainty: Literal["Certain", "Likely"]
    """Certain: the observation has no other possible cause. Likely: it may have, and `alternative` names it if it is
    known."""
    message: Annotated[str, Field(max_length=2048)]
    """What is wrong, with numbers."""
    subject: Annotated[str, Field(max_length=253)] | None = None
    """The pod that is affected, the first one if there are several; absent if the cause is not about pods."""
    affected_pods: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Number of affected pods; absent if the cause is not about pods."""
    numbers: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Numbers and quantities of the message, by name."""
    alternative: Annotated[str, Field(max_length=2048)] | None = None
    """Another possible cause; absent if there is none or none is known."""
    field: Annotated[str, Field(max_length=256)] | None = None
    """Path of the LLMService's field to change first, such as `spec.model.maxContextLength`; absent if there is
    none."""
    fix: Annotated[str, Field(max_length=2048)] | None = None
    """What to do."""


Amount = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?$")]
"""An amount of money as a decimal number, such as `2.49`."""


class PricedGPUs(APIType):
    """GPUs of one product that the service holds, and the price of one."""

    product: Annotated[str, Field(max_length=128)] | None = None
    """Product, as in the node's label; absent if it is not known."""
    count: Annotated[int, Field(ge=1, le=1_000_000)]
    """Number of GPUs, including those of terminating pods."""
    price: Amount | None = None
    """Price of one GPU for an hour; absent if the platform sets none."""
    source: Annotated[str, Field(max_length=256)] | None = None
    """Source of the price."""
    date: Annotated[str, Field(max_length=10)] | None = None
    """Date of the price, as YYYY-MM-DD."""


class Cost(APIType):
    """Cost of the GPUs that the service holds now, by the platform's prices."""

    currency: Annotated[str, Field(max_length=3)]
    """Currency of every amount, as an ISO 4217 code."""
    per_hour: Amount | None = None
    """Cost of all its GPUs for an hour; absent if a price is missing."""
    gpus: Annotated[list[PricedGPUs], Field(max_length=32)] = []  # noqa: RUF012
    """Its GPUs by product; empty if it has none."""
    message: Annotated[str, Field(max_length=2048)] | None = None
    """Why `perHour` is absent, and what to do."""


class UpgradeOffer(APIType):
    """An upgrade that requires approval: what the installed operator would change about the pods."""

    digest: Annotated[str, Field(max_length=64)]
    """Identifies this change: the annotation `llmservice.dev/upgrade` with this value on the LLMService approves it."""
    version: Annotated[str, Field(max_length=64)]
    """Version of the installed operator."""
    changes: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = []  # noqa: RUF012
    """Each difference, one line each."""


Revision = Annotated[str, Field(min_length=1, max_length=253)]
"""Value of the label `controller-revision-hash`."""


class CanaryStatus(APIType):
    """How the NGINX gateway splits the service's requests."""

    revision: Revision
    """Revision of the new replicas: their label `controller-revision-hash`."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Percent of the requests that they get. 0 after they failed."""
    header: Annotated[str, Field(max_length=64)] | None = None
    """Name of the header with which a client chooses."""
    max_added_error_percent: Annotated[int, Field(ge=0, le=100)] = ADDED_ERROR_PERCENT
    """Percentage points by which their failures may exceed those of the others before they get no more requests."""
    step_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Percent of `weight` that is in force."""
    max_latency_percent: Annotated[int, Field(ge=100, le=MOST_LATENCY_PERCENT)] = LATENCY_PERCENT
    """Percent of the others' times to the first byte that they may take before they get no more requests."""
    excluded_revision: Revision | None = None
    """Revision of an earlier canary that was not completed. Its pods get no requests."""


class LLMServiceStatus(APIType):
    """The observed state, and why it differs from the spec."""

    observed_generation: Generation | None = None
    """The generation of the spec that this status is about."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []  # noqa: RUF012
    """Conditions; `Ready` summarizes them."""
    replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Replicas that exist."""
    ready_replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Ready replicas."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the replicas' pods, for the scale subresource."""
    gpus: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Devices that the service requests: replicas x tensor x pipeline x data; 0 on a CPU."""
    address: Annotated[str, Field(max_length=512)] | None = None
    """URL of the OpenAI API for clients inside the cluster."""
    model: ModelFacts | None = None
    """Facts from the model's configuration, if it had to be read."""
    memory: Memory | None = None
    """Memory estimate for a GPU; absent while the model is not known."""
    scaling: ScalingStatus | None = None
    """The replica count that the autoscaler computed; only with `scaling`, after latencies have been measured."""
    replicas_writer: ReplicasWriter | None = None
    """Who else sets the number of replicas: a manifest with `replicas` beside `scaling`, or a client that changes the
    StatefulSet or the HorizontalPodAutoscaler. Absent if there was none for an hour."""
    placeable_replicas: PlaceableReplicas | None = None
    """How many replicas could be placed at the last reconciliation; only with `scaling` on GPUs, if the operator may
    read nodes."""
    findings: Annotated[list[Finding], Field(max_length=8)] = []  # noqa: RUF012
    """Problems, the most severe first; empty if there are none."""
    cost: Cost | None = None
    """Cost of its GPUs now; absent on a CPU, or if the platform sets no prices."""
    upgrade: UpgradeOffer | None = None
    """Set while an upgrade that is not part of the spec requires approval."""
    canary: CanaryStatus | None = None
    """Set while a canary gets only some of the requests, or none because it failed."""
