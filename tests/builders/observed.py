"""What a plan is made from, and a little world to carry plans out in.

`a_scene(a_service().with_replicas(2)).settled().with_pods(...)` reads: that service, its children as the last plan
made them, and these pods. Times are seconds after NOON.
"""

import copy
import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Self

from builders.pods import PodBuilder
from builders.services import ServiceBuilder, a_service, merged
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.planner.model.fit_estimate import estimated
from llmservice_operator.planner.model.observed import NodeCapacity, NodeHealth, Observed, ObservedEvent
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.planner import plan
from llmservice_operator.planner.report import reasons
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform

Json = dict[str, Any]

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Scene:
    """One service and what is around it. Every step answers a new scene."""

    service: Json
    children: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    nodes: tuple[NodeCapacity, ...] | None = None
    platform: Platform = dataclasses.field(default_factory=Platform)
    seconds: float = 0
    models: tuple[Json, ...] = ()
    outlook: ScalingOutcome | None = None
    health: NodeHealth | None = None
    volumes: dict[str, frozenset[str]] | None = None
    products: dict[str, str] | None = None
    events: tuple[ObservedEvent, ...] | None = None
    quotas: tuple[Json, ...] | None = None
    access_modes: dict[str, frozenset[str]] | None = None
    estimates: bool = True
    """Whether the memory estimate is made at once."""

    def build(self) -> Observed:
        """The observation."""
        now = NOON + datetime.timedelta(seconds=self.seconds)
        return Observed(
            self.service,
            self.children,
            self.pods,
            self.nodes,
            self.platform,
            now,
            health=self.health,
            models=self.models,
            outlook=self.outlook,
            volumes=self.volumes,
            access_modes=self.access_modes,
            events=self.events,
            products=self.products,
            quotas=self.quotas,
        )

    def plan(self) -> Plan:
        """The plan that is made of it, with the memory estimate that it asks for."""
        made = plan(self.build())
        if made.question is not None and self.estimates:
            made = plan(dataclasses.replace(self.build(), estimate=estimated(made.question)))
        known_reasons(made)
        return made

    def at(self, seconds: float) -> Self:
        """So many seconds after noon."""
        return dataclasses.replace(self, seconds=seconds)

    def with_pods(self, *pods: PodBuilder) -> Self:
        """With these pods instead of those before."""
        return dataclasses.replace(self, pods=tuple(pod.build() for pod in pods))

    def with_models(self, *models: Json) -> Self:
        """With these models of the catalogue instead of those before."""
        return dataclasses.replace(self, models=models)

    def with_nodes(self, *nodes: NodeCapacity) -> Self:
        """With a look at these nodes."""
        return dataclasses.replace(self, nodes=nodes)

    def with_quota(self, name: str, resource: str, hard: int, used: int) -> Self:
        """With a ResourceQuota of so many of a resource, of which some are used."""
        key = f"requests.{resource}"
        status = {"hard": {key: str(hard)}, "used": {key: str(used)}}
        return dataclasses.replace(self, quotas=(*(self.quotas or ()), {"metadata": {"name": name}, "status": status}))

    def with_unready(self, total: int, of: str = "", **since: float) -> Self:
        """Of so many nodes, which are called ``of`` where that matters, these have not been Ready since so many seconds
        after noon; _ in a name stands for -."""
        unready = {name.replace("_", "-"): NOON + datetime.timedelta(seconds=at) for name, at in since.items()}
        return dataclasses.replace(self, health=NodeHealth(total, unready, {name: name for name in of.split()}))

    def with_volumes(self, **only: list[str]) -> Self:
        """Where the volume of each claim can be mounted only, empty for any node; _ in a name stands for -."""
        volumes = {name.replace("_", "-"): frozenset(nodes) for name, nodes in only.items()}
        return dataclasses.replace(self, volumes=volumes)

    def with_access_modes(self, **modes: list[str]) -> Self:
        """The access modes of claims."""
        return dataclasses.replace(self, access_modes={claim: frozenset(each) for claim, each in modes.items()})

    def with_products(self, **products: str) -> Self:
        """Where the GPUs' product of each node is known; _ in a node's name stands for -."""
        return dataclasses.replace(self, products={node.replace("_", "-"): each for node, each in products.items()})

    def reporting(self, kind: str, name: str, reason: str, note: str, at: float = 0, uid: str = "") -> Self:
        """With this Event beside those before, of so many seconds after noon."""
        event = ObservedEvent(kind, name, uid, reason, note, NOON + datetime.timedelta(seconds=at))
        return dataclasses.replace(self, events=(*(self.events or ()), event))

    def with_children(self, *children: Mapping[str, Any]) -> Self:
        """With these objects beside those before."""
        return dataclasses.replace(self, children=(*self.children, *(dict(child) for child in children)))

    def foreseeing(self, outlook: ScalingOutcome | None) -> Self:
        """With this known of its scaling."""
        return dataclasses.replace(self, outlook=outlook)

    def on(self, platform: Platform) -> Self:
        """On a platform with these choices."""
        return dataclasses.replace(self, platform=platform)

    def with_spec(self, **fragment: Any) -> Self:
        """After the user changed the spec, in these fields."""
        service = copy.deepcopy(self.service)
        service["spec"] = merged(service["spec"], fragment)
        service["metadata"]["generation"] += 1
        return dataclasses.replace(self, service=service)

    def applied(self) -> Self:
        """After its plan was carried out, and no controller has done anything yet."""
        made = self.plan()
        children = {(child["kind"], child["metadata"]["name"]): child for child in self.children}
        for desired in made.objects:
            key = desired["kind"], desired["metadata"]["name"]
            children[key] = live(desired, children.get(key))
        gone = {deletion.uid for deletion in made.deletions}
        service = copy.deepcopy(self.service)
        if made.status is not None:
            service["status"] = made.status
        if made.replicas is not None:
            service["spec"]["replicas"] = made.replicas
        return dataclasses.replace(
            self,
            service=service,
            children=tuple(child for child in children.values() if child["metadata"]["uid"] not in gone),
            pods=tuple(pod for pod in self.pods if pod["metadata"]["uid"] not in gone),
        )

    def settled(self, revision: str = "r1", *, before: str | None = None) -> Self:
        """After its plan was carried out, and the StatefulSet's controller has seen it.

        ``before``: the revision that still runs beside the newest one.
        """
        scene = self.applied()
        children = tuple(rolled_out(child, revision, before) for child in scene.children)
        return dataclasses.replace(scene, children=children)

    def child(self, kind: str, name: str | None = None) -> Json:
        """The only child of that kind (and name)."""
        found = [c for c in self.children if c["kind"] == kind and name in (None, c["metadata"]["name"])]
        assert len(found) == 1, [c["metadata"]["name"] for c in found]
        return found[0]

    def without(self, kind: str, name: str) -> Self:
        """After a user deleted this child."""
        kept = tuple(c for c in self.children if (c["kind"], c["metadata"]["name"]) != (kind, name))
        return dataclasses.replace(self, children=kept)


def leader(made: Plan) -> Json:
    """The StatefulSet of rank 0 that a plan applies."""
    (found,) = [
        each for each in made.objects if each["kind"] == "StatefulSet" and names.RANK_LABEL not in _selected(each)
    ]
    return dict(found)


def _selected(statefulset: Mapping[str, Any]) -> Json:
    return dict(statefulset["spec"]["selector"]["matchLabels"])


def a_scene(service: ServiceBuilder | None = None) -> Scene:
    """A service that was just made, in namespace team-a."""
    builder = service or a_service()
    given = {"namespace": "team-a", "uid": "uid-chat", "generation": 1}
    return Scene(builder.with_metadata(**{**given, **builder.metadata}).build())


def live(desired: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Json:
    """``desired`` as it is once applied over ``before``."""
    found = copy.deepcopy(dict(desired))
    meta = found["metadata"]
    if before is None:
        meta |= {"uid": f"uid-{meta['name']}-{found['kind'].lower()}", "generation": 1}
        return found
    changed = before["spec"] != found.get("spec") if "spec" in before else False
    meta |= {"uid": before["metadata"]["uid"], "generation": before["metadata"]["generation"] + changed}
    if "status" in before:
        found["status"] = before["status"]
    return found


def rolled_out(child: Json, revision: str, before: str | None = None) -> Json:
    """A StatefulSet after its controller has seen it; any other object as it is."""
    if child["kind"] != "StatefulSet":
        return child
    status = {
        "observedGeneration": child["metadata"]["generation"],
        "replicas": child["spec"]["replicas"],
        "currentRevision": before or revision,
        "updateRevision": revision,
    }
    return {**child, "status": status}


def findings(made: Plan) -> list[Json]:
    """The findings of the planned status."""
    assert made.status is not None
    found: list[Json] = made.status["findings"]
    return found


def condition(made: Plan, kind: str) -> Json:
    """A condition of the planned status; empty where it has none of that type."""
    assert made.status is not None
    conditions: Sequence[Json] = made.status["conditions"]
    return next((c for c in conditions if c["type"] == kind), {})


_REPEAT = {"Ready", "Reconciling", "Stalled"}
"""Conditions that repeat the reasons of others."""


def known_reasons(made: Plan) -> None:
    """Fails for a reason that has no row in `planner/report/reasons.py`, or that its row gives to other conditions."""
    status = made.status or {}
    for each in status.get("conditions", ()):
        row = reasons.of(each["reason"])
        assert row.name in reasons.TABLE, f"{row.name} of {each['type']} has no row"
        waits = each["status"] == "Unknown" and each["type"] in ("Accepted", "Fits")  # for the Job that reads the model
        repeats = waits or each["type"] in _REPEAT
        assert repeats or each["type"] in row.conditions, f"the row of {row.name} lacks {each['type']}"
    for each in status.get("findings", ()):
        assert each["reason"] in reasons.TABLE, f"{each['reason']} of a finding has no row"
    for event in made.events:
        assert event.reason in reasons.TABLE, f"{event.reason} of an Event has no row"
