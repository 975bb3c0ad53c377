"""A missing surge pod, for example because a quota forbids it.

Kubernetes does not report since when a pod is missing, so the record stores it; an Event may report why.
"""

import dataclasses
import datetime

from llmservice_contract.finding import Finding
from llmservice_operator.planner.diagnosis import admission
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.observed import EVENTS_SECONDS, NOTHING, Input
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.rollout.state import RolloutState

PATIENCE_SECONDS = 30
"""How long an updated replica may be unschedulable before the surge pod's devices are left to it, in seconds. The
scheduler may refuse a new pod for a moment, because it does not know yet which devices the replaced pod has freed."""
REJECTED_SECONDS = 10
"""How long the pod must be missing to count as impossible to create if an Event says why, in seconds."""
MISSING_SECONDS = 60
"""The same if no Event says why. A controller manager that lost its Lease is replaced within some 20 seconds."""


def record_missing(fleet: RolloutState, record: Record) -> Record:
    """The record with the time since which the surge pod is missing."""
    if surge_pod_missing(fleet, record) == bool(record.lacking):
        return record
    return dataclasses.replace(record, lacking="" if record.lacking else timestamps.show(fleet.state.observed.now))


def surge_pod_missing(fleet: RolloutState, record: Record) -> bool:
    """Whether a pod of a surge is missing and not terminating, although the StatefulSets include it: the surge pod
    itself, or a replaced pod that a quota forbids while the surge pod exists."""
    if not record.surge or fleet.size <= fleet.wanted:
        return False
    return not all(_there(fleet, number) for number in range(fleet.wanted + 1))


def required(fleet: RolloutState, record: Record) -> frozenset[Input]:
    """Events, if they may say why the pod is rejected."""
    return fleet.state.observed.missing(Input.EVENTS) if surge_pod_missing(fleet, record) else NOTHING


def events_at(fleet: RolloutState, record: Record) -> datetime.datetime | None:
    """When Events are read again; None if the pod is not missing."""
    again = fleet.state.observed.now + datetime.timedelta(seconds=EVENTS_SECONDS)
    return again if surge_pod_missing(fleet, record) else None


def _there(fleet: RolloutState, number: int) -> bool:
    pod = fleet.pods.get(number)
    return number in fleet.leaving or (pod is not None and fleet.complete(pod))


def overdue_at(fleet: RolloutState, record: Record) -> datetime.datetime | None:
    """When the pod counts as impossible to create; None if it is not missing."""
    since = timestamps.parse(record.lacking)
    if since is None:
        return None
    return since + datetime.timedelta(seconds=MISSING_SECONDS if cause(fleet) is None else REJECTED_SECONDS)


def surge_timed_out(fleet: RolloutState, record: Record) -> bool:
    """Whether the pod counts as impossible to create."""
    at = overdue_at(fleet, record)
    return at is not None and at <= fleet.state.observed.now


def without_node_at(fleet: RolloutState, record: Record) -> datetime.datetime | None:
    """When an updated replica counts as one that gets no node beside the surge pod; None if all have nodes, or without
    a surge pod."""
    if not record.surge:
        return None
    since = (fleet.unplaceable_since(fleet.pods[number]) for number in fleet.updated_replicas)
    first = min((each for each in since if each is not None), default=None)
    return first + datetime.timedelta(seconds=PATIENCE_SECONDS) if first is not None else None


def without_node(fleet: RolloutState, record: Record) -> bool:
    """Whether an updated replica counts as one that gets no node beside the surge pod."""
    at = without_node_at(fleet, record)
    return at is not None and at <= fleet.state.observed.now


def cause(fleet: RolloutState) -> Finding | None:
    """Why the pod is rejected, if Events report it."""
    return admission.find(fleet.state)
