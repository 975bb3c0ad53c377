"""Whether the status is current: is an operator running, and has it observed the spec?"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.cli.explain import phrases
from llmservice_operator.planner.model import timestamps

Object = Mapping[str, Any]

PATIENCE = datetime.timedelta(seconds=30)
"""Time within which an operator observes a change."""
CLOCK_SKEW = datetime.timedelta(minutes=5)
"""How far in the future the renewal of a Lease may be, because of clock skew. A Lease beyond that is not the
operator's: users may write Leases in their own namespaces."""
SILENCE = datetime.timedelta(seconds=60)
"""Maximum age of a Lease's renewal: another operator would have become leader long before."""
HANDOVER = datetime.timedelta(seconds=10)
"""The same for a Lease that was released: a successor acquires it within seconds."""
_OPERATOR = "llmservice-operator"


def is_behind(service: Object) -> bool:
    """Whether the status is about an earlier generation of the spec, or missing."""
    status = service.get("status") or {}
    observed = status.get("observedGeneration")
    return not status.get("conditions") or observed is None or observed < service["metadata"].get("generation", 0)


def warning(service: Object, leases: Sequence[Object] | None, now: datetime.datetime) -> str:
    """What is wrong with the operator, as sentences; empty if nothing is."""
    credible = [each for each in leases or () if _renewed(each) <= now + CLOCK_SKEW]
    lease = max(_concerned(service, credible), key=_renewed, default=None)
    silent = lease is not None and now - _renewed(lease) > (SILENCE if _is_held(lease) else HANDOVER)
    behind = _told_of_generations(service, now) if is_behind(service) else ""
    if silent and lease is not None:
        meta = lease["metadata"]
        return (
            f"The operator is not running: its Lease {meta['name']} in namespace {meta['namespace']} was last renewed "
            f"{phrases.age(_renewed(lease).isoformat(), now)} ago. {behind or 'The following is from that time.'}"
        )
    changed = _changed(service)
    if not behind or (changed is not None and now - changed < PATIENCE):
        return behind
    if lease is not None:
        return f"{behind} An operator is running (its Lease is renewed): see its log for the reason."
    return f"{behind} Ask the administrator of the platform whether the operator is running."


def _told_of_generations(service: Object, now: datetime.datetime) -> str:
    status, meta = service.get("status") or {}, service["metadata"]
    changed = _changed(service)
    since = f" for {phrases.age(changed.isoformat(), now)}" if changed is not None else ""
    if not status.get("conditions"):
        return f"No operator has reconciled this service{since}."
    return (
        f"The operator has not observed the newest spec{since}: the status has generation "
        f"{status.get('observedGeneration')}, the spec has {meta.get('generation')}."
    )


def _changed(service: Object) -> datetime.datetime | None:
    """When the spec was last changed by another client than the operator, according to managedFields."""
    meta = service["metadata"]
    found = [
        timestamps.parse(entry.get("time"))
        for entry in meta.get("managedFields") or ()
        if not entry.get("subresource") and not str(entry.get("manager")).startswith(_OPERATOR)
    ]
    return max((each for each in found if each is not None), default=timestamps.parse(meta.get("creationTimestamp")))


def _concerned(service: Object, leases: Sequence[Object]) -> Sequence[Object]:
    """Leases of an operator in the service's own namespace, if there is one; else all."""
    own = [each for each in leases if each["metadata"]["namespace"] == service["metadata"]["namespace"]]
    return own or leases


def _is_held(lease: Object) -> bool:
    return bool((lease.get("spec") or {}).get("holderIdentity"))


def _renewed(lease: Object) -> datetime.datetime:
    renewed = timestamps.parse((lease.get("spec") or {}).get("renewTime"))
    return renewed or datetime.datetime.min.replace(tzinfo=datetime.UTC)
