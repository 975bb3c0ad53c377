"""All inputs of a plan for one service. The controller fills them from its caches; the planner reads nothing itself."""

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.planner.model.canary_counts import CanaryCounts
from llmservice_operator.planner.model.fit_estimate import Estimate
from llmservice_operator.resources.platform import Platform

Object = Mapping[str, Any]
"""A Kubernetes object as JSON of the API server."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that a driver publishes in a ResourceSlice."""

    node: str
    """The only node that can use it; empty if several can."""
    driver: str
    name: str
    attributes: Mapping[str, str | int | bool]
    """By qualified name, such as ``gpu.nvidia.com/productName``."""
    capacity: Mapping[str, int]
    """Likewise, such as ``gpu.nvidia.com/memory``, in bytes."""
    taken: bool
    """Whether it is allocated."""


@dataclasses.dataclass(frozen=True)
class NodeCapacity:
    """What one node has of extended resources, and what its pods request."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    ready: bool
    unschedulable: bool
    allocatable: Mapping[str, int]
    """Integers by extended resource, such as ``{"nvidia.com/gpu": 8}``."""
    requested: Mapping[str, int]
    """Sums of the requests of scheduled, unfinished pods, by extended resource."""
    devices: Sequence[Device] = ()
    """The devices of the service's DeviceClass, which are also counted above; empty if it has none."""


@dataclasses.dataclass(frozen=True)
class NodeHealth:
    """Which nodes of the cluster are Ready."""

    total: int
    """Number of all nodes."""
    unready: Mapping[str, datetime.datetime]
    """Since when each node that is not Ready is so, by name."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names of all nodes, by the name or host name that a volume may use. Empty if they are not known."""


@dataclasses.dataclass(frozen=True)
class ObservedEvent:
    """An Event of Kubernetes about an object."""

    kind: str
    """Kind of the object."""
    name: str
    uid: str
    """Uid of the object; empty if it is not known."""
    reason: str
    note: str
    """The message of the Event's reporter."""
    time: datetime.datetime | None = None
    """When it was last reported."""


@dataclasses.dataclass(frozen=True)
class TemplateChange:
    """A pod template that was changed by a write with the same desired template: by an admission webhook or policy."""

    at: datetime.datetime
    field: str
    """Path of a changed field, for messages."""


class Input(enum.Enum):
    """Inputs that are read only if a plan requires them. The first part of the value is the field of ``Observed``; they
    are read in this order."""

    ESTIMATE = ("estimate",)
    """The answer to ``Plan.question``."""
    PRODUCTS = ("products",)
    CURRENT_NODES = ("nodes", "current")
    """The nodes as they are now, for decisions that are made once."""
    NODES = ("nodes",)
    """The nodes as they were a few seconds ago."""
    QUOTAS = ("quotas",)
    """Read together with the nodes, because they are useless without them."""
    HEALTH = ("health",)
    VOLUMES = ("volumes",)
    """The volumes of ``Plan.claims``."""
    ACCESS_MODES = ("access_modes",)
    """The access modes of ``Plan.shared_claims``."""
    EVENTS = ("events",)
    CANARIES = ("canaries",)
    """The gateway's counts of the service's canary."""
    FIELD_OWNERS = ("field_owners",)
    """The owners of the fields of ``Plan.foreign_changes``."""

    @property
    def field(self) -> str:
        """The field of ``Observed`` that holds the input."""
        return str(self.value[0])


NOTHING: frozenset[Input] = frozenset()
EVENTS_SECONDS = 20.0
"""How often Events are read while they may report something new. No watch reports them."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """One service, its objects, and Events about its pods, at one moment."""

    service: Object
    """The whole LLMService."""
    children: Sequence[Object]
    """All objects with the service's labels except pods, with apiVersion and kind, owned or not."""
    pods: Sequence[Object]
    """All pods with the service's labels, of engines and inspections."""
    nodes: Sequence[NodeCapacity] | None
    """The cluster's nodes; None if they were not needed or could not be read."""
    platform: Platform
    now: datetime.datetime
    """Time of the observation, with a time zone."""
    nodes_are_old: bool = False
    """Whether ``nodes`` were read as ``Input.NODES``, which is not sufficient for ``Input.CURRENT_NODES``."""
    health: NodeHealth | None = None
    """Which nodes are Ready; None if it was not needed or could not be read."""
    volumes: Mapping[str, frozenset[str]] | None = None
    """By claim: the only nodes that can mount its volume; empty for any node. None as above."""
    access_modes: Mapping[str, frozenset[str]] | None = None
    """The access modes of each claim that exists. None as above."""
    events: Sequence[ObservedEvent] | None = None
    """Recent Events in the service's namespace, the oldest first. None as above."""
    canaries: Mapping[str, CanaryCounts] | None = None
    """How requests to the service's canaries ended, by revision. None as above."""
    products: Mapping[str, str] | None = None
    """The GPU product of each node, empty if no label names it. None as above."""
    quotas: Sequence[Object] | None = None
    """The ResourceQuotas of the service's namespace, read together with the nodes. None as above."""
    estimate: Estimate | None = None
    """The memory estimate that was requested last, maybe for another spec. None before the first one."""
    field_owners: Mapping[tuple[str, str], Mapping[Any, str]] | None = None
    """The field manager of each path, by kind and name of a child: see ``foreign_changes``. None as above."""
    corrections: Mapping[tuple[str, str], Mapping[str, Sequence[datetime.datetime]]] = dataclasses.field(
        default_factory=dict
    )
    """When the operator last corrected fields that others had changed, the oldest first: by kind and name of a child,
    then by path of the field."""
    template_changes: Mapping[str, Sequence[TemplateChange]] = dataclasses.field(default_factory=dict)
    """The last unintended changes of pod templates by writes of the operator, by StatefulSet, the oldest first."""
    fixed_nodes: bool = False
    """Whether no node autoscaler is considered, as in a simulation of the nodes that exist."""
    models: Sequence[Object] = ()
    """Models of the catalogue; at least the one that the service's ref names, if it exists."""
    outlook: ScalingOutcome | None = None
    """The last scaling decision; None before the first measurement, and if the service has no scaling."""

    def missing(self, *inputs: Input) -> frozenset[Input]:
        """Those of ``inputs`` that have not been read."""
        known = {each for each in inputs if getattr(self, each.field) is not None}
        return frozenset(inputs) - (known - {Input.CURRENT_NODES} if self.nodes_are_old else known)
