"""The whole status of a service."""

from typing import Any

from llmservice_operator.api.status import LLMServiceStatus
from llmservice_operator.planner.actions.decision import decide
from llmservice_operator.planner.conditions import replicas_writer, scaling_active, serving
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.status import conditions, cost, placeable_replicas
from llmservice_operator.resources import names, services


def make_status(state: ServiceState) -> dict[str, Any]:
    """The status as JSON for the API server."""
    decision = state.once(decide)
    status = LLMServiceStatus(
        observed_generation=state.generation,
        replicas=_existing_replicas(state),
        ready_replicas=state.once(serving.check).ready,
        selector=",".join(
            f"{key}={value}" for key, value in names.selector(state.owner.name, names.ENGINE_COMPONENT).items()
        ),
        gpus=sum(map(_gpus, decision.children.statefulsets if decision.children else _live_statefulsets(state))),
        address=services.address(state.owner, state.observed.platform),
        model=decision.facts,
        memory=decision.fitting.memory,
        scaling=scaling_active.wanted(state),
        replicas_writer=state.once(replicas_writer.check),
        placeable_replicas=placeable_replicas.check(state) or state.placeable_replicas,
        cost=cost.check(state),
        findings=conditions.all_findings(state),
        upgrade=decision.offer,
        canary=decision.canary,
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    status["conditions"] = conditions.all_conditions(state)
    return status


def _existing_replicas(state: ServiceState) -> int:
    """Number of existing replicas. A surge replica is not counted, because an autoscaler would count it as desired."""
    live = state.statefulset or {}
    count = int((live.get("status") or {}).get("replicas") or 0)
    surplus = count - state.wanted_replicas
    record = Record.of(live) if live else None
    return count - 1 if record is not None and record.surge and surplus == 1 else count


def _live_statefulsets(state: ServiceState) -> list[Object]:
    leader = [state.statefulset] if state.statefulset is not None else []
    return [*leader, *state.worker_statefulsets.values()]


def _gpus(statefulset: Object) -> int:
    """Devices that all pods of one StatefulSet request: the extended resources in the limits."""
    spec: dict[str, Any] = statefulset["spec"]
    limits = [
        container.get("resources", {}).get("limits") or {} for container in spec["template"]["spec"]["containers"]
    ]
    per_replica = sum(int(count) for limit in limits for name, count in limit.items() if "/" in name)
    return int(spec.get("replicas", 1)) * per_replica
