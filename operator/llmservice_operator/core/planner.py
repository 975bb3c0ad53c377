"""The decision on one service: ``plan(observed)``.

It depends on what was observed alone, and stores no progress: the same observation gives the same plan, and a plan that
was carried out, observed again, asks for nothing more.
"""

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import Ceiling, LLMServiceStatus, ModelFacts, UpgradeOffer
from llmservice_operator.core import (
    accept,
    autoscaling,
    billing,
    claims,
    cleanup,
    conditions,
    findings,
    groups,
    inspection,
    lost,
    nudge,
    pins,
    reasons,
    scheduled,
    serving,
    words,
)
from llmservice_operator.core.fit import ceiling, fitting
from llmservice_operator.core.fit.fitting import Fitting
from llmservice_operator.core.observed import EVENTS_SECONDS, NOTHING, Input, Object, Observed
from llmservice_operator.core.plan import Deletion, Event, Plan, Resize
from llmservice_operator.core.rollout.record import Record
from llmservice_operator.core.rollout.shape import shape
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict, yes
from llmservice_operator.render import access, environment, names, services
from llmservice_operator.render.children import Children, make_children

LONGEST_EVENT_BYTES = 1024
"""What the API server takes of an Event's text."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the spec leads to: the verdict on it, and what is written because of it."""

    accepted: Verdict
    objects: tuple[Object, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    facts: ModelFacts | None = None
    fitting: Fitting = dataclasses.field(default_factory=Fitting)
    ceiling: Ceiling | None = None
    """How many replicas could be placed; None where that is not known now."""
    releases: tuple[Deletion, ...] = ()
    statefulsets: tuple[Object, ...] = ()
    """The StatefulSets that should be; none where the spec is not accepted."""
    policy: Object | None = None
    """The ConfigMap with the access policy that should be; None where the spec is not accepted."""
    rolled_out: Verdict | None = None
    """Whether all replicas run what the spec asks for; None where the spec is not accepted."""
    offer: UpgradeOffer | None = None
    """What the installed operator would change about the pods, and does not without consent."""
    requeue_after: float | None = None
    changes_at: datetime.datetime | None = None
    """When a rollout changes by time alone."""
    requires: frozenset[Input] = NOTHING
    """What would change the decision."""


def plan(observed: Observed) -> Plan:
    """What to do for one service now. A service that is being deleted is left to the garbage collector."""
    if observed.service["metadata"].get("deletionTimestamp"):
        return Plan(why="being deleted")
    situation = Situation.of(observed)
    decision = decide(situation)
    placing = groups.place(situation)
    placed = scheduled.check(situation, placing)
    health = serving.check(situation)
    ready = conditions.summary(decision.accepted, placed, health.verdict, decision.rolled_out)
    scaling = autoscaling.check(situation, placed)
    problem = health.problem if not health.ready else None
    status = LLMServiceStatus(
        observed_generation=situation.generation,
        replicas=_existing_replicas(situation),
        ready_replicas=health.ready,
        selector=",".join(
            f"{key}={value}" for key, value in names.selector(situation.owner.name, names.ENGINE_COMPONENT).items()
        ),
        gpus=sum(map(_gpus, decision.statefulsets or _live_statefulsets(situation))),
        address=services.address(situation.owner, observed.platform),
        model=decision.facts,
        memory=decision.fitting.memory,
        scaling=autoscaling.wanted(situation),
        ceiling=decision.ceiling or situation.ceiling,
        cost=billing.check(situation),
        findings=findings.all_findings(
            [decision.accepted, placed],
            () if ready.good else health.problems,  # of one more than is asked for nobody has to know
            [decision.fitting.verdict, decision.rolled_out, scaling],
        ),
        upgrade=decision.offer,
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    status["conditions"] = conditions.all_conditions(
        situation,
        decision.accepted,
        decision.fitting.verdict,
        placed,
        health.verdict,
        decision.rolled_out,
        scaling,
        ready,
        problem,
    )
    accepted = decision.accepted.good
    return Plan(
        releases=decision.releases,
        objects=decision.objects,
        deletions=(*decision.deletions, *placing.deletions, *groups.strays(situation), *lost.deletions(situation)),
        admissions=placing.admissions,
        tells_of_itself=bool(placing.deletions),
        status=status,
        resizes=tuple(_resizes(situation)),
        replicas=situation.wanted_replicas if accepted and _replicas_absent(situation) else None,
        scale=autoscaling.step_of_ones_own(situation) if accepted else None,
        annotations=tuple(nudge.annotations(situation, decision.policy)),
        events=tuple(_events(situation, decision.accepted, ready, scaling)),
        requeue_after=_earliest(
            decision.requeue_after,
            _seconds_until(decision.changes_at, observed.now),
            _seconds_until(placing.changes_at, observed.now),
            _seconds_until(lost.changes_at(situation), observed.now),
            _seconds_until(health.changes_at, observed.now),
            _seconds_until(autoscaling.changes_at(situation), observed.now),
            _seconds_until(ceiling.due_at(situation), observed.now),
            scheduled.REFRESH_SECONDS if scheduled.unschedulable(situation) else None,
            EVENTS_SECONDS if serving.waits_for_events(health) or scheduled.needs_events(situation) else None,
        ),
        requires=decision.requires
        | placing.requires
        | scheduled.required(situation)
        | serving.required(situation, health)
        | lost.required(situation)
        | billing.required(situation),
        question=decision.fitting.question,
        claims=lost.claims_of_stranded(situation),
        why=f"Ready={ready.status} {ready.reason}",
    )


def decide(situation: Situation) -> Decision:
    """From the spec to children: accepted, with all of them; not accepted, with none touched."""
    objection = accept.check_spec(situation)
    if objection is not None or situation.spec is None:
        return Decision(objection or yes(reasons.ACCEPTED, ""), facts=situation.facts)
    spec, owner = situation.spec, situation.owner
    reading = inspection.read(situation, spec)
    retry = [reading.retry] if reading.retry is not None else []
    deletions = (
        *cleanup.obsolete_inspections(situation, [*reading.jobs, *retry]),
        *(cleanup.delete(job, "its model is read once more") for job in retry),
    )
    facts, fits = pins.used(situation, spec, reading.facts), fitting.check(situation, spec, reading)
    pinned = pins.pinned(spec, facts)
    variables = {**situation.environment, **environment.revisions(pinned)}
    rendered = make_children(owner, pinned, situation.observed.platform, situation.wanted_replicas, variables)
    children = dataclasses.replace(rendered, inspections=tuple(reading.jobs))
    objection = (
        accept.check_names(situation, children) or reading.verdict or accept.check_model(spec, facts) or fits.denied
    )
    if objection is not None:
        jobs = reading.jobs if objection.reason != reasons.NAME_TAKEN else ()
        return Decision(
            objection,
            (*children.network_policies, *jobs) if jobs else (),
            deletions,
            facts,
            fits,
            requeue_after=reading.requeue_after,
            requires=reading.requires | fits.requires,
        )
    shaped = shape(situation, spec, children)
    children = dataclasses.replace(children, workers=shaped.followers, leader=shaped.statefulset)
    return Decision(
        accepted=yes(reasons.ACCEPTED, _accepted_message(spec, reading)),
        objects=tuple(_in_season(situation, children)),
        deletions=(
            *shaped.deletions,
            *claims.obsolete(situation, spec, children.statefulsets),
            *cleanup.obsolete_children(situation, children),
            *deletions,
        ),
        releases=shaped.releases,
        facts=facts,
        fitting=fits,
        ceiling=ceiling.check(situation, spec, children.leader),
        statefulsets=children.statefulsets,
        policy=children.access,
        rolled_out=shaped.verdict,
        offer=shaped.offer,
        changes_at=shaped.changes_at,
        requires=fits.requires | shaped.requires | ceiling.required(situation, spec),
    )


def _in_season(situation: Situation, children: Children) -> Children:
    """An autoscaler complains of a service whose scale subresource has no selector yet: it is made at the next look."""
    told = (situation.observed.service.get("status") or {}).get("selector")
    return children if told else dataclasses.replace(children, autoscaler=None)


def _accepted_message(spec: LLMServiceSpec, reading: inspection.Reading) -> str:
    said = ["the spec makes sense"]
    if access.each_replica_counts(spec):
        said.append("rate limits count per replica, as access.rateLimits has no store")
    return "; ".join(said)


def _existing_replicas(situation: Situation) -> int:
    """One more that runs for a rollout is not counted: an autoscaler would take it for one that is asked for."""
    live = situation.statefulset or {}
    count = int((live.get("status") or {}).get("replicas") or 0)
    surplus = count - situation.wanted_replicas
    record = Record.of(live) if live else None
    return count - 1 if record is not None and record.surge and surplus == 1 else count


def _live_statefulsets(situation: Situation) -> list[Object]:
    leader = [situation.statefulset] if situation.statefulset is not None else []
    return [*leader, *situation.followers.values()]


def _gpus(statefulset: Object) -> int:
    """Devices that all pods of one StatefulSet ask for: the extended resources among the limits."""
    spec: dict[str, Any] = statefulset["spec"]
    limits = [
        container.get("resources", {}).get("limits") or {} for container in spec["template"]["spec"]["containers"]
    ]
    per_replica = sum(int(count) for limit in limits for name, count in limit.items() if "/" in name)
    return int(spec.get("replicas", 1)) * per_replica


def _resizes(situation: Situation) -> Iterator[Resize]:
    """The StatefulSets of all ranks, with the surge that a rollout has under way; leaders first."""
    count, leader = situation.count_of_newer, situation.statefulset
    if count is None or leader is None:
        return
    record = Record.of(leader)
    wanted = count + (record.surge if record is not None else 0)
    for live in (leader, *situation.followers.values()):
        meta = live["metadata"]
        if live["spec"].get("replicas", 1) != wanted and not meta.get("deletionTimestamp"):
            yield Resize(meta["namespace"], meta["name"], meta["uid"], wanted)


def _replicas_absent(situation: Situation) -> bool:
    return situation.spec is not None and situation.spec.replicas is None


def _events(situation: Situation, accepted: Verdict, ready: Verdict, scaling: Verdict | None) -> list[Event]:
    """One Event for a change of Ready, one for a change of Accepted that Ready does not tell, and one for each decision
    on the count and each obstacle to it."""
    found = []
    for kind, verdict in (("Accepted", accepted), ("Ready", ready)):
        told_by_ready = kind == "Accepted" and verdict.reason == ready.reason
        event = reasons.of(verdict.reason).event
        told = not told_by_ready and event is not reasons.EventType.NONE
        if told and conditions.changed(situation.previous, kind, verdict):
            normal = verdict.good or event is reasons.EventType.NORMAL
            message = words.within_bytes(verdict.message, LONGEST_EVENT_BYTES)
            found.append(Event("Normal" if normal else "Warning", verdict.reason, message))
    before = situation.previous.get("ScalingActive", {})
    news = scaling is not None and scaling.status != "Unknown" and before.get("message") != scaling.message
    if scaling is not None and news and (before or not scaling.good):
        message = words.within_bytes(scaling.message, LONGEST_EVENT_BYTES)
        found.append(Event("Normal" if scaling.good else "Warning", scaling.reason, message))
    return found


def _seconds_until(time: datetime.datetime | None, now: datetime.datetime) -> float | None:
    return None if time is None else max(1.0, (time - now).total_seconds())


def _earliest(*delays: float | None) -> float | None:
    return min((delay for delay in delays if delay is not None), default=None)
