"""Makes a report from the snapshot of a service. Pure.

The operator's findings and conditions come first, with its messages. Events from which it made them are omitted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmservice_contract.finding import Finding, NotAFinding, finding_from_json
from llmservice_operator.cli.explain import cluster, operator_health, phrases, pods
from llmservice_operator.cli.explain.snapshot import ServiceSnapshot
from llmservice_operator.planner.model.pods import ready as pod_is_ready
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.phrases import join_truncated
from llmservice_operator.planner.report.reasons import ConditionType
from llmservice_operator.planner.status import conditions as _  # noqa: F401 - adds the rest of the reasons

Object = Mapping[str, Any]
_SUMS = frozenset({"Ready", "Reconciling", "Stalled"})
"""Conditions that repeat another one."""
_ASIDE = frozenset({"Fits", "ScalingActive", "Routed"})
"""Conditions that do not keep a service from being Ready, unless Ready has their reason."""


@dataclasses.dataclass(frozen=True)
class Cause:
    """A cause of a problem."""

    finding: Finding
    condition: str = ""
    """The condition that reports it; empty for an entry of status.findings, which is certain or likely."""

    @property
    def reason(self) -> str:
        """Its name for programs."""
        return self.finding.reason


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod of the engine."""

    name: str
    state: str
    node: str
    age: str
    restarts: int
    ready: bool


@dataclasses.dataclass(frozen=True)
class WarningEvent:
    """An Event."""

    age: str
    kind: str
    """Normal or Warning."""
    reason: str
    about: str
    message: str


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that is reported about one service."""

    namespace: str
    name: str
    ready: bool
    """Whether the newest spec is Ready."""
    headline: str
    """Ready or not, for which reason, since when."""
    operator: str
    """What is wrong with the operator; empty if nothing is."""
    wants: str
    present: str
    room: str
    """Placeable replicas, if these are fewer than may be desired."""
    memory: str
    """Message of the condition Fits; empty if it is not True."""
    cost: str
    causes: tuple[Cause, ...]
    also: tuple[Cause, ...]
    """Problems that do not keep the service from being Ready."""
    waits: str
    """The upgrade that requires approval."""
    pods: tuple[Pod, ...]
    scaling: str
    quotas: tuple[str, ...]
    nodes: str
    events: tuple[WarningEvent, ...]
    logs: Mapping[str, str]
    unread: tuple[str, ...]


def make(seen: ServiceSnapshot, now: datetime.datetime) -> Report:
    """The report at ``now``."""
    service = seen.service
    meta, spec, status = service["metadata"], service.get("spec") or {}, service.get("status") or {}
    ready: Object = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    is_ready = ready.get("status") == "True" and not operator_health.is_behind(service)
    causes, also = _causes(status, ready)
    reported = tuple(each.finding for each in (*causes, *also))
    return Report(
        namespace=meta["namespace"],
        name=meta["name"],
        ready=is_ready,
        headline=_headline(ready, is_ready, now),
        operator=operator_health.warning(service, seen.leases, now),
        wants=phrases.wanted(spec),
        present=_present(spec, status),
        room=_room(spec, status.get("placeableReplicas") or {}),
        memory=_condition(status, "Fits"),
        cost=_cost(status.get("cost") or {}),
        causes=causes,
        also=also,
        waits=_waits(meta, status),
        pods=tuple(_pod(pod, now) for pod in seen.pods or ()),
        scaling=cluster.autoscaler(seen.autoscaler) if not _has_scaling(reported) else "",
        quotas=() if is_ready else tuple(cluster.full_quotas(seen.quotas)),
        nodes=cluster.holders(seen.nodes, seen.pods or ()) if seen.nodes is not None else "",
        events=() if is_ready else tuple(_events(seen.events, reported, now)),
        logs=seen.logs,
        unread=_unread(seen),
    )


def _headline(ready: Object, is_ready: bool, now: datetime.datetime) -> str:
    if not ready:
        return "unknown"
    since = phrases.age(ready.get("lastTransitionTime"), now)
    lasted = f" for {since}" if since else ""
    if is_ready:
        return f"Ready{lasted}"
    if ready.get("status") == "True":
        return "was Ready with an earlier spec"
    return f"not Ready{lasted}: {ready.get('reason', '')}"


def _causes(status: Object, ready: Object) -> tuple[tuple[Cause, ...], tuple[Cause, ...]]:
    """What keeps the service from being Ready, and other problems."""
    findings = [Cause(found) for found in _findings(status)]
    reported = {each.reason for each in findings}
    conditions = [
        Cause(Finding(each.get("reason", ""), each.get("message", "")), each["type"])
        for each in status.get("conditions") or ()
        if each["type"] not in _SUMS and each["status"] != "True" and each.get("reason") not in reported
    ]
    if ready.get("status") == "True":
        return (), (*findings, *conditions)
    aside = {each.get("reason") for each in status.get("conditions") or () if each["type"] in _ASIDE}
    aside.discard(ready.get("reason"))
    if not findings:
        grave = [cause for cause in conditions if cause.reason == ready.get("reason")]
        rest = [
            cause
            for cause in conditions
            if cause.reason != ready.get("reason") and cause.finding.message != ready.get("message")
        ]
        first = grave or ([Cause(Finding(ready["reason"], ready.get("message", "")), "Ready")] if ready else [])
        return tuple(first[:1]), tuple(rest)
    return (
        tuple(each for each in findings if each.reason not in aside),
        tuple(each for each in findings if each.reason in aside)
        + tuple(
            cause for cause in conditions if cause.condition in _ASIDE and cause.finding.message != ready.get("message")
        ),
    )


def _findings(status: Object) -> Iterator[Finding]:
    for each in status.get("findings") or ():
        with contextlib.suppress(NotAFinding):
            yield finding_from_json(each)


def _present(spec: Object, status: Object) -> str:
    if not status:
        return "unknown"
    ready, wanted = int(status.get("readyReplicas") or 0), spec.get("replicas")
    text = f"{ready} of {phrases.count(int(wanted), 'replica')} ready" if wanted is not None else f"{ready} ready"
    gpus = int(status.get("gpus") or 0)
    text += f"; {phrases.count(gpus, 'GPU')} requested" if gpus else ""
    return text + (f"; clients inside the cluster use {status['address']}" if status.get("address") else "")


def _room(spec: Object, placeable: Object) -> str:
    """Placeable replicas, if these are fewer than the desired replicas or than the autoscaler's maximum."""
    most = max(int(spec.get("replicas") or 0), int((spec.get("scaling") or {}).get("maxReplicas") or 0))
    if not placeable or int(placeable["replicas"]) >= most:
        return ""
    return f"for {placeable['replicas']} of {phrases.count(most, 'replica')}: {placeable.get('message', '')}"


def _cost(cost: Object) -> str:
    if not cost:
        return ""
    lines = [
        f"{each['count']} x {each.get('product', 'an unknown product')}"
        + (
            f" at {each['price']} ({each.get('source')}, {each.get('date')})"
            if each.get("price")
            else " without a price"
        )
        for each in cost.get("gpus") or ()
    ]
    held = f": {join_truncated(lines, most=4)}" if lines else " (the service has no GPUs)"
    if "perHour" in cost:
        return f"{cost['currency']} {cost['perHour']} an hour{held}"
    return f"unknown{held}. {_sentence(cost.get('message', ''))}"


def _condition(status: Object, kind: str) -> str:
    """Message of a condition that is True: others are among the causes."""
    found: Object = next((each for each in status.get("conditions") or () if each["type"] == kind), {})
    return str(found.get("message") or "") if found.get("status") == "True" else ""


def _waits(meta: Object, status: Object) -> str:
    offer = status.get("upgrade")
    if not offer:
        return ""
    options = f"{meta['name']} -n {meta['namespace']}"
    return f"version {offer['version']} would change its pods: `kubectl llm upgrade-check {options}`"


def _pod(pod: Object, now: datetime.datetime) -> Pod:
    meta = pod["metadata"]
    return Pod(
        name=meta["name"],
        state=pods.state(pod),
        node=pods.node(pod),
        age=phrases.age(meta.get("creationTimestamp"), now),
        restarts=pods.restarts(pod),
        ready=pod_is_ready(pod),
    )


def _has_scaling(reported: Sequence[Finding]) -> bool:
    return any(ConditionType.SCALING_ACTIVE in reasons.of(each.reason).conditions for each in reported)


def _is_reported(event: Object, reported: Sequence[Finding]) -> bool:
    """Whether one of the operator's findings was made from this Event or similar ones."""
    about, reason = event.get("involvedObject") or {}, str(event.get("reason") or "")
    return any(
        reasons.of(each.reason).reported_by(reason)
        and (about.get("kind") != "Pod" or each.affected_pods != 1 or each.subject == about.get("name"))
        for each in reported
    )


def _events(events: Sequence[Object], reported: Sequence[Finding], now: datetime.datetime) -> Iterator[WarningEvent]:
    """Warnings, the newest first, each message once, without those from which the operator made a finding."""
    known = set[str]()
    for event in sorted(events, key=_last, reverse=True):
        message = " ".join(str(event.get("message") or "").split())
        about = event.get("involvedObject") or {}
        own = about.get("kind") == "LLMService" or event.get("type") != "Warning"
        bare = message.startswith("Error: ") and " " not in message.removeprefix("Error: ")
        if own or bare or message in known or _is_reported(event, reported):
            continue
        known.add(message)
        yield WarningEvent(
            age=phrases.age(_last(event), now),
            kind=str(event.get("type") or ""),
            reason=str(event.get("reason") or ""),
            about=f"{str(about.get('kind') or '').lower()} {about.get('name') or ''}".strip(),
            message=message,
        )


def _last(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    created = event["metadata"].get("creationTimestamp")
    return str(next((each for each in (*times, created) if each), ""))


def _unread(seen: ServiceSnapshot) -> tuple[str, ...]:
    lacking = [what for what, why in seen.unread if not why]
    others = [f"{what}: {why}" for what, why in seen.unread if why]
    return (*((f"{join_truncated(lacking, most=8)} (you lack the permission)",) if lacking else ()), *others)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
