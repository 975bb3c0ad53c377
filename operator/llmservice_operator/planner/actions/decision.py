"""From the spec to the children: whether the spec is accepted, and which objects to write."""

import dataclasses

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import CanaryStatus, ModelFacts, UpgradeOffer
from llmservice_operator.planner.actions import pruning
from llmservice_operator.planner.conditions import accepted, fits, model_inspection, routed
from llmservice_operator.planner.conditions.fits import Fitting
from llmservice_operator.planner.model import foreign_changes, revisions, volume_claims
from llmservice_operator.planner.model.foreign_changes import ForeignChange
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.result import NO_RESULT, Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.condition import Verdict, yes
from llmservice_operator.planner.rollout.planner import plan_rollout
from llmservice_operator.resources import access, environment
from llmservice_operator.resources.children import Children, make_children


@dataclasses.dataclass(frozen=True)
class Decision:
    """The result for a spec."""

    accepted: Verdict
    objects: tuple[Object, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    facts: ModelFacts | None = None
    fitting: Fitting = dataclasses.field(default_factory=Fitting)
    reading: Result = NO_RESULT
    """The progress of the model inspection."""
    releases: tuple[Deletion, ...] = ()
    children: Children | None = None
    """The desired children; None if the spec is not accepted."""
    rolled_out: Result = NO_RESULT
    """Whether all replicas run the current spec; without a verdict if the spec is not accepted."""
    offer: UpgradeOffer | None = None
    """What this version of the operator would change about the pods after an approval."""
    canary: CanaryStatus | None = None
    """How the gateway splits requests."""
    foreign_changes: tuple[ForeignChange, ...] = ()
    """What others have changed in the live objects."""


def decide(state: ServiceState) -> Decision:
    """Accepted, with all children; or not accepted, and no child changes."""
    made = _decide(state)
    found = {each.key: each for each in foreign_changes.of_children(state, made.objects)}
    found |= {each.key: each for each in made.foreign_changes}
    return dataclasses.replace(made, foreign_changes=tuple(found.values()))


def _decide(state: ServiceState) -> Decision:
    objection = accepted.check_spec(state)
    if objection is not None or state.spec is None:
        return Decision(objection or yes(reasons.ACCEPTED, ""), facts=state.facts)
    spec, owner = state.spec, state.owner
    reading = model_inspection.read(state, spec)
    retry = [reading.retry] if reading.retry is not None else []
    deletions = (
        *pruning.obsolete_inspections(state, [*reading.jobs, *retry]),
        *(deletion_of(job, "its model is read again") for job in retry),
    )
    facts, fitting = revisions.used(state, spec, reading.facts), fits.check(state, spec, reading)
    pinned = revisions.pinned(spec, facts)
    variables = {**state.environment, **environment.revisions(pinned)}
    rendered = make_children(owner, pinned, state.observed.platform, state.wanted_replicas, variables)
    children = dataclasses.replace(routed.without_conflicts(state, rendered), inspections=tuple(reading.jobs))
    objection = (
        accepted.check_names(state, children)
        or reading.result.verdict
        or accepted.check_model(spec, facts)
        or fitting.denied
    )
    if objection is not None:
        trusted = [children.platform_ca] if children.platform_ca is not None else []
        jobs = reading.jobs if objection.reason != reasons.NAME_TAKEN else ()
        return Decision(
            objection,
            (*children.network_policies, *trusted, *jobs) if jobs else (),
            deletions,
            facts,
            fitting,
            reading=reading.result,
        )
    contested = [foreign_changes.of_contested(state, each) for each in children.statefulsets]
    shaped = plan_rollout(state, spec, children)
    children = dataclasses.replace(children, workers=shaped.worker_statefulsets, leader=shaped.statefulset)
    # Without a selector in the status the autoscaler would fail.
    has_selector = bool((state.observed.service.get("status") or {}).get("selector"))
    return Decision(
        accepted=yes(reasons.ACCEPTED, _accepted_message(spec, reading)),
        objects=tuple(children if has_selector else dataclasses.replace(children, autoscaler=None)),
        deletions=(
            *shaped.deletions,
            *volume_claims.obsolete(state, spec, children.statefulsets),
            *pruning.obsolete_children(state, children),
            *deletions,
        ),
        foreign_changes=tuple(each for each in contested if each is not None),
        releases=shaped.releases,
        facts=facts,
        fitting=fitting,
        reading=reading.result,
        children=children,
        rolled_out=shaped.result,
        offer=shaped.offer,
        canary=shaped.canary,
    )


def accepted_condition(state: ServiceState) -> Result:
    """The condition Accepted."""
    made = state.once(decide)
    return Result(made.accepted, made.reading.requires, made.reading.recheck_at)


def fits_condition(state: ServiceState) -> Result:
    """The condition Fits."""
    return state.once(decide).fitting.result


def rolled_out_condition(state: ServiceState) -> Result:
    """The condition RolledOut."""
    return state.once(decide).rolled_out


def _accepted_message(spec: LLMServiceSpec, reading: model_inspection.Reading) -> str:
    said = ["Spec is valid."]
    if access.each_replica_counts(spec):
        said.append("Each replica counts rate limits by itself because access.rateLimits has no store.")
    return " ".join(said)
