"""LLMService: the whole spec, and the rules that involve several of its parts."""

from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract.adapters import MOST_ADAPTERS
from llmservice_operator.api.access import Access
from llmservice_operator.api.adapters import Adapter, adapter_rules
from llmservice_operator.api.base import APIType, Bytes, Rule, SubdomainName, bounds
from llmservice_operator.api.devices import combination_rules, device_rules
from llmservice_operator.api.engine import Engine
from llmservice_operator.api.model import Model, Quantization
from llmservice_operator.api.placement import Accelerator, HostResources, Parallelism, Scheduling
from llmservice_operator.api.pod import Pod
from llmservice_operator.api.rollout import Rollout
from llmservice_operator.api.scaling import Scaling


class Cache(APIType):
    """A persistent volume for each replica, with downloaded weights and vLLM's compiled code."""

    size: Bytes
    """Size of each volume, such as `200Gi`: the weights as they are stored, plus about 10Gi. Existing volumes keep
    their size."""

    keep: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Number of volumes that are kept for removed replicas, beside those of the desired replicas.
    Absent: all up to `scaling.maxReplicas`, and at least one."""

    storage_class_name: SubdomainName | None = None
    """StorageClass of the volumes. Absent: the cluster's default."""


DRAIN_SECONDS = 600
"""Equals the default deadline of a request, so that no request is cut off."""


class Shutdown(APIType):
    """How a replica stops: first it is no longer ready, then it accepts no new requests, and it exits after its last
    one."""

    drain_seconds: Annotated[int, bounds(rows.DRAIN_SECONDS)] = DRAIN_SECONDS
    """How long in-flight requests may continue; a replica without any ends immediately."""
    lame_duck_seconds: Annotated[int, bounds(rows.LAME_DUCK_SECONDS)] = 5
    """How long new requests are still accepted after the replica is not ready: until all proxies have noticed."""


class Tracing(APIType):
    """Traces of requests, from the client's `traceparent` to the engine, sent to an OpenTelemetry collector."""

    endpoint: Annotated[str, bounds(rows.TRACING_ENDPOINT)]
    """Address of the collector for OTLP: `http://HOST:4317` by gRPC, `http://HOST:4318/v1/traces` (any URL with a path)
    by HTTP."""
    sampling_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Percentage of requests that are traced. A client's `traceparent` sets the trace id. Its sampling decision counts
    only if the platform allows it (chart value `allowed.traceFlags`)."""

    rules = (
        Rule(
            "!self.endpoint.startsWith('https://') || self.endpoint.split('/').size() > 3",
            "an https endpoint needs its path, such as https://HOST:4318/v1/traces: by gRPC vLLM sends without TLS",
            ".endpoint",
        ),
    )


MAX_NAME_LENGTH = 50
"""Maximum length of a service's name. The names of its children and the revision labels of its pods then have at most
63 characters."""

MAX_NAME_LENGTH_ON_NODES = MAX_NAME_LENGTH - 2
"""The same for names of StatefulSets that end with a rank."""

NAME_RULES = (
    Rule(
        f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
        f"the name of an LLMService must have at most {MAX_NAME_LENGTH} characters, because the names of its "
        "children are longer",
    ),
    Rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "the name of an LLMService must start with a lower-case letter and contain only lower-case letters, digits "
        "and -: clients use it as the host name",
    ),
    Rule(
        "!has(self.spec.parallelism) || !has(self.spec.parallelism.nodesPerReplica) || "
        "self.spec.parallelism.nodesPerReplica == 1 || self.metadata.name.size() <= "
        f"{MAX_NAME_LENGTH_ON_NODES}",
        f"the name of an LLMService with nodesPerReplica above 1 must have at most {MAX_NAME_LENGTH_ON_NODES} "
        "characters: the names of its pods include a rank",
    ),
)
"""Rules of the whole object: they validate its name."""


class LLMServiceSpec(APIType):
    """The desired state of the service."""

    model: Model
    """The model to serve."""

    quantization: Quantization = Quantization()
    """How weights and KV cache are quantized."""

    parallelism: Parallelism = Parallelism()
    """How one replica is distributed over devices."""

    accelerator: Accelerator = Accelerator()
    """The devices of each replica."""

    engine: Engine = Engine()
    """Settings of vLLM."""

    adapters: (
        Annotated[
            list[Adapter],
            Field(
                min_length=1,
                max_length=MOST_ADAPTERS,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """LoRA adapters, each served under its name. The first one restarts the pods, unless engine.maxLoras is set; later
    changes reach running pods within about a minute and restart none. Absent: none."""

    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Number of replicas. Absent: the current number stays, and a new service starts with 1. With `scaling` the
    autoscaler writes it: omit it."""

    scaling: Scaling | None = None
    """Autoscaling by latency. Absent: none."""

    cache: Cache | None = None
    """A persistent volume for each replica, for weights and compiled code, which a restarted pod uses again.
    Absent: a directory of the pod, which is deleted with it."""

    rollout: Rollout = Rollout()
    """How replicas are replaced when the spec changes."""

    access: Access = Access()
    """Who may send requests, how many, and how large one request may be."""

    tracing: Tracing | None = None
    """Where traces of requests are sent. Absent: no traces."""

    shutdown: Shutdown = Shutdown()
    """How a replica stops."""

    service_account_name: SubdomainName | None = None
    """ServiceAccount that the pods run as, for the role that the cloud binds to it (to read an `s3://` source, for
    example). The platform must allow it. Its token for the Kubernetes API is not mounted. Absent: the namespace's
    default. No pod ever uses the role of its node."""

    resources: HostResources = HostResources()
    """CPU, memory and disk of the engine's container, beside its devices."""

    pod: Pod = Pod()
    """What is added to the pods: labels, annotations, image and pull secrets."""

    scheduling: Scheduling = Scheduling()
    """Which nodes the pods may run on, and their priority."""

    rules = (
        *device_rules(),
        *combination_rules(),
        *adapter_rules(),
        Rule(
            "!has(self.scheduling) || !has(self.scheduling.groupWithin) || (has(self.parallelism) && "
            "has(self.parallelism.nodesPerReplica) && self.parallelism.nodesPerReplica > 1)",
            "scheduling.groupWithin is for parallelism.nodesPerReplica above 1: remove it",
            ".scheduling",
        ),
        Rule(
            "!has(self.resources) || !has(self.resources.devices) || !has(self.accelerator) || "
            "!has(self.accelerator.resourceName) || !(self.accelerator.resourceName in self.resources.devices)",
            "resources.devices must not have accelerator.resourceName: these devices are requested already",
            ".resources",
        ),
        Rule(
            "!(has(self.accelerator) && has(self.accelerator.type) && self.accelerator.type == 'amd') || "
            "!has(self.engine) || !has(self.engine.attention) || self.engine.attention != 'flashinfer'",
            "engine.attention flashinfer needs accelerator.type nvidia: set it to auto",
            ".engine",
        ),
        Rule(
            "!has(self.engine) || !has(self.engine.speculative) || !has(self.engine.speculative.model) || "
            "!has(self.model.source) || (!self.model.source.startsWith('s3://') && "
            "self.engine.speculative.model.split('/')[0] == self.model.source.split('/')[0] && "
            "(self.model.source.startsWith('hf://') || "
            "self.engine.speculative.model.split('/')[2] == self.model.source.split('/')[2]))",
            "engine.speculative.model must be in the same hub or the same pvc://CLAIM as model.source",
            ".engine",
        ),
        Rule(
            "!has(self.access) || !has(self.access.caps) || !has(self.access.caps.deadlineSeconds) || "
            "self.access.caps.deadlineSeconds <= "
            f"(has(self.shutdown) && has(self.shutdown.drainSeconds) ? self.shutdown.drainSeconds : {DRAIN_SECONDS})",
            f"access.caps.deadlineSeconds must not be above shutdown.drainSeconds (absent: {DRAIN_SECONDS}): "
            "a request would be cut off when its replica stops",
            ".access",
        ),
    )
