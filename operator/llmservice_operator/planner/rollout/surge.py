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

MADE_WITHIN_SECONDS = 10
"""How long the StatefulSet controller may take to create the pod after it has observed the spec, in seconds."""


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


def overdue_at(record: Record) -> datetime.datetime | None:
    """When the pod counts as impossible to create; None if it is not missing."""
    since = timestamps.parse(record.lacking)
    return since + datetime.timedelta(seconds=MADE_WITHIN_SECONDS) if since is not None else None


def surge_timed_out(fleet: RolloutState, record: Record) -> bool:
    """Whether the pod counts as impossible to create."""
    at = overdue_at(record)
    return at is not None and at <= fleet.state.observed.now


def cause(fleet: RolloutState) -> Finding | None:
    """Why the pod is rejected, if Events report it."""
    return admission.find(fleet.state)
