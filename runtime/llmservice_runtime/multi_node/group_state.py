"""How rank 0 stands, and what follows for probes. Pure: `now` is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from llmservice_runtime.multi_node.rank_config import ranks


@dataclass(frozen=True, slots=True)
class GroupState:
    """Rank 0 at one moment: without `started` it waits for `missing` ranks, else its engine runs."""

    nodes: int
    missing: tuple[int, ...] = ()
    started: float | None = None
    """When the engine was started."""
    served: bool = False
    """Whether it has answered since."""
    stopping: bool = False


def not_ready(standing: GroupState) -> str:
    """Why requests should not come yet; empty if they should."""
    if standing.started is None:
        return f"waits for {ranks(standing.missing)} of {standing.nodes}" if standing.missing else "starts"
    if standing.stopping:
        return "stops"
    return "" if standing.served else "loads the model"


def overdue(standing: GroupState, now: float, startup_seconds: float) -> bool:
    """Whether the engine has been loading for longer than it may."""
    if standing.started is None or standing.served or standing.stopping:
        return False
    return now - standing.started > startup_seconds
