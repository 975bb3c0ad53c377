"""``simulate``: from what is observed and a changed spec to what will happen."""

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
UNBORN = "00000000-0000-0000-0000-000000000000"
"""Identity of a service that is not there yet."""


class End(StrEnum):
    """What a change comes to."""

    DONE = "Done"
    """All replicas that are asked for run what the spec asks for, and answer."""
    PAUSED = "Paused"
    """Replicas stay as they are, as spec.rollout.paused says."""
    NOT_ACCEPTED = "NotAccepted"
    """The operator refuses the spec; what runs goes on."""
    ROLLED_BACK = "RolledBack"
    """New replicas can't run; the operator goes back to what was there before."""
    STUCK = "Stuck"
    """It comes to a halt and stays there."""
    NO_BETTER = "NoBetter"
    """What keeps it from its end keeps the spec of before from it, too."""


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """How the service stands at one time."""

    replicas: int
    """Replicas that are asked for."""
    ready: int
    """Replicas that answer."""
    devices: int
    """Devices that its pods hold."""


@dataclasses.dataclass(frozen=True)
class SimulationResult:
    """What a change will do."""

    created: bool
    """Whether the service is not there yet."""
    changes: bool
    """Whether there is a change at all; where there is none, the rest tells what is under way."""
    before: StartingPoint
    after: StartingPoint
    end: End
    why: str
    """In the planner's words what keeps it from its end, and what a quota says; empty where nothing does."""
    steps: tuple[Step, ...]
    least_ready: int
    """The fewest replicas that answer at any time."""
    most_devices: int
    """The most devices that are held at any time."""
    spec: tuple[SpecChange, ...]
    """Fields of the spec that change."""
    children: tuple[ChildChange, ...]
    wanted: tuple[Object, ...] = ()
    """The children as the operator wants them, in the order in which it writes them."""
    pods_before: int = 0
    """Pods that are there."""
    most_pods: int = 0
    """The most pods that are there at any time."""
    disks_made: tuple[str, ...] = ()
    """Claims of replicas' own that are made."""
    disks_deleted: tuple[str, ...] = ()
    """The same deleted, with what they hold."""
    ways: tuple[UpdateWay, ...] = ()
    """In which way replicas are replaced and why; more than one if the first is given up on the way."""
    waits_for_consent: tuple[str, ...] = ()
    """What another version of the operator would change about pods, and does not until somebody agrees."""

    @property
    def succeeds(self) -> bool:
        """Whether the change comes to the end that it asks for, as far as it is in its own hands."""
        return self.end in (End.DONE, End.PAUSED, End.NO_BETTER)


def simulate(
    observed: Observed,
    service: Object,
    ground: ClusterCapacity = NOTHING_KNOWN,
    *,
    facts: ModelFacts | None = None,
    before_1_37: bool = False,
) -> SimulationResult:
    """What becomes of the service of ``observed`` once its spec and annotations are those of ``service``.

    A service that is not there yet is observed without a spec. ``facts``: what a read of the spec's model would find;
    None for nothing that speaks against the spec. Raises Endless where it comes to no end.
    """
    created = not observed.service.get("spec")
    start = _unborn(observed, service) if created else observed
    model = Simulator(start, ground, facts=facts, before_1_37=before_1_37)
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
        changes=created or spec_before != spec_after or _said(observed.service, service),
        before=before,
        after=StartingPoint(model.wanted, model.ready, model.devices),
        end=end,
        why=why,
        steps=model.diary.steps(),
        least_ready=model.diary.least_ready,
        most_devices=model.diary.most_devices,
        spec=() if created else spec_effects.of_change(owner, spec_before, spec_after, observed.platform),
        children=diff.children(had, model.asked, frozenset(model.children.released)) if model.asked else (),
        wanted=tuple(model.asked.values()),
        pods_before=pods_before,
        most_pods=model.diary.most_pods,
        disks_made=tuple(model.disks_made),
        disks_deleted=tuple(model.disks_deleted),
        ways=tuple(model.ways),
        waits_for_consent=tuple((status.get("upgrade") or {}).get("changes") or ()),
    )


def _unborn(observed: Observed, service: Object) -> Observed:
    meta = service["metadata"]
    born = {"name": meta["name"], "namespace": meta["namespace"], "uid": UNBORN, "generation": 1}
    told = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    return dataclasses.replace(observed, service={**service, "metadata": {**born, **told}})


def _with_count(after: dict[str, Any], before: Mapping[str, Any], created: bool) -> dict[str, Any]:
    """Where the spec leaves the count out, what runs stays."""
    if created or after.get("replicas") is not None or before.get("replicas") is None:
        return after
    return {**after, "replicas": before["replicas"]}


def _said(before: Object, after: Object) -> bool:
    """Whether somebody tells the operator something new by an annotation."""
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
    """What keeps it from its end, and what a quota says unless that is it."""
    if failure is not None:
        text, told = sentence(failure), {failure.reason}
    else:
        kinds = ("Accepted", "RolledOut", "Scheduled", "Serving")
        found = (condition for kind in kinds if (condition := model.condition(kind)))
        first = next((each for each in found if each.get("status") != "True"), model.condition("Ready"))
        text, told = str(first.get("message", "")), {str(first.get("reason"))}
        if reasons.LEAST_CAPACITY in told:  # its message has what keeps the surge pod from being made
            told |= {each["reason"] for each in (model.service.get("status") or {}).get("findings") or ()}
    refused = model.refused
    return text if refused is None or refused.reason in told else "; ".join(filter(None, (text, refused.message)))


def _worse(model: Simulator, start: Observed, ground: ClusterCapacity, before_1_37: bool) -> bool:
    """Whether the spec of before would come to a better end from here."""
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
