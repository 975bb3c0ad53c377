"""The state of rank 0, and what follows for its probes. Pure: `now` is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from llmservice_runtime.multi_node.rank_config import ranks


@dataclass(frozen=True, slots=True)
class GroupState:
    """State of rank 0: if `started` is None it waits for `missing` ranks, otherwise its engine runs."""

    nodes: int
    missing: tuple[int, ...] = ()
    started: float | None = None
    """When the engine was started."""
    served: bool = False
    """Whether the engine has been ready since."""
    stopping: bool = False


def not_ready(standing: GroupState) -> str:
    """Why the replica is not ready; empty if it may be."""
    if standing.started is None:
        return f"waits for {ranks(standing.missing)} of {standing.nodes}" if standing.missing else "starts"
    if standing.stopping:
        return "stops"
    return "" if standing.served else "loads the model"


def overdue(standing: GroupState, now: float, startup_seconds: float) -> bool:
    """Whether loading takes longer than the startup budget."""
    if standing.started is None or standing.served or standing.stopping:
        return False
    return now - standing.started > startup_seconds
