"""``simulate``: from the observed state and a changed spec to the result of the change."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object, Observed
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.finding import sentence
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import Owner
from llmservice_operator.simulation import diff, spec_effects
from llmservice_operator.simulation.diff import ChildChange
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.simulator import Simulator
from llmservice_operator.simulation.spec_effects import SpecChange
from llmservice_operator.simulation.timeline import Step, UpdateWay

NOTHING_KNOWN = ClusterCapacity()
NEW_UID = "00000000-0000-0000-0000-000000000000"
"""Uid of a service that does not exist yet."""


_VOLUMES = frozenset({reasons.VOLUME_MOUNT_FAILED, reasons.VOLUME_IN_USE})
"""Why replicas of a rollout don't start, if its message only counts them."""


class End(StrEnum):
    """The result of a change."""

    DONE = "Done"
    """All desired replicas run the current spec and answer requests."""
    PAUSED = "Paused"
    """The rollout is paused by spec.rollout.paused."""
    NOT_ACCEPTED = "NotAccepted"
    """The operator does not accept the spec; running pods do not change."""
    ROLLED_BACK = "RolledBack"
    """New replicas can't run; the operator rolls back."""
    STUCK = "Stuck"
    """The rollout stops before it is finished."""
    NO_BETTER = "NoBetter"
    """The rollout can't finish for a reason that affects the previous spec too."""


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """The state of the service at one time."""

    replicas: int
    """Desired replicas."""
    ready: int
    """Replicas that answer requests."""
    devices: int
    """Devices held by its pods."""


@dataclasses.dataclass(frozen=True)
class SimulationResult:
    """The simulated effects of a change."""

    created: bool
    """Whether the service does not exist yet."""
    changes: bool
    """Whether there is a change. If not, the rest describes a rollout in progress."""
    before: StartingPoint
    after: StartingPoint
    end: End
    why: str
    """The operator's message if the change does not finish, and a quota's message; empty if there is none."""
    steps: tuple[Step, ...]
    least_ready: int
    """Minimum number of ready replicas."""
    most_devices: int
    """Maximum number of devices."""
    spec: tuple[SpecChange, ...]
    """Changed fields of the spec."""
    children: tuple[ChildChange, ...]
    wanted: tuple[Object, ...] = ()
    """The desired children, in the order in which they are applied."""
    pods_before: int = 0
    """Number of existing pods."""
    most_pods: int = 0
    """Maximum number of pods."""
    disks_made: tuple[str, ...] = ()
    """Volume claims of replicas that are created."""
    disks_deleted: tuple[str, ...] = ()
    """Volume claims of replicas that are deleted, with their data."""
    ways: tuple[UpdateWay, ...] = ()
    """Strategies with their reasons; more than one if the first one is replaced during the rollout."""
    requires_approval: tuple[str, ...] = ()
    """What another version of the operator would change about pods after an approval."""

    @property
    def succeeds(self) -> bool:
        """Whether the change finishes, unless something else prevents it."""
        return self.end in (End.DONE, End.PAUSED, End.NO_BETTER)


def simulate(
    observed: Observed,
    service: Object,
    ground: ClusterCapacity = NOTHING_KNOWN,
    *,
    facts: ModelFacts | None = None,
    draft: Mapping[str, Any] | None = None,
    before_1_37: bool = False,
) -> SimulationResult:
    """The effects on the observed service if its spec and annotations become those of ``service``.

    A service that does not exist yet is observed without a spec. ``facts``: the result of an inspection of the model;
    None if it finds nothing that contradicts the spec. ``draft``: config.json of the draft model, if it is known.
    Raises DidNotConverge.
    """
    created = not observed.service.get("spec")
    start = _new_service(observed, service) if created else observed
    model = Simulator(start, ground, facts=facts, draft=draft, before_1_37=before_1_37)
    had = {} if created else model.children.snapshot()
    before = StartingPoint(0 if created else _wanted(model), model.ready, model.devices)
    pods_before = len(model.pods)
    spec_before = dict(observed.service.get("spec") or {})
    spec_after = _with_count(dict(service["spec"]), spec_before, created)
    if not created:
        model.change(spec_after, (service["metadata"].get("annotations") or None))
    model.run()
    meta = model.service["metadata"]
    owner = Owner(meta["name"], meta["namespace"], meta["uid"])
    end, why = _end(model)
    if end in (End.STUCK, End.ROLLED_BACK) and not created and not _worse(model, start, ground, before_1_37):
        end = End.NO_BETTER
    status = model.service.get("status") or {}
    return SimulationResult(
        created=created,
        changes=created or spec_before != spec_after or _annotated(observed.service, service),
        before=before,
        after=StartingPoint(model.wanted, model.ready, model.devices),
        end=end,
        why=why,
        steps=model.timeline.steps(),
        least_ready=model.timeline.least_ready,
        most_devices=model.timeline.most_devices,
        spec=() if created else spec_effects.of_change(owner, spec_before, spec_after, observed.platform),
        children=diff.children(had, model.asked, frozenset(model.children.released)) if model.asked else (),
        wanted=tuple(model.asked.values()),
        pods_before=pods_before,
        most_pods=model.timeline.most_pods,
        disks_made=tuple(model.disks_made),
        disks_deleted=tuple(model.disks_deleted),
        ways=tuple(model.ways),
        requires_approval=tuple((status.get("upgrade") or {}).get("changes") or ()),
    )


def _new_service(observed: Observed, service: Object) -> Observed:
    meta = service["metadata"]
    new = {"name": meta["name"], "namespace": meta["namespace"], "uid": NEW_UID, "generation": 1}
    annotations = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    return dataclasses.replace(observed, service={**service, "metadata": {**new, **annotations}})


def _with_count(after: dict[str, Any], before: Mapping[str, Any], created: bool) -> dict[str, Any]:
    """If the spec has no replica count, the current count stays."""
    if created or after.get("replicas") is not None or before.get("replicas") is None:
        return after
    return {**after, "replicas": before["replicas"]}


def _annotated(before: Object, after: Object) -> bool:
    """Whether an annotation requests something new of the operator."""
    asked = pods.annotations(after)
    keys = (names.UPGRADE_ANNOTATION, names.REFRESH_ANNOTATION)
    return any(key in asked and asked[key] != pods.annotations(before).get(key) for key in keys)


def _end(model: Simulator) -> tuple[End, str]:
    accepted, rolled_out = model.condition("Accepted"), model.condition("RolledOut")
    record, rollout = model.record, (model.service.get("spec") or {}).get("rollout") or {}
    if accepted.get("status") == "False":
        return End.NOT_ACCEPTED, str(accepted.get("message", ""))
    good = rolled_out.get("status") == "True"
    if good and model.ready >= model.wanted:
        return End.DONE, ""
    if record is not None and record.failure is not None:
        return End.ROLLED_BACK, _why(model, record.failure.finding)
    if rollout.get("paused") and not good:
        return End.PAUSED, str(rolled_out.get("message", ""))
    return End.STUCK, _why(model, None)


def _why(model: Simulator, failure: Finding | None) -> str:
    """Why the change does not finish, and the message of a quota unless that is the reason."""
    if failure is not None:
        text, known = sentence(failure), {failure.reason}
    else:
        kinds = ("Accepted", "RolledOut", "Scheduled", "Serving")
        found = (condition for kind in kinds if (condition := model.condition(kind)))
        first = next((each for each in found if each.get("status") != "True"), model.condition("Ready"))
        text, known = str(first.get("message", "")), {str(first.get("reason"))}
        findings = (model.service.get("status") or {}).get("findings") or ()
        if reasons.LEAST_CAPACITY in known:  # its message has what keeps the surge pod from being made
            known |= {each["reason"] for each in findings}
        text = "; ".join([text, *(each["message"] for each in findings if each["reason"] in _VOLUMES - known)])
    refused = model.refused
    return text if refused is None or refused.reason in known else "; ".join(filter(None, (text, refused.message)))


def _worse(model: Simulator, start: Observed, ground: ClusterCapacity, before_1_37: bool) -> bool:
    """Whether the previous spec would lead to a better result."""
    base = Simulator(start, ground, before_1_37=before_1_37)
    base.run()
    same = _template(base) == _template(model)
    rolled_out = model.condition("RolledOut").get("status") == "True"
    return model.wanted - model.ready > base.wanted - base.ready or not (rolled_out or same)


def _template(model: Simulator) -> str:
    return model.record.template if model.record is not None else ""


def _wanted(model: Simulator) -> int:
    spec = model.service.get("spec") or {}
    if spec.get("replicas") is not None:
        return int(spec["replicas"])
    return sum(pods.rank(pod.json) == 0 for pod in model.pods.values())
