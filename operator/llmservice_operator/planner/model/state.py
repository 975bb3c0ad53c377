"""The state of one service: its observed objects, sorted once for all checks."""

import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pydantic

from llmservice_contract.finding import Finding
from llmservice_operator.api.base import APIType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import Finding as Entry
from llmservice_operator.api.status import ModelFacts, PlaceableReplicas, ReplicasWriter, ScalingStatus
from llmservice_operator.planner.model import catalogue, pods, replicas_owner
from llmservice_operator.planner.model.observed import Object, Observed, ObservedEvent
from llmservice_operator.planner.model.replicas_owner import FieldOwner
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.spec_errors import explain, is_newer
from llmservice_operator.planner.report.finding import from_status
from llmservice_operator.resources import environment, names
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter

T = TypeVar("T")

MOST_REPLICAS = 1000
"""Maximum of ``spec.replicas``."""


@dataclasses.dataclass(frozen=True)
class ServiceState:
    """The observed state of one service. Use ``of`` to create it."""

    observed: Observed
    owner: Owner
    spec: LLMServiceSpec | None
    """None if the spec is invalid: then ``spec_error`` says why."""
    spec_error: Finding | None
    follows_count: bool
    """Whether an invalid spec still sets the number of replicas: it is invalid only because of fields or values that a
    later version may support, or because its model of the catalogue can't be used."""
    entry: catalogue.Resolution | None
    """The model of the catalogue that the spec's model is from; None if it names none."""
    statefulset: Object | None
    """The engine's StatefulSet, if the service owns one."""
    pods: tuple[Object, ...]
    """All pods."""
    engines: tuple[Object, ...]
    """Leader pods by number, without those that are being deleted."""
    workers: tuple[Object, ...]
    """Worker pods by the number of their replica and their rank, without those that are being deleted."""
    leaving: tuple[Object, ...]
    """Engine pods that are being deleted, leaders and workers."""
    unbound: tuple[Object, ...]
    """Leaders and workers that have no node."""
    unready: tuple[Object, ...]
    """Leaders and workers that don't answer requests."""
    leads_several: tuple[Object, ...]
    """Leaders of replicas of several pods."""
    previous: Mapping[str, Mapping[str, Any]]
    """Conditions in the current status, by type."""
    facts: ModelFacts | None
    """The model's facts in the current status, maybe of another model than the spec's."""
    placeable_replicas: PlaceableReplicas | None
    """The number of placeable replicas in the current status."""
    scaling: ScalingStatus | None
    """The scaling decision in the current status."""
    replicas_writer: ReplicasWriter | None
    """The last client besides the autoscaler that set a number of replicas, in the current status."""
    findings: tuple[Finding, ...]
    """Findings in the current status; empty if that is about another generation."""
    _computed: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, observed: Observed) -> "ServiceState":
        """Sorts what was observed."""
        meta = observed.service["metadata"]
        owner = Owner(meta["name"], meta["namespace"], meta["uid"])
        status = observed.service.get("status") or {}
        spec, error, follows = _parse(observed.service.get("spec"))
        entry: catalogue.Resolution | None = None
        if spec is not None and spec.model.ref is not None:
            readable = spec.model.ref.kind in observed.platform.catalogue_kinds
            resolved = catalogue.resolve(owner.namespace, spec, observed.models, readable=readable)
            if isinstance(resolved, Finding):
                spec, error, follows = None, resolved, True
            else:
                spec, entry = resolved.spec, resolved
        found = tuple(map(pods.parsed, observed.pods))
        return cls(
            observed=observed,
            owner=owner,
            spec=spec,
            spec_error=error,
            follows_count=follows,
            entry=entry,
            statefulset=_statefulset(observed, owner),
            pods=found,
            **_sorted(_ranked(found, owner)),
            previous={condition["type"]: condition for condition in status.get("conditions") or ()},
            facts=_stored(ModelFacts, status.get("model")),
            placeable_replicas=_stored(PlaceableReplicas, status.get("placeableReplicas")),
            scaling=_stored(ScalingStatus, status.get("scaling")),
            replicas_writer=_stored(ReplicasWriter, status.get("replicasWriter")),
            findings=_findings(status) if status.get("observedGeneration") == meta.get("generation") else (),
        )

    def once(self, compute: "Callable[[ServiceState], T]") -> T:
        """``compute(self)``, computed once. Parts of a plan use each other's results, in any order."""
        if compute not in self._computed:
            self._computed[compute] = compute(self)
        result: T = self._computed[compute]
        return result

    def after(self, seconds: float) -> datetime.datetime:
        """The time ``seconds`` after the observation."""
        return self.observed.now + datetime.timedelta(seconds=seconds)

    @property
    def generation(self) -> int:
        """Generation of the observed spec."""
        return int(self.observed.service["metadata"].get("generation") or 0)

    @property
    def running_replicas(self) -> int | None:
        """The StatefulSet's spec.replicas without a surge; None without a StatefulSet."""
        if self.statefulset is None:
            return None
        record = Record.of(self.statefulset)
        return int(self.statefulset["spec"].get("replicas", 1)) - (record.surge if record is not None else 0)

    @property
    def wanted_replicas(self) -> int:
        """Desired replicas: spec.replicas. If that is absent, the current count; without a StatefulSet 1, or
        minReplicas if that is larger. A number in a manifest does not change the count of an autoscaled service."""
        stated = self.count_of_invalid if self.spec is None else self.spec.replicas
        if (
            self.autoscaled
            and self.spec is not None
            and self.spec.scaling is not None
            and self.manifest_owner is not None
        ):
            scaling, keda = self.spec.scaling, self.observed.platform.adapter is Adapter.KEDA
            others = self.statefulset is not None and replicas_owner.owners(self.statefulset)
            running = self.running_replicas if not others else None
            stated = replicas_owner.followed(
                stated, running, scaling.min_replicas, scaling.max_replicas, zero_counts=not keda
            )
        if stated is not None:
            return stated
        if self.running_replicas is not None:
            return self.running_replicas
        return max(1, self.spec.scaling.min_replicas if self.spec is not None and self.spec.scaling is not None else 1)

    @property
    def autoscaled(self) -> bool:
        """Whether an autoscaler owns the number of replicas."""
        scaling = self.spec.scaling if self.spec is not None else None
        return scaling is not None and self.observed.platform.adapter is not Adapter.NONE

    @functools.cached_property
    def manifest_owner(self) -> FieldOwner | None:
        """The field manager whose manifest has the present ``spec.replicas``."""
        return replicas_owner.manifest_owner(self.observed.service)

    @property
    def count_of_invalid(self) -> int | None:
        """``spec.replicas`` of a spec that only a later version of the operator supports, for example after a
        downgrade, or whose model of the catalogue was deleted. The StatefulSet still follows this count, and nothing
        else of that spec. None for any other spec and without a StatefulSet."""
        count = (self.observed.service.get("spec") or {}).get("replicas")
        if self.spec is not None or not self.follows_count or self.statefulset is None:
            return None
        return count if type(count) is int and 0 <= count <= MOST_REPLICAS else None

    @property
    def worker_statefulsets(self) -> dict[int, Object]:
        """The StatefulSets of the workers, by rank."""
        found = (
            (names.rank_of_statefulset(self.owner.name, pods.name(each)), each) for each in self.own("StatefulSet")
        )
        return {rank: each for rank, each in sorted(found, key=lambda item: item[0]) if rank > 0}

    @functools.cached_property
    def members(self) -> tuple[Object, ...]:
        """All pods of replicas, without those that are being deleted. A worker whose leader is missing, or needs no
        workers, belongs to no replica yet."""
        if not self.workers:
            return self.engines
        nodes = {pods.ordinal(pod): pods.nodes(pod) for pod in self.engines}
        return (*self.engines, *(pod for pod in self.workers if pods.rank(pod) < nodes.get(pods.ordinal(pod), 0)))

    @functools.cached_property
    def unbound_members(self) -> tuple[Object, ...]:
        """The members that have no node."""
        if not self.workers:
            return self.unbound
        return tuple(pod for pod in self.members if not pods.bound(pod))

    @functools.cached_property
    def environment(self) -> Mapping[str, str]:
        """The engine's environment for the spec, rendered once. Raises ValueError for a quantity that vLLM does not
        support."""
        if self.spec is None:
            return {}
        return environment.of_platform(self.owner.name, self.spec, self.observed.platform)

    @property
    def orphans(self) -> list[Object]:
        """Engine pods without a StatefulSet. The next one to be created adopts them."""
        return [pod for pod in self.pods if pods.is_orphan(pod)]

    def reported(self, kind: str, *names_of: str) -> list[ObservedEvent]:
        """Recent Events about the objects of that kind with these names, the oldest first."""
        return [event for name in names_of for event in self._events.get((kind, name), ())]

    @functools.cached_property
    def _events(self) -> Mapping[tuple[str, str], list[ObservedEvent]]:
        found: dict[tuple[str, str], list[ObservedEvent]] = {}
        for event in self.observed.events or ():
            found.setdefault((event.kind, event.name), []).append(event)
        return found

    def own(self, kind: str) -> list[Object]:
        """The service's own objects of that kind, without those that are being deleted."""
        return [
            child
            for child in self.observed.children
            if child["kind"] == kind
            and pods.owned_by(child, self.owner.uid)
            and not child["metadata"].get("deletionTimestamp")
        ]

    def child(self, kind: str, name: str) -> Object | None:
        """The object of that kind and name, whatever its owner; None if there is none."""
        found = (c for c in self.observed.children if c["kind"] == kind and c["metadata"]["name"] == name)
        return next(found, None)


def adoptable(obj: Object) -> bool:
    """Whether this operator made an object without a controller: it has the operator's label and fingerprint."""
    meta = obj["metadata"]
    ours = (meta.get("labels") or {}).get(names.MANAGED_BY_LABEL) == names.OPERATOR
    marked = names.APPLIED_ANNOTATION in (meta.get("annotations") or {})
    return pods.controller(obj) is None and ours and marked


def _statefulset(observed: Observed, owner: Owner) -> Object | None:
    name = names.engine_statefulset(owner.name)
    for child in observed.children:
        if child["kind"] == "StatefulSet" and child["metadata"]["name"] == name:
            return child if pods.owned_by(child, owner.uid) or adoptable(child) else None
    return None


def _ranked(there: Iterable[Object], owner: Owner) -> list[Object]:
    """Pods of the service's own StatefulSets, by number and rank."""
    components: dict[str, str] = {}
    found = []
    for pod in there:
        name, component = _statefulset_and_component(pod)
        if name not in components:
            rank = names.rank_of_statefulset(owner.name, name)
            components[name] = names.component_of_rank(rank) if name and rank >= 0 else ""
        if component and component == components[name]:
            found.append(pod)
    return sorted(found, key=_number_and_rank)


def _sorted(ranked: Iterable[Object]) -> dict[str, tuple[Object, ...]]:
    """The fields of a state that hold pods."""
    found: dict[str, list[Object]] = {name: [] for name in _POD_FIELDS}
    for pod in ranked:
        for name in _pod_fields(pod):
            found[name].append(pod)
    return {name: tuple(group) for name, group in found.items()}


_POD_FIELDS = ("engines", "workers", "leaving", "unbound", "unready", "leads_several")


@pods.read_once
def _pod_fields(pod: Object) -> tuple[str, ...]:
    """Those of ``_POD_FIELDS`` that contain the pod."""
    if pods.terminating(pod):
        return ("leaving",)
    leader = pods.rank(pod) <= 0
    which = (leader, not leader, False, not pods.bound(pod), not pods.ready(pod), leader and pods.nodes(pod) > 1)
    return tuple(name for name, contains in zip(_POD_FIELDS, which, strict=True) if contains)


@pods.read_once
def _statefulset_and_component(pod: Object) -> tuple[str, str]:
    """The name of the StatefulSet that controls the pod, empty if none does, and the pod's component."""
    controller = pods.controller(pod)
    if controller is None or controller.get("kind") != "StatefulSet":
        return "", ""
    return str(controller.get("name")), pods.component(pod)


@pods.read_once
def _number_and_rank(pod: Object) -> tuple[int, int]:
    return pods.ordinal(pod), pods.rank(pod)


def _parse(spec: Any) -> tuple[LLMServiceSpec | None, Finding | None, bool]:
    try:
        return LLMServiceSpec.model_validate(spec), None, False
    except pydantic.ValidationError as error:
        return None, explain(error), is_newer(error)


Stored = TypeVar("Stored", bound=APIType)


def _stored(kind: type[Stored], stored: Any) -> Stored | None:
    """A part of the status; None if another version of the operator wrote it and it is invalid for this one."""
    try:
        return kind.model_validate(stored) if stored else None
    except pydantic.ValidationError:
        return None


def _findings(status: Mapping[str, Any]) -> tuple[Finding, ...]:
    try:
        return tuple(from_status(Entry.model_validate(found)) for found in status.get("findings") or ())
    except pydantic.ValidationError:
        return ()
