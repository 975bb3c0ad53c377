"""Inputs that plans require beyond the caches: one reader for each ``Input``.

None of them is watched. They are read only if a plan requires them, and recent reads are shared.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from llmservice_operator.controller.cluster_capacity import FRESH_SECONDS, NOW_SECONDS, Capacity
from llmservice_operator.controller.field_owners import FieldOwners
from llmservice_operator.controller.gateway_counts import GatewayCounts
from llmservice_operator.controller.informer.event_reader import NamespaceEvents
from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.controller.memory_estimates import Estimates
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.planner.model.plan import Plan


@dataclasses.dataclass(frozen=True)
class InputRequest:
    """What a reader needs to know."""

    key: ServiceKey
    plan: Plan
    """The plan that requires the input."""
    found: Mapping[str, Any]
    """Inputs that were read for it already, by field of ``Observed``."""


Reader = Callable[[InputRequest], Awaitable[Any]]
"""Returns None if the operator may not or can't read the input."""


class Inputs:
    """Reads the inputs that plans require."""

    def __init__(
        self,
        capacity: Capacity,
        events: NamespaceEvents,
        estimates: Estimates,
        owners: FieldOwners,
        canaries: GatewayCounts,
    ) -> None:
        async def estimate(asked: InputRequest) -> Any:
            question = asked.plan.question
            return None if question is None else await estimates.of(asked.key, question)

        async def quotas(asked: InputRequest) -> Any:
            return await capacity.quotas(asked.key[0]) if "nodes" in asked.found else None

        self.readers: Mapping[Input, Reader] = {
            Input.ESTIMATE: estimate,
            Input.PRODUCTS: lambda asked: capacity.products(),
            Input.CURRENT_NODES: lambda asked: capacity.nodes_with(asked.plan.device, NOW_SECONDS),
            Input.NODES: lambda asked: capacity.nodes_with(asked.plan.device, FRESH_SECONDS),
            Input.QUOTAS: quotas,
            Input.HEALTH: lambda asked: capacity.health(),
            Input.VOLUMES: lambda asked: capacity.volumes(asked.key[0], asked.plan.claims),
            Input.ACCESS_MODES: lambda asked: capacity.access_modes(asked.key[0], asked.plan.shared_claims),
            Input.EVENTS: lambda asked: events.of(asked.key[0]),
            Input.CANARIES: lambda asked: canaries.of(asked.key),
            Input.FIELD_OWNERS: lambda asked: owners.of(asked.key, asked.plan.foreign_changes),
        }

    async def read(
        self, key: ServiceKey, plan: Plan, inputs: Iterable[Input], found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """``found``, which was read before, and the readable ones of ``inputs``, by field of ``Observed``."""
        result, wanted = dict(found), set(inputs)
        for each in Input:
            too_old = each is Input.CURRENT_NODES and result.get("nodes_are_old")
            if each in wanted and (each.field not in result or too_old):
                value = await self.readers[each](InputRequest(key, plan, result))
                if value is not None:
                    result[each.field] = value
                    if each.field == Input.NODES.field:
                        result["nodes_are_old"] = each is Input.NODES
        return result
