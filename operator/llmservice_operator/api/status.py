"""What the operator reports: verdicts, never fast-changing data."""

from typing import Annotated, Literal

from pydantic import Field

from llmservice_operator.api.base import APIType

Generation = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
"""A generation of the spec, as the API server counts it."""


class Condition(APIType):
    """One verdict on the service, as Kubernetes' own conditions are."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """Ready, Accepted, Scheduled, Serving, RolledOut, ScalingActive; Reconciling and Stalled only while True."""
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
    upgrade: UpgradeOffer | None = None
    """Set while a change waits for consent that is none of the spec's."""
