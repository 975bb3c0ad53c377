"""The one replica more of a surge while it is not made, as where a quota forbids it.

Nothing in Kubernetes tells since when a pod is missing, so the record does; an Event may tell why.
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
"""How long the StatefulSets' controller may take for it, once it has looked."""


def record_missing(fleet: RolloutState, record: Record) -> Record:
    """The record, with since when the one more is missing."""
    if surge_pod_missing(fleet, record) == bool(record.lacking):
        return record
    return dataclasses.replace(record, lacking="" if record.lacking else timestamps.show(fleet.state.observed.now))


def surge_pod_missing(fleet: RolloutState, record: Record) -> bool:
    """Whether a pod of the surge is not there, nor on its way out, although the StatefulSets were told to have it: the
    surge pod itself, or one that was replaced and that a quota forbids as long as the surge pod is there."""
    if not record.surge or fleet.size <= fleet.wanted:
        return False
    return not all(_there(fleet, number) for number in range(fleet.wanted + 1))


def required(fleet: RolloutState, record: Record) -> frozenset[Input]:
    """Events, if they may tell who refuses it."""
    return fleet.state.observed.missing(Input.EVENTS) if surge_pod_missing(fleet, record) else NOTHING


def events_at(fleet: RolloutState, record: Record) -> datetime.datetime | None:
    """When they are read again; None where it is not missing."""
    again = fleet.state.observed.now + datetime.timedelta(seconds=EVENTS_SECONDS)
    return again if surge_pod_missing(fleet, record) else None


def _there(fleet: RolloutState, number: int) -> bool:
    pod = fleet.pods.get(number)
    return number in fleet.leaving or (pod is not None and fleet.complete(pod))


def overdue_at(record: Record) -> datetime.datetime | None:
    """From when on it counts as one that can't be made; None where it is not missing."""
    since = timestamps.parse(record.lacking)
    return since + datetime.timedelta(seconds=MADE_WITHIN_SECONDS) if since is not None else None


def surge_timed_out(fleet: RolloutState, record: Record) -> bool:
    """Whether it can't be made."""
    at = overdue_at(record)
    return at is not None and at <= fleet.state.observed.now


def cause(fleet: RolloutState) -> Finding | None:
    """Who refuses it, as far as Events tell."""
    return admission.find(fleet.state)
