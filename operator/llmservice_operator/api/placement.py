"""Where the model runs: accelerator, parallelism, host resources and scheduling."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.base import (
    EXTENDED_RESOURCE,
    LABEL_KEY,
    MAX_KEY_LENGTH,
    APIType,
    Bytes,
    Cores,
    LabelKey,
    LabelValue,
    Rule,
    SubdomainName,
    bounds,
)
from llmservice_operator.api.model import SecretReference


class Accelerator(APIType):
    """The devices of each replica."""

    type: AcceleratorType = AcceleratorType.NVIDIA
    """`nvidia`, `amd`, or `cpu` (small models and tests)."""

    products: (
        Annotated[
            list[Annotated[LabelValue, Field(min_length=1)]],
            Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Acceptable products, as the node label `nvidia.com/gpu.product` (or `amd.com/gpu.product-name`) has them, such
    as `NVIDIA-H100-80GB-HBM3`. Absent: any node with the resource."""

    resource_name: Annotated[str, Field(pattern=EXTENDED_RESOURCE, max_length=MAX_KEY_LENGTH)] | None = None
    """Extended resource to request, such as a MIG profile's `nvidia.com/mig-3g.40gb`. Absent: `nvidia.com/gpu` or
    `amd.com/gpu`."""

    device_class_name: SubdomainName | None = None
    """DeviceClass from which each pod claims its devices by dynamic resource allocation, such as `gpu.nvidia.com`: as
    many as it would request of a device plugin. Needs Kubernetes 1.34 and a driver. Excludes `resourceName`.
    Absent: the extended resource of a device plugin."""

    device_selectors: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=1024)]],
            Field(min_length=1, max_length=8),
        ]
        | None
    ) = None
    """CEL expressions that each device of `deviceClassName` must satisfy, in addition to the selectors of the class,
    such as `device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('80Gi')) >= 0`. The platform must allow them.
    Absent: any device of the class."""

    rules = (
        Rule(
            "!has(self.deviceClassName) || !has(self.type) || self.type != 'cpu'",
            "accelerator.type cpu claims no devices; remove deviceClassName",
            ".deviceClassName",
        ),
        Rule(
            "!has(self.deviceClassName) || !has(self.resourceName)",
            "deviceClassName claims devices of a driver, resourceName requests those of a device plugin; "
            "remove one of them",
            ".deviceClassName",
        ),
        Rule(
            "!has(self.deviceSelectors) || has(self.deviceClassName)",
            "deviceSelectors select devices of deviceClassName; set it, or remove deviceSelectors",
            ".deviceSelectors",
        ),
        Rule(
            "!has(self.products) || !has(self.type) || self.type != 'cpu'",
            "accelerator.type cpu has no products; remove them or set type to nvidia or amd",
            ".products",
        ),
        Rule(
            "!has(self.resourceName) || !has(self.type) || self.type != 'cpu'",
            "accelerator.type cpu requests no extended resource; remove resourceName",
            ".resourceName",
        ),
        Rule(
            "!has(self.resourceName) || "
            "!(self.resourceName.contains('kubernetes.io/') || self.resourceName.startsWith('requests.'))",
            "resourceName must be a device plugin's resource such as nvidia.com/gpu; kubernetes.io/ and requests. "
            "belong to Kubernetes itself",
            ".resourceName",
        ),
    )


_DEVICES = (
    "(has(self.tensor) ? self.tensor : 1) * (has(self.pipeline) ? self.pipeline : 1) * (has(self.data) ? self.data : 1)"
)
_NODES = "(has(self.nodesPerReplica) ? self.nodesPerReplica : 1)"


class Parallelism(APIType):
    """How one replica is distributed over devices. A replica uses tensor x pipeline x data devices."""

    tensor: Annotated[int, bounds(rows.TENSOR_PARALLEL)] = 1
    """Devices that share each layer. The model's attention heads must be divisible by it."""

    pipeline: Annotated[int, bounds(rows.PIPELINE_PARALLEL)] = 1
    """Number of consecutive stages into which the layers are divided."""

    data: Annotated[int, bounds(rows.DATA_PARALLEL)] | None = None
    """Number of engines in one replica, behind one HTTP server on one node. Each uses tensor x pipeline devices and has
    its own KV cache and batch. A dense model is whole in each engine; the experts of a mixture-of-experts model are
    shared by all. Absent: 1."""

    expert_parallel: Annotated[bool, bounds(rows.EXPERT_PARALLEL)] | None = None
    """Spread whole experts of a mixture-of-experts model over the tensor x data devices, in place of parts of each
    expert. Not for accelerator.type cpu. Absent: off."""

    nodes_per_replica: Annotated[int, bounds(rows.NODES_PER_REPLICA)] = 1
    """Number of pods that form one replica, each on a node with free devices. Each has an equal share of the devices,
    all start together or none does (gang scheduling), and if one of them exits all of them restart."""

    secret_ref: SecretReference | None = None
    """Secret with the key `group-secret`, of at least 16 random bytes: only pods that know it form a replica on several
    nodes. It protects the port by which the runtime starts and stops them together. vLLM's own ports between nodes use
    no secret; only the NetworkPolicy protects them. Absent: none."""

    @property
    def is_multi_node(self) -> bool:
        """Whether a replica consists of several pods, each on its own node."""
        return self.nodes_per_replica > 1

    @property
    def engines(self) -> int:
        """Engines of one replica."""
        return self.data or 1

    rules = (
        Rule(
            f"!has(self.secretRef) || {_NODES} > 1",
            "secretRef is for nodesPerReplica above 1: a replica on one node has no port between nodes",
            ".secretRef",
        ),
        Rule(
            f"{_DEVICES} <= 16 * {_NODES}",
            "tensor x pipeline x data must be at most 16 for each node: set nodesPerReplica for a replica on several "
            "nodes",
        ),
        Rule(
            f"{_DEVICES} % {_NODES} == 0",
            "tensor x pipeline must be divisible by nodesPerReplica: each node has an equal part of the devices",
            ".nodesPerReplica",
        ),
    )


MOST_DEVICES = 8
"""Maximum number of different further devices."""


class HostResources(APIType):
    """CPU, memory and disk of the engine's container, beside its devices."""

    cpu: Cores | None = None
    """CPU cores that are requested, such as `4`. Absent: 1 core per device, or `cpuLimit` if that is less."""

    cpu_limit: Cores | None = None
    """Maximum number of CPU cores that the container may use, such as `16`: for namespaces whose ResourceQuota or
    LimitRange demands a limit. A low one slows the engine down. Absent: the platform's (chart value
    `defaults.cpuLimit`, by default none)."""

    memory: Bytes | None = None
    """Host memory that is requested, and its limit, such as `16Gi`. Absent: the request is the
    minimum that the engine needs, and the limit is the platform's (by default far above, for loading the weights)."""

    ephemeral_storage: Bytes | None = None
    """Local disk that is requested, and its limit: a hub's model is downloaded there. Absent: none is requested, and
    the limit is the platform's (by default twice the weights and 50Gi, with adapters 66Gi; 18Gi with a cache
    volume)."""

    devices: (
        Annotated[dict[str, Annotated[int, Field(ge=1, le=64)]], Field(min_length=1, max_length=MOST_DEVICES)] | None
    ) = None
    """Further devices of each pod, by the extended resource of their device plugin, such as `rdma/hca: 1` or
    `vpc.amazonaws.com/efa: 4`: network devices for replicas on several nodes. The platform must allow them (chart
    value `allowed.devices`). Absent: none."""

    shared_memory: Bytes | None = None
    """Size of /dev/shm, by which the processes of one replica communicate. Absent: 1Gi per device, at least 2Gi."""

    rules = (
        Rule(
            "!has(self.cpu) || !has(self.cpuLimit) || "
            "quantity(string(self.cpuLimit)).compareTo(quantity(string(self.cpu))) >= 0",
            "cpuLimit must not be below cpu, which is requested",
            ".cpuLimit",
        ),
        Rule(
            f"!has(self.devices) || self.devices.all(name, name.size() <= {MAX_KEY_LENGTH} && "
            f"name.matches('{EXTENDED_RESOURCE}') && !name.contains('kubernetes.io/') && "
            "!name.startsWith('requests.'))",
            "a name in devices must be a device plugin's resource such as rdma/hca; kubernetes.io/ and requests. "
            "belong to Kubernetes itself",
            ".devices",
        ),
        Rule(
            "!has(self.devices) || !('nvidia.com/gpu' in self.devices || 'amd.com/gpu' in self.devices)",
            "devices are those beside the accelerators; set accelerator and parallelism for GPUs",
            ".devices",
        ),
    )


class TolerationOperator(StrEnum):
    """How a toleration matches a taint's value."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to a pod that doesn't tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(APIType):
    """A taint that the pods tolerate, as in a pod's spec."""

    key: LabelKey | None = None
    """Key of the taint; only operator Exists can do without. Absent: every taint."""

    operator: TolerationOperator = TolerationOperator.EQUAL
    """`Equal` compares the value, `Exists` does not."""
    value: LabelValue | None = None
    """Value of the taint, for operator Equal. Absent: the empty value."""
    effect: TaintEffect | None = None
    """Effect of the taint. Absent: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long a NoExecute taint is tolerated, in seconds. Absent: forever."""

    rules = (
        Rule(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "a toleration without a key needs operator Exists",
        ),
        Rule(
            "!has(self.value) || !has(self.operator) || self.operator != 'Exists'",
            "operator Exists must have no value",
            ".value",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds needs effect NoExecute",
            ".tolerationSeconds",
        ),
    )


class Scheduling(APIType):
    """Which nodes the pods may run on, and their priority."""

    node_selector: Annotated[dict[str, LabelValue], Field(min_length=1, max_length=32)] | None = None
    """Labels that a node must have, in addition to the accelerator's. Absent: no others."""
    tolerations: Annotated[list[Toleration], Field(min_length=1, max_length=32)] | None = None
    """Taints that the pods tolerate, in addition to the accelerator's own (`nvidia.com/gpu`, `amd.com/gpu`). Absent: no
    others."""
    priority_class_name: SubdomainName | None = None
    """PriorityClass of the pods. Absent: the cluster's default."""
    runtime_class_name: SubdomainName | None = None
    """RuntimeClass of the pods, such as `nvidia`. Absent: the node's default."""
    scheduler_name: SubdomainName | None = None
    """Scheduler of the pods. Absent: the cluster's default."""
    spread_over: LabelKey | None = None
    """Node label over whose values replicas are spread if possible, such as `topology.kubernetes.io/zone`.
    Absent: over nodes (`kubernetes.io/hostname`)."""
    group_within: LabelKey | None = None
    """Node label whose value all nodes of one replica must share, such as a network block's, with
    parallelism.nodesPerReplica above 1. Absent: one zone if possible."""
    max_node_provision_seconds: Annotated[int, Field(strict=True, ge=0, le=14_400)] | None = None
    """How long a node autoscaler may take to add a node, in seconds: while a pod waits so long, a changed spec is not
    rolled back, and a replica on several nodes keeps the nodes that it has. 0: nodes are not added on demand. Absent:
    the platform's value, otherwise 900 after cluster-autoscaler or Karpenter has reported that it adds a node."""

    rules = (
        Rule(
            f"!has(self.nodeSelector) || self.nodeSelector.all(key, key.size() <= {MAX_KEY_LENGTH} && "
            f"key.matches('{LABEL_KEY}'))",
            "a key of nodeSelector must be a node label such as topology.kubernetes.io/zone, of at most "
            f"{MAX_KEY_LENGTH} characters",
            ".nodeSelector",
        ),
    )
