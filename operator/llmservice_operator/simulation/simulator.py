"""Simulates one service in a cluster, in steps of a second.

Each reconciliation is a real plan of the planner, executed as in a cluster. Seconds in which nothing can happen are
skipped, so that timeouts of the planner cost no time.
"""

import copy
import datetime
from collections.abc import Mapping
from typing import Any

from llmservice_contract.inspection import ModelFacts
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.fit_estimate import Estimate, estimated_with_draft
from llmservice_operator.planner.model.observed import NodeCapacity, NodeHealth, Object, Observed
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.planner import plan
from llmservice_operator.simulation import pod_model
from llmservice_operator.simulation.children import Key, key_of
from llmservice_operator.simulation.cluster import SimulatedCluster
from llmservice_operator.simulation.pod_model import Json
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.timeline import Timeline, UpdateWay

QUIET_SECONDS = 900
"""Longer than any timeout for pods with nodes. The simulation ends after this time without a change, in seconds."""
UNCHANGED = datetime.timedelta(hours=1)
"""It also ends after this time in which only the status changes: a message may say how long something has lasted."""
MOST_TICKS, TICKS_PER_REPLICA = 5000, 10
"""Maximum number of steps, and how many more each replica may take: a replaced one takes seven."""

SECOND = datetime.timedelta(seconds=1)


class DidNotConverge(Exception):
    """The simulation did not reach a stable state."""


class Simulator(SimulatedCluster):
    """One service, the simulated cluster, and the operator."""

    def __init__(
        self,
        observed: Observed,
        ground: ClusterCapacity,
        *,
        facts: ModelFacts | None = None,
        draft: Mapping[str, Any] | None = None,
        before_1_37: bool = False,
    ) -> None:
        super().__init__(observed, ground, facts=facts, before_1_37=before_1_37)
        self.asked: dict[Key, Json] = {}
        """The desired children in the last plan for the changed spec."""
        self.ways: list[UpdateWay] = []
        """The chosen strategies with their reasons."""
        self.disks_deleted: list[str] = []
        self._platform, self._access_modes = observed.platform, observed.access_modes
        self._status_changes = 0
        self._reconciled_at = -1
        self._reconcile_at = self.now
        self._estimate: Estimate | None = None
        self._draft = draft

    def change(self, spec: Object, annotations: Object | None = None) -> None:
        """Changes the spec, and sets the annotations."""
        meta = self.service["metadata"]
        self.service["spec"] = copy.deepcopy(dict(spec))
        self.changes += 1
        meta["generation"] = int(meta.get("generation") or 0) + 1
        if annotations is not None:
            meta["annotations"] = dict(annotations)
        self.timeline = Timeline(self.ready, self.devices, len(self.pods))
        self.ways.clear()

    def run(self) -> None:
        """Runs until nothing changes any more. Raises DidNotConverge."""
        quiet, changed, changed_at, most = (
            0.0,
            -1,
            self.now,
            MOST_TICKS + TICKS_PER_REPLICA * max(self.replicas, self.wanted),
        )
        for _ in range(most):
            before = self.changes
            self._tick()
            if self.changes - self._status_changes != changed:
                changed, changed_at = self.changes - self._status_changes, self.now
            elif self.now - changed_at > UNCHANGED:
                return
            if self.changes != before:
                quiet = 0
                self.now += SECOND
                continue
            step = self._until_next()
            quiet += step.total_seconds()
            self.now += step
            if quiet > QUIET_SECONDS:
                return
        raise DidNotConverge(f"no end after {most} steps: {self.condition('Ready').get('message', '')}")

    def _tick(self) -> None:
        for actor in (self._operator, *self.controllers):
            before = self.changes
            actor()
            if self.changes != before:
                self.timeline.sample(self.ready, self.devices, len(self.pods))

    def _until_next(self) -> datetime.timedelta:
        times = [min(self._reconcile_at, self.now + datetime.timedelta(seconds=QUIET_SECONDS))]
        for pod in self.pods.values():
            if pod.gone_at is not None:
                times.append(pod.gone_at)
            elif pod.since is not None and not pod.ready:
                times.append(pod.since + pod_model.LOADS_IN)
        return max(SECOND, min(times) - self.now)

    def _operator(self) -> None:
        """Reconciles after a change, and when the last plan requested it."""
        if self.changes == self._reconciled_at and self.now < self._reconcile_at:
            return
        self._reconciled_at = self.changes
        made = self._planned(None)
        if any(each.field == "nodes" for each in made.requires) and not self.places.without_nodes:
            made = self._planned(self.places.nodes(self.json_pods()))
        self._reconcile_at = self.now + datetime.timedelta(seconds=max(1.0, made.requeue_after or QUIET_SECONDS))
        for release in made.releases:
            self.changes += 1
            self.children.release(release.kind, release.name)
            for pod in self.pods.values():
                if (pods.controller(pod.json) or {}).get("name") == release.name:
                    pod.own([])
        for desired in made.objects:
            self.changes += self.children.apply(desired)
        self._write_down(made)
        for gone in made.deletions:
            self._delete(gone.uid)
        for admission in made.admissions:
            for pod in self.pods.values():
                if pod.uid == admission.uid:
                    pod.admit([dict(gate) for gate in admission.gates], dict(admission.values))
                    self.changes += 1
        for annotation in made.annotations:
            for pod in self.pods.values():
                if pod.uid == annotation.uid:
                    pod.annotate(annotation.values)
        if made.replicas is not None:
            self.scale(made.replicas)
        if made.status is not None and made.status != self.service.get("status"):
            self.service["status"] = made.status
            self.changes += 1
            self._status_changes += 1

    def _planned(self, nodes: list[NodeCapacity] | None) -> Plan:
        made = plan(self._observe(nodes))
        if made.question is None:
            return made
        self._estimate = estimated_with_draft(made.question, self._draft)
        return plan(self._observe(nodes))

    def _write_down(self, made: Plan) -> None:
        record = self.record
        if made.objects and (record is None or record.failure is None):
            self.asked = {key_of(each): dict(each) for each in made.objects if each["kind"] != "Job"}
        if record is not None and record.strategy is not None:
            way = UpdateWay(record.strategy, record.why)
            self.ways += [way] if way not in self.ways else []

    def _delete(self, uid: str) -> None:
        for pod in self.pods.values():
            if pod.uid == uid and not pod.going:
                self.note("deleted", pod)
                pod.delete(self.now)
                self.changes += 1
        gone = self.children.delete(uid)
        self.changes += gone is not None
        if gone is not None and gone[0] == "PersistentVolumeClaim":
            self.disks_deleted.append(gone[1])

    def _observe(self, nodes: list[NodeCapacity] | None) -> Observed:
        there = [*self.json_pods(), *self.others]
        health = NodeHealth(1, {})
        children, events = tuple(self.children), (*self.refusals, *self.attach_failures)
        return Observed(
            _without_canary(self.service),
            children,
            there,
            nodes,
            self._platform,
            self.now,
            health=health,
            access_modes=self._access_modes,
            events=events,
            estimate=self._estimate,
            fixed_nodes=True,
        )


def _without_canary(service: Json) -> Json:
    """The service without the pause of a rollout that depends on clients' requests, which can't be simulated."""
    spec = service.get("spec") or {}
    rollout = spec.get("rollout")
    if not isinstance(rollout, dict) or "canary" not in rollout:
        return service
    return {**service, "spec": {**spec, "rollout": {name: each for name, each in rollout.items() if name != "canary"}}}
