"""Detects another client than the autoscaler that sets the number of replicas: in a manifest of the service, or in an
object of the operator.

It is not a condition, because scaling continues. A client that applies a manifest owns the count only until the
autoscaler writes the next one, so it is stored in the status, and reported for an hour after its last write.
"""

import datetime

from llmservice_contract.finding import Finding
from llmservice_operator.api.status import ReplicasWriter
from llmservice_operator.planner.model import replicas_owner, timestamps
from llmservice_operator.planner.model.replicas_owner import FieldOwner
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.condition import Verdict
from llmservice_operator.resources import names

REPORTED = datetime.timedelta(hours=1)
"""How long a client is reported after its last write."""


def check(state: ServiceState) -> ReplicasWriter | None:
    """For the status: the last client that wrote the count recently; None if there is none."""
    found = _present(state) or state.replicas_writer
    if found is None or (found.kind == "LLMService" and not state.autoscaled):
        return None
    return found if state.observed.now < _until(state, found) else None


def evaluate(state: ServiceState) -> Result:
    """A finding if there is such a client. It never delays anything."""
    found = state.once(check)
    if found is None:
        return Result(None)
    return Result(
        Verdict("True", reasons.REPLICAS_SET_ELSEWHERE, "", findings=(_finding(state, found),)),
        recheck_at=_until(state, found),
    )


def _present(state: ServiceState) -> ReplicasWriter | None:
    """The client that owns a replica count now."""
    if state.statefulset is not None:
        found = next(iter(replicas_owner.owners(state.statefulset)), None)
        if found is not None:
            return _writer(state, found, "StatefulSet")
    if not state.autoscaled:
        return None
    hpa = state.child("HorizontalPodAutoscaler", names.autoscaler(state.owner.name))
    found = next(iter(replicas_owner.owners(hpa)), None) if hpa is not None else None
    if found is not None:
        return _writer(state, found, "HorizontalPodAutoscaler")
    found = next((each for each in replicas_owner.owners(state.observed.service) if not each.scale), None)
    return _writer(state, found, "LLMService") if found is not None else None


def _writer(state: ServiceState, owner: FieldOwner, kind: str) -> ReplicasWriter:
    at = owner.time if timestamps.parse(owner.time) is not None else timestamps.show(state.observed.now)
    return ReplicasWriter.model_validate({"manager": owner.manager or "unknown", "kind": kind, "time": at})


def _until(state: ServiceState, found: ReplicasWriter) -> datetime.datetime:
    """When the report ends: at most REPORTED from now, whatever time the client states."""
    at = timestamps.parse(found.time) or state.observed.now
    return min(at, state.observed.now) + REPORTED


def _finding(state: ServiceState, found: ReplicasWriter) -> Finding:
    name, manager = state.owner.name, found.manager
    if found.kind == "LLMService":
        return Finding(
            reasons.REPLICAS_SET_ELSEWHERE,
            f"field manager {manager} sets spec.replicas, which the autoscaler owns with spec.scaling; running "
            "replicas are kept",
            subject=manager,
            field="spec.replicas",
            fix=f"take replicas out of the manifest that {manager} applies, or have it ignore the field",
        )
    if found.kind == "StatefulSet":
        return Finding(
            reasons.REPLICAS_SET_ELSEWHERE,
            f"field manager {manager} sets spec.replicas of StatefulSet {names.engine_statefulset(name)}; the operator "
            "sets it back, and pods that stopped in between load the model again",
            subject=manager,
            field="spec.replicas",
            fix=f"scale LLMService {name} in place of its StatefulSet: spec.scaling, kubectl scale llms/{name}, or an "
            f"autoscaler whose scaleTargetRef is LLMService {name}",
        )
    return Finding(
        reasons.REPLICAS_SET_ELSEWHERE,
        f"field manager {manager} sets minReplicas or maxReplicas of HorizontalPodAutoscaler {names.autoscaler(name)}; "
        "the operator sets them back",
        subject=manager,
        field="spec.scaling",
        fix="set minReplicas and maxReplicas in spec.scaling",
    )
