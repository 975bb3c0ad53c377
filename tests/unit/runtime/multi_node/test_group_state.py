"""What probes hear of each standing of rank 0."""

from __future__ import annotations

import pytest

from llmservice_runtime.multi_node.group_state import GroupState, not_ready, overdue


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (GroupState(4, missing=(1, 3)), "waits for ranks 1 and 3 of 4"),
        (GroupState(2, missing=(1,)), "waits for rank 1 of 2"),
        (GroupState(4), "starts"),
        (GroupState(4, started=5.0), "loads the model"),
        (GroupState(4, started=5.0, served=True), ""),
        (GroupState(4, started=5.0, served=True, stopping=True), "stops"),
        (GroupState(4, started=5.0, stopping=True), "stops"),
    ],
)
def test_it_is_ready_once_it_serves(standing: GroupState, reason: str) -> None:
    assert not_ready(standing) == reason


def test_the_time_to_load_is_bounded_and_no_other() -> None:
    loading = GroupState(4, started=5.0)
    assert not overdue(loading, 15.0, startup_seconds=10)
    assert overdue(loading, 15.1, startup_seconds=10)
    for other in (
        GroupState(4, missing=(1,)),
        GroupState(4, started=5.0, served=True),
        GroupState(4, started=5.0, stopping=True),
    ):
        assert not overdue(other, 1000.0, startup_seconds=10)
