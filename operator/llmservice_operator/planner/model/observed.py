"""Everything that a decision about one service may see. Built by the shell from its caches, never fetched in here."""

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.planner.model.fit_estimate import Estimate
from llmservice_operator.resources.platform import Platform

Object = Mapping[str, Any]
"""A Kubernetes object as the API server's JSON has it."""


@dataclasses.dataclass(frozen=True)
class NodeCapacity:
    """What one node has, and what pods there already ask for, of one extended resource."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    ready: bool
    unschedulable: bool
    allocatable: Mapping[str, int]
    """Whole units by extended resource, such as ``{"nvidia.com/gpu": 8}``."""
    requested: Mapping[str, int]
    """Units that bound, unfinished pods ask for, by extended resource."""


@dataclasses.dataclass(frozen=True)
class NodeHealth:
    """Which nodes of the cluster answer."""

    total: int
    """All nodes."""
    unready: Mapping[str, datetime.datetime]
    """Since when each other one is not Ready, by name."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names of all nodes by what a volume may call them: the same, or a host name. Empty where they are not known."""


@dataclasses.dataclass(frozen=True)
class ObservedEvent:
    """One of Kubernetes' Events: what one of its parts reported of an object."""

    kind: str
    """Kind of the object."""
    name: str
    uid: str
    """The object's; empty where it is not known."""
    reason: str
    note: str
    """In the words of who reported it."""
    time: datetime.datetime | None = None
    """When it was reported last."""


class Input(enum.Enum):
    """What is read only if a plan requires it. The value's first part is the field of ``Observed`` that it fills; the
    order is that in which they are read."""

    ESTIMATE = ("estimate",)
    """The answer to ``Plan.question``."""
    PRODUCTS = ("products",)
    CURRENT_NODES = ("nodes", "current")
    """The nodes as they are now: for a decision that is made once."""
    NODES = ("nodes",)
    """The nodes as they were a few seconds ago."""
    QUOTAS = ("quotas",)
    """Read with the nodes: without those nothing follows from them."""
    HEALTH = ("health",)
    VOLUMES = ("volumes",)
    """Those of ``Plan.claims``."""
    EVENTS = ("events",)

    @property
    def field(self) -> str:
        """The field of ``Observed`` that holds it."""
        return str(self.value[0])


NOTHING: frozenset[Input] = frozenset()
EVENTS_SECONDS = 20.0
"""How often Events are read again while they may say more: no watch reports them."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """One service, what it owns, and what its pods met, at one moment."""

    service: Object
    """The LLMService itself, whole."""
    children: Sequence[Object]
    """Every object that carries the service's labels and is not a pod, with apiVersion and kind: owned or not."""
    pods: Sequence[Object]
    """The pods that carry the service's labels, engine and inspection alike."""
    nodes: Sequence[NodeCapacity] | None
    """The cluster's nodes; None where they were not needed or could not be read."""
    platform: Platform
    now: datetime.datetime
    """Time of the observation, with a time zone."""
    health: NodeHealth | None = None
    """Which nodes answer; None where that was not needed or could not be read."""
    volumes: Mapping[str, frozenset[str]] | None = None
    """By claim, the only nodes that can mount its volume; empty for any node. None as above."""
    events: Sequence[ObservedEvent] | None = None
    """What was reported lately of objects of the service's namespace, in the order of time. None as above."""
    products: Mapping[str, str] | None = None
    """The GPUs' product by node, empty for a node whose labels name none. None as above."""
    quotas: Sequence[Object] | None = None
    """The ResourceQuotas of the service's namespace; read with the nodes. None as above."""
    estimate: Estimate | None = None
    """The memory estimate that was asked for last; maybe of another spec. None before the first one."""
    outlook: ScalingOutcome | None = None
    """What is known of the service's scaling; None before the first measurement, and where it is not scaled."""

    def missing(self, *inputs: Input) -> frozenset[Input]:
        """Those of ``inputs`` that have not been read."""
        return frozenset(each for each in inputs if getattr(self, each.field) is None)
