"""Gang scheduling: a replica of several pods gets nodes for all of them, or for none.

The pods of such a replica are created with a scheduling gate. The operator removes the gates of one replica at a time,
once all its pods exist with the same revision and the nodes have room for those without a node. If the scheduler still
places only some of them (counting free devices can't exclude that), the replica releases its nodes: its pods are
deleted, and the StatefulSets create them again behind the gate.
"""

import dataclasses
import datetime
import zlib
from collections.abc import Sequence

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
        environments = {tuple(pods.environments(pod)) for pod in self.pods}
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


def groups(state: ServiceState) -> list[Group]:
    """The multi-node replicas, by number."""
    found = []
    leaving = {pods.ordinal(pod) for pod in state.leaving}
    workers: dict[int, list[Object]] = {}
    for pod in state.workers:
        workers.setdefault(pods.ordinal(pod), []).append(pod)
    for first in state.engines:
        number, nodes = pods.ordinal(first), pods.nodes(first)
        if nodes > 1 and number not in leaving:
            others = (pod for pod in workers.get(number, ()) if pods.rank(pod) < nodes)
            found.append(Group(number, nodes, (first, *others)))
    return found


def excess_workers(state: ServiceState) -> tuple[Deletion, ...]:
    """Deletions of worker pods that their replica no longer has. If their StatefulSet still exists, it creates them
    again behind the gate."""
    nodes = {pods.ordinal(pod): pods.nodes(pod) for pod in state.engines}
    left = (pod for pod in state.workers if not pods.gated(pod))
    return tuple(
        deletion_of(pod, "its replica has fewer pods now")
        for pod in left
        if pods.rank(pod) >= nodes.get(pods.ordinal(pod), pods.rank(pod) + 1)
    )


def plan_gang(state: ServiceState) -> GangDecision:
    """What to do about the replicas without nodes now."""
    there = groups(state)
    parted = [group for group in there if group.whole and group.unplaced]
    gated = [group for group in there if group.gated]
    if parted:
        return _in_flight(state, parted)
    waiting = next((group for group in gated if group.whole), None)
    if waiting is None:
        return GangDecision(result=Result(_previous_verdict(state) if gated or not there else None))
    return _before_the_gate(state, waiting)


def _in_flight(state: ServiceState, parted: Sequence[Group]) -> GangDecision:
    """While the scheduler works on one replica, no other is started."""
    now, earliest, gone = state.observed.now, None, []
    verdict: Verdict | None = None
    for group in parted:
        until = max(map(admitted_at, group.unplaced)) + datetime.timedelta(seconds=GIVE_BACK_SECONDS)
        if until > now:
            earliest = min(earliest or until, until)
            continue
        placed = group.nodes - len(group.unplaced)
        said = phrases.tail(str(pods.condition(group.unplaced[0], "PodScheduled").get("message") or ""))
        text = f"Only {phrases.count_of(placed, group.nodes, 'pod')} of replica {group.number} could be scheduled"
        verdict = no(reasons.GAVE_BACK, f"{text}. Released its nodes; retrying: {said}")
        why = (
            f"only {placed} of {group.nodes} pods of its replica could be scheduled, so the replica releases its nodes"
        )
        gone += [deletion_of(pod, why) for pod in group.pods]
    return GangDecision(deletions=tuple(gone), result=Result(verdict, recheck_at=earliest))


def _before_the_gate(state: ServiceState, group: Group) -> GangDecision:
    now, nodes = state.observed.now, state.observed.nodes
    if _gave_back(state):
        meta = state.observed.service["metadata"]
        wait = RETRY_SECONDS + zlib.crc32(str(meta["uid"]).encode()) % SPREAD_SECONDS
        until = max(map(made_at, group.gated)) + datetime.timedelta(seconds=wait)
        if until > now:
            return GangDecision(result=Result(_previous_verdict(state), recheck_at=until))
    seen = _last_bound(state) + datetime.timedelta(seconds=SEEN_SECONDS)
    if seen > now:
        return GangDecision(result=Result(recheck_at=seen))
    if nodes is not None and not _fits(group, nodes):
        return GangDecision(result=Result(_no_room(group, nodes)))
    annotations = {names.ADMITTED_ANNOTATION: timestamps.show(now)}
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


def _no_room(group: Group, nodes: Sequence[NodeCapacity]) -> Verdict:
    need, key = capacity.Need.of(group.gated[0]), _near(group.gated[0])
    topology = f", on nodes with the same {key}" if key is not None else ""
    waiting = phrases.count_of(len(group.gated), group.nodes, "pod")
    text = f"replica {group.number} waits until {waiting} can get {need.count} {need.resource} each{topology}"
    found = capacity.explain(need, nodes)
    return no(reasons.SCHEDULING_GATED, f"{text}; {found}" if found else text)


def _gave_back(state: ServiceState) -> bool:
    return state.previous.get("Scheduled", {}).get("reason") == reasons.GAVE_BACK


def _previous_verdict(state: ServiceState) -> Verdict | None:
    """The previous verdict, if nodes were released. It stays until the next attempt and delays it."""
    before = state.previous.get("Scheduled", {})
    return no(reasons.GAVE_BACK, str(before.get("message", ""))) if _gave_back(state) else None


def _last_bound(state: ServiceState) -> datetime.datetime:
    """When the most recently scheduled pod of the service got its node."""
    bound = (pods.condition(pod, "PodScheduled") for pod in state.members if pods.bound(pod))
    times_of = (timestamps.parse(each.get("lastTransitionTime")) for each in bound)
    return max((time for time in times_of if time is not None), default=_LONG_AGO)


def admitted_at(pod: Object) -> datetime.datetime:
    """Since when the scheduler may schedule the pod, if its gate has been removed."""
    return timestamps.parse(pods.annotations(pod).get(names.ADMITTED_ANNOTATION)) or made_at(pod)


def made_at(pod: Object) -> datetime.datetime:
    """When the pod was created."""
    found = timestamps.parse(pod["metadata"].get("creationTimestamp"))
    return found or _LONG_AGO
