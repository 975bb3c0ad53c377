"""What probes hear of each standing of rank 0."""

from __future__ import annotations

import pytest

from llmservice_runtime.multi_node.group_state import Standing, not_ready, overdue


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(4, missing=(1, 3)), "waits for ranks 1 and 3 of 4"),
        (Standing(2, missing=(1,)), "waits for rank 1 of 2"),
        (Standing(4), "starts"),
        (Standing(4, started=5.0), "loads the model"),
        (Standing(4, started=5.0, served=True), ""),
        (Standing(4, started=5.0, served=True, stopping=True), "stops"),
        (Standing(4, started=5.0, stopping=True), "stops"),
    ],
)
def test_it_is_ready_once_it_serves(standing: Standing, reason: str) -> None:
    assert not_ready(standing) == reason


def test_the_time_to_load_is_bounded_and_no_other() -> None:
    loading = Standing(4, started=5.0)
    assert not overdue(loading, 15.0, startup_seconds=10)
    assert overdue(loading, 15.1, startup_seconds=10)
    for other in (
        Standing(4, missing=(1,)),
        Standing(4, started=5.0, served=True),
        Standing(4, started=5.0, stopping=True),
    ):
        assert not overdue(other, 1000.0, startup_seconds=10)
