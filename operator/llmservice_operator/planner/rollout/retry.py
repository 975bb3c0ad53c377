"""Another attempt of a rollout that was rolled back although its spec may be right.

If only a server was unavailable, it begins after a pause. If replicas had no nodes, it begins once the nodes have room
for the failed spec's replicas, after a pause and at most a few times. If a server refused the credentials, it begins
once a Job could read the model with them, likewise: the operator itself reads no Secrets.
"""

import dataclasses
import datetime
from collections import Counter
from typing import Any

from llmservice_contract.finding import Finding
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.conditions import model_changes, model_inspection
from llmservice_operator.planner.model import capacity, pods, revisions, timestamps
from llmservice_operator.planner.model.observed import NOTHING, Input, NodeCapacity
from llmservice_operator.planner.model.rollout_record import Failure, Record
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.rollout.state import RolloutState

RETRY_SECONDS, MOST_RETRY_SECONDS = 600, 7200
"""Minimum and maximum time after which a template is tried again that failed because a server was unavailable, or
refused the credentials. The time doubles with each attempt."""
NODES_SECONDS, MOST_NODES_SECONDS = 300, 3600
"""The same for a template whose replicas had no nodes."""
MOST_ATTEMPTS = 5
"""Maximum number of further attempts of such a template, and of one whose credentials were refused."""
CHECK_SECONDS = 120
"""How often the nodes are read to find out whether they have room."""


@dataclasses.dataclass(frozen=True)
class Retry:
    """Whether another attempt begins now."""

    due: bool = False
    requires: frozenset[Input] = NOTHING
    recheck_at: datetime.datetime | None = None


def failure_of(fleet: RolloutState, spec: LLMServiceSpec, finding: Finding, record: Record, refresh: str) -> Failure:
    """The failure that is recorded, with the time of the next attempt if there is one."""
    why, attempts_left = reasons.of(finding.reason), record.attempts < MOST_ATTEMPTS
    may_be_corrected = why.credentials_refused and attempts_left and _tells_credentials(fleet.state, spec)
    if why.server_unavailable or may_be_corrected:
        first, most = RETRY_SECONDS, MOST_RETRY_SECONDS
    elif why.unplaced and attempts_left:
        first, most = NODES_SECONDS, MOST_NODES_SECONDS
    else:
        return Failure(finding, refresh)
    pause = min(most, first * 2 ** min(record.attempts, 10))
    return Failure(finding, refresh, timestamps.show(fleet.state.after(pause)))


def check(fleet: RolloutState, failure: Failure, rendered: dict[str, Any]) -> Retry:
    """Whether another attempt begins now, and what is needed to decide that. All replicas must run the previous
    template."""
    at, now = timestamps.parse(failure.retry_at), fleet.state.observed.now
    if at is None or at > now:
        return Retry(recheck_at=at)
    if not fleet.settled or fleet.outdated or fleet.leaving:
        return Retry()
    why = reasons.of(failure.finding.reason)
    if why.credentials_refused:
        return Retry(due=_accepted_since(fleet.state, at))
    if not why.unplaced:
        return Retry(due=True)
    again = fleet.state.after(CHECK_SECONDS)
    return Retry(_has_room(fleet, rendered), fleet.state.observed.missing(Input.NODES), again)


def _tells_credentials(state: ServiceState, spec: LLMServiceSpec) -> bool:
    return model_inspection.is_used(state, spec) and model_changes.tells_credentials(state, spec)


def _accepted_since(state: ServiceState, at: datetime.datetime) -> bool:
    """Whether the model of the spec was read since then, with the credentials of the spec."""
    facts, spec = state.facts, state.spec
    read_at = timestamps.parse(facts.read_at) if facts is not None else None
    read = spec is not None and facts is not None and facts.source == revisions.facts_key(spec)
    return read and read_at is not None and read_at >= at


def _has_room(fleet: RolloutState, rendered: dict[str, Any]) -> bool:
    """Whether the nodes have room for as many replicas of the failed spec as have nodes now, in place of these."""
    template, nodes = rendered["spec"]["template"], fleet.state.observed.nodes
    need = capacity.Need.of(template)
    if need.resource is None:  # only the scheduler knows
        return True
    if nodes is None:
        return False
    own = Counter[str]()
    for pod in (*fleet.state.engines, *fleet.state.workers):
        requested = capacity.Need.of(pod)
        if pods.bound(pod) and requested.resource == need.resource:
            own[pod["spec"]["nodeName"]] += requested.count
    rooms = sum(capacity.room(need, _without(node, need.resource, own[node.name])) for node in nodes)
    return rooms >= pods.nodes(template) * max(1, min(fleet.placed, fleet.wanted))


def _without(node: NodeCapacity, resource: str, count: int) -> NodeCapacity:
    requested = {**node.requested, resource: max(0, node.requested.get(resource, 0) - count)}
    return dataclasses.replace(node, requested=requested)
