"""Gang scheduling: a replica of several pods gets nodes for all of them, or for none.

The pods of such a replica are created with a scheduling gate. The operator removes the gates of one replica at a time,
once all its pods exist with the same revision and the nodes have room for those without a node. If the scheduler still
places only some of them (counting free devices can't exclude that), the replica releases its nodes: its pods are
deleted, and the StatefulSets create them again behind the gate.

Node autoscalers ignore pods behind a gate. So the gates of a replica without room are removed from time to time, too:
its pods become unschedulable, and an autoscaler may add nodes for them.
"""

import dataclasses
import datetime
import zlib
from collections.abc import Sequence

from llmservice_operator.planner.diagnosis import node_autoscaler
from llmservice_operator.planner.model import capacity, pods, timestamps
from llmservice_operator.planner.model.observed import Input, NodeCapacity, Object
from llmservice_operator.planner.model.plan import Admission, Deletion, deletion_of
from llmservice_operator.planner.model.result import NO_RESULT, Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no
from llmservice_operator.resources import names

GIVE_BACK_SECONDS = 45
"""How long a replica may hold nodes while one of its pods has none."""
REPORT_SECONDS = 120
"""How long the pods of a replica without any node stay schedulable, so that a node autoscaler can report that it adds
nodes."""
FIRST_TRY_SECONDS, MOST_TRY_SECONDS = 30, 1800
"""After which time without room a replica's gates are removed for a node autoscaler. The time doubles with each attempt
up to the maximum."""
SEEN_SECONDS = 2
"""How long after a pod was bound its node's free devices certainly include it."""
RETRY_SECONDS, SPREAD_SECONDS = 60, 60
"""Delay before the next attempt, and the maximum added to it. Two replicas that block each other get different
delays."""

_LONG_AGO = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Group:
    """The pods of one multi-node replica, without those that are being deleted."""

    number: int
    nodes: int
    """Number of pods of the replica."""
    pods: Sequence[Object]

    @property
    def whole(self) -> bool:
        """Whether all pods exist and have the same revision."""
        environments = {pods.environments(pod) for pod in self.pods}
        return len(self.pods) == self.nodes and len(environments) == 1

    @property
    def gated(self) -> list[Object]:
        """Pods with a scheduling gate."""
        return [pod for pod in self.pods if pods.gated(pod)]

    @property
    def unplaced(self) -> list[Object]:
        """Pods without a scheduling gate that have no node."""
        return [pod for pod in self.pods if not pods.gated(pod) and not pods.bound(pod)]


@dataclasses.dataclass(frozen=True)
class GangDecision:
    """What to do about replicas without nodes."""

    admissions: tuple[Admission, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    """Pods of a replica that releases its nodes."""
    result: Result = NO_RESULT
    """The verdict says why a replica is held back; None if none is."""
    waits_until: datetime.datetime | None = None
    """When a replica whose gates are removed releases its nodes if not all its pods have one."""


def groups(state: ServiceState) -> list[Group]:
    """The multi-node replicas, by number."""
    found = []
    if not state.leads_several:
        return []
    leaving = {pods.ordinal(pod) for pod in state.leaving}
    workers: dict[int, list[Object]] = {}
    for pod in state.workers:
        workers.setdefault(pods.ordinal(pod), []).append(pod)
    for first in state.leads_several:
        number, nodes = pods.ordinal(first), pods.nodes(first)
        if number not in leaving:
            others = (pod for pod in workers.get(number, ()) if pods.rank(pod) < nodes)
            found.append(Group(number, nodes, (first, *others)))
    return found


def excess_workers(state: ServiceState) -> tuple[Deletion, ...]:
    """Deletions of worker pods that their replica no longer has. If their StatefulSet still exists, it creates them
    again behind the gate."""
    nodes = {pods.ordinal(pod): pods.nodes(pod) for pod in state.engines} if state.workers else {}
    left = (pod for pod in state.workers if not pods.gated(pod))
    return tuple(
        deletion_of(pod, "its replica has fewer pods now")
        for pod in left
        if pods.rank(pod) >= nodes.get(pods.ordinal(pod), pods.rank(pod) + 1)
    )


def plan_gang(state: ServiceState) -> GangDecision:
    """What to do about the replicas without nodes now."""
    there = groups(state)
    if not there:
        return GangDecision(result=Result(_previous_verdict(state)))
    parted = [group for group in there if group.whole and group.unplaced]
    gated = [group for group in there if group.gated]
    if parted:
        pending = _in_flight(state, parted, gated)
        other = _has_room_beside(state, parted, gated) if not pending.deletions else None
        if other is None:
            return pending
        return dataclasses.replace(_admitted(state, other), waits_until=pending.waits_until)
    waiting = next((group for group in gated if group.whole), None)
    if waiting is None:
        return GangDecision(result=Result(_previous_verdict(state) if gated else None))
    return _before_the_gate(state, waiting)


def _has_room_beside(state: ServiceState, parted: Sequence[Group], gated: Sequence[Group]) -> Group | None:
    """A replica that has room while others wait for new nodes; None while the scheduler may still place those."""
    nodes, before = state.observed.nodes, state.observed.now - datetime.timedelta(seconds=GIVE_BACK_SECONDS)
    left = [pod for group in parted for pod in group.unplaced]
    if nodes is None or not all(pods.refused(pod) and admitted_at(pod) <= before for pod in left):
        return None
    return next((group for group in gated if group.whole and _fits(group, nodes)), None)


def _in_flight(state: ServiceState, parted: Sequence[Group], gated: Sequence[Group]) -> GangDecision:
    """While the scheduler works on one replica, no other is started."""
    now, earliest, gone = state.observed.now, None, []
    verdict: Verdict | None = None
    for group in parted:
        until = _releases_at(state, group, gated)
        if until > now:
            earliest = min(earliest or until, until)
            continue
        placed = group.nodes - len(group.unplaced)
        said = phrases.tail(str(pods.condition(group.unplaced[0], "PodScheduled").get("message") or ""))
        text = f"Only {phrases.count_of(placed, group.nodes, 'pod')} of replica {group.number} could be scheduled"
        verdict = no(reasons.PARTIALLY_SCHEDULED, f"{text}. Released its nodes; retrying: {said}")
        why = (
            f"only {placed} of {group.nodes} pods of its replica could be scheduled, so the replica releases its nodes"
        )
        gone += [deletion_of(pod, why) for pod in group.pods]
    if verdict is None and not any(pods.refused(pod) for group in parted for pod in group.unplaced):
        verdict = _unplaced_before(state)
    return GangDecision(deletions=tuple(gone), result=Result(verdict, recheck_at=earliest), waits_until=earliest)


def _releases_at(state: ServiceState, group: Group, gated: Sequence[Group]) -> datetime.datetime:
    """When the replica releases its nodes, unless all its pods have one by then: soon if a replica that had nodes
    before needs some again."""
    admitted, placed = max(map(admitted_at, group.unplaced)), [pod for pod in group.pods if pods.bound(pod)]
    holds = bool(placed) or node_autoscaler.limit_seconds(state) == 0
    patience = GIVE_BACK_SECONDS if holds else REPORT_SECONDS
    until = node_autoscaler.waits_until(state, group.pods, admitted, patience)
    bound = max([admitted, *filter(None, map(_bound_at, placed))])
    soon = bound + datetime.timedelta(seconds=GIVE_BACK_SECONDS)
    contested = placed and any(
        each.whole and (each.number < group.number or any(map(pods.bound, each.pods))) for each in gated
    )
    return soon if contested else max(until, soon)


def _unplaced_before(state: ServiceState) -> Verdict | None:
    """The previous verdict if replicas had no nodes: it holds until the scheduler has processed their pods."""
    before = state.previous.get("Scheduled", {})
    reason = str(before.get("reason", ""))
    return no(reason, str(before.get("message", ""))) if reasons.of(reason).unplaced else None


def _before_the_gate(state: ServiceState, group: Group) -> GangDecision:
    now, nodes = state.observed.now, state.observed.nodes
    if _has_released(state):
        meta = state.observed.service["metadata"]
        wait = RETRY_SECONDS + zlib.crc32(str(meta["uid"]).encode()) % SPREAD_SECONDS
        until = max(map(made_at, group.gated)) + datetime.timedelta(seconds=wait)
        if until > now:
            return GangDecision(result=Result(_previous_verdict(state), recheck_at=until))
    seen = _last_bound(state) + datetime.timedelta(seconds=SEEN_SECONDS)
    if seen > now:
        return GangDecision(result=Result(recheck_at=seen))
    if nodes is not None and not _fits(group, nodes):
        tries_at, current = _tries_at(state, group), state.observed.missing(Input.CURRENT_NODES)
        if tries_at is None or tries_at > now:
            return GangDecision(result=Result(_no_room(group, nodes, tries_at), current, tries_at))
        return dataclasses.replace(_admitted(state, group), result=Result(_no_room(group, nodes, None), current))
    return _admitted(state, group)


def _tries_at(state: ServiceState, group: Group) -> datetime.datetime | None:
    """When the gates of a replica without room are removed for a node autoscaler; None if none adds nodes."""
    if node_autoscaler.limit_seconds(state) == 0:
        return None
    before, made = state.previous.get("Scheduled", {}), max(map(made_at, group.gated))
    unplaced = reasons.of(str(before.get("reason"))).unplaced
    since = (timestamps.parse(before.get("lastTransitionTime")) if unplaced else None) or state.observed.now
    tried = (made - since).total_seconds()
    return max(made, since) + datetime.timedelta(seconds=min(MOST_TRY_SECONDS, max(FIRST_TRY_SECONDS, tried)))


def _admitted(state: ServiceState, group: Group) -> GangDecision:
    annotations = {names.ADMITTED_ANNOTATION: timestamps.show(state.observed.now)}
    result = Result(requires=state.observed.missing(Input.CURRENT_NODES))
    return GangDecision(tuple(_admission(pod, annotations) for pod in group.gated), result=result)


def _admission(pod: Object, annotations: dict[str, str]) -> Admission:
    meta = pod["metadata"]
    gates = [gate for gate in pod["spec"]["schedulingGates"] if gate["name"] != names.GROUP_GATE]
    return Admission(meta["namespace"], meta["name"], meta["uid"], gates, annotations)


def _fits(group: Group, nodes: Sequence[NodeCapacity]) -> bool:
    """Whether the nodes have enough devices for all gated pods, in one topology domain if the pods require it."""
    need = capacity.Need.of(group.gated[0])
    if need.resource is None:
        return True
    key = _near(group.gated[0])
    if key is None:
        return sum(capacity.room(need, node) for node in nodes) >= len(group.gated)
    taken = {pod["spec"]["nodeName"] for pod in group.pods if pods.bound(pod)}
    domains = {node.labels.get(key) for node in nodes if not taken or node.name in taken} - {None}
    return any(
        sum(capacity.room(need, node) for node in nodes if node.labels.get(key) == domain) >= len(group.gated)
        for domain in domains
    )


def _near(pod: Object) -> str | None:
    """The node label whose value all pods of the replica must share; None if they need not."""
    affinity = (pod["spec"].get("affinity") or {}).get("podAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return next((str(term["topologyKey"]) for term in terms), None)


def _no_room(group: Group, nodes: Sequence[NodeCapacity], tries_at: datetime.datetime | None) -> Verdict:
    need, key = capacity.Need.of(group.gated[0]), _near(group.gated[0])
    topology = f", on nodes with the same {key}" if key is not None else ""
    waiting = phrases.count_of(len(group.gated), group.nodes, "pod")
    text = f"replica {group.number} waits until {waiting} can get {need.devices} each{topology}"
    found = capacity.explain(need, nodes)
    text += f"; {found}" if found else ""
    if tries_at is not None:
        text += f"; its gates are removed at {timestamps.show(tries_at)} in case a node autoscaler adds nodes"
    return no(reasons.SCHEDULING_GATED, text)


def _has_released(state: ServiceState) -> bool:
    return state.previous.get("Scheduled", {}).get("reason") == reasons.PARTIALLY_SCHEDULED


def _previous_verdict(state: ServiceState) -> Verdict | None:
    """The previous verdict, if nodes were released. It stays until the next attempt and delays it."""
    before = state.previous.get("Scheduled", {})
    return no(reasons.PARTIALLY_SCHEDULED, str(before.get("message", ""))) if _has_released(state) else None


def _last_bound(state: ServiceState) -> datetime.datetime:
    """When the most recently scheduled pod of the service got its node."""
    return max(filter(None, map(_bound_at, filter(pods.bound, state.members))), default=_LONG_AGO)


@pods.read_once
def _bound_at(pod: Object) -> datetime.datetime | None:
    return timestamps.parse(pods.condition(pod, "PodScheduled").get("lastTransitionTime"))


@pods.read_once
def admitted_at(pod: Object) -> datetime.datetime:
    """Since when the scheduler may schedule the pod, if its gate has been removed."""
    return timestamps.parse(pods.annotations(pod).get(names.ADMITTED_ANNOTATION)) or made_at(pod)


def made_at(pod: Object) -> datetime.datetime:
    """When the pod was created."""
    return pods.created_at(pod) or _LONG_AGO
