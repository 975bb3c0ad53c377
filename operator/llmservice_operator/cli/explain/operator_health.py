"""Whether what the status says is on the spec as it is: is there an operator that looks?"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.cli.explain import phrases
from llmservice_operator.planner.model import timestamps

Object = Mapping[str, Any]

PATIENCE = datetime.timedelta(seconds=30)
"""What an operator may take to see a change."""
CLOCK_SKEW = datetime.timedelta(minutes=5)
"""How far in the future a Lease may have been renewed by its holder's clock. One beyond that is not the operator's:
anybody may write Leases in a namespace of theirs."""
SILENCE = datetime.timedelta(seconds=60)
"""How long a Lease may go without a renewal: another operator has taken over long before."""
HANDOVER = datetime.timedelta(seconds=10)
"""The same for one that was given back: a successor takes it within seconds."""
_OPERATOR = "llmservice-operator"


def is_behind(service: Object) -> bool:
    """Whether the status is on an earlier spec, or there is none."""
    status = service.get("status") or {}
    observed = status.get("observedGeneration")
    return not status.get("conditions") or observed is None or observed < service["metadata"].get("generation", 0)


def warning(service: Object, leases: Sequence[Object] | None, now: datetime.datetime) -> str:
    """What is the matter with the operator, as sentences; empty where nothing is."""
    credible = [each for each in leases or () if _renewed(each) <= now + CLOCK_SKEW]
    lease = max(_concerned(service, credible), key=_renewed, default=None)
    silent = lease is not None and now - _renewed(lease) > (SILENCE if _is_held(lease) else HANDOVER)
    behind = _told_of_generations(service, now) if is_behind(service) else ""
    if silent and lease is not None:
        meta = lease["metadata"]
        return (
            f"The operator does not run: its Lease {meta['name']} in namespace {meta['namespace']} was last renewed "
            f"{phrases.age(_renewed(lease).isoformat(), now)} ago. {behind or 'What follows was so then.'}"
        )
    changed = _changed(service)
    if not behind or (changed is not None and now - changed < PATIENCE):
        return behind
    if lease is not None:
        return f"{behind} An operator runs (its Lease is renewed): its log says what keeps it from this one."
    return f"{behind} Does the operator run? Whoever runs the platform can see."


def _told_of_generations(service: Object, now: datetime.datetime) -> str:
    status, meta = service.get("status") or {}, service["metadata"]
    changed = _changed(service)
    since = f" for {phrases.age(changed.isoformat(), now)}" if changed is not None else ""
    if not status.get("conditions"):
        return f"No operator has looked at this service{since}."
    return (
        f"The operator has not taken up the newest spec{since}: the status is on generation "
        f"{status.get('observedGeneration')}, the spec is at {meta.get('generation')}."
    )


def _changed(service: Object) -> datetime.datetime | None:
    """When somebody last changed the spec, as far as the API server has kept that."""
    meta = service["metadata"]
    found = [
        timestamps.parse(entry.get("time"))
        for entry in meta.get("managedFields") or ()
        if not entry.get("subresource") and not str(entry.get("manager")).startswith(_OPERATOR)
    ]
    return max((each for each in found if each is not None), default=timestamps.parse(meta.get("creationTimestamp")))


def _concerned(service: Object, leases: Sequence[Object]) -> Sequence[Object]:
    """Those of an operator in the service's own namespace, where there is one; else all."""
    own = [each for each in leases if each["metadata"]["namespace"] == service["metadata"]["namespace"]]
    return own or leases


def _is_held(lease: Object) -> bool:
    return bool((lease.get("spec") or {}).get("holderIdentity"))


def _renewed(lease: Object) -> datetime.datetime:
    renewed = timestamps.parse((lease.get("spec") or {}).get("renewTime"))
    return renewed or datetime.datetime.min.replace(tzinfo=datetime.UTC)
