"""The operator dies at any write, or misses any event, and nobody can tell afterwards.

The undisturbed run counts writes and events; then the workload runs once for each of them, with that one disturbed,
and every step must come to the same end. Runs go side by side, each in a namespace of its own.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from campaigns.snapshot import Snapshot
from campaigns.workload import run_disturbed, run_undisturbed
from campaigns.world import CrashAtWrite, DropEvent, world
from support.cluster import Cluster

SIDE_BY_SIDE = 3
RESYNC = 5
"""Seconds between two sweeps where events are lost: nothing else can tell the operator."""

Choose = Callable[[int, int], Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What the workload comes to by itself."""

    snapshots: list[Snapshot]
    writes: int
    events: int


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> Undisturbed:
    """The workload once, with nothing in its way."""
    counting = DropEvent(0)
    with world(cluster, fault=counting) as made:
        snapshots = run_undisturbed(made)
        return Undisturbed(snapshots, len(made.proxy.writes()), counting.seen)


def side_by_side(run: Callable[[int], str], numbers: Sequence[int]) -> None:
    """Runs all; fails with every run that came to another end, and where most faults found nothing to disturb."""

    def verdict(number: int) -> tuple[bool, str]:
        try:
            hit = run(number)
        except AssertionError as error:
            return True, f"--- {number}: {error}"
        return bool(hit), ""

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        verdicts = list(pool.map(verdict, numbers))
    failures = [text for _, text in verdicts if text]
    assert not failures, f"{len(failures)} of {len(numbers)} runs went wrong:\n" + "\n".join(failures)
    hits = sum(hit for hit, _ in verdicts)
    assert hits >= 0.7 * len(numbers), f"only {hits} of {len(numbers)} faults struck: the runs prove too little"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("committed", [False, True], ids=["before-the-write", "after-the-write"])
def test_a_crash_at_any_write_changes_no_end(
    cluster: Cluster, undisturbed: Undisturbed, choose: Choose, committed: bool
) -> None:
    def run(number: int) -> str:
        fault = CrashAtWrite(number, committed=committed)
        with world(cluster, fault=fault) as made:
            fault.world = made
            try:
                run_disturbed(made, undisturbed.snapshots)
            except AssertionError as error:
                raise AssertionError(f"crash at {fault.hit}: {error}") from None
            return str(fault.hit or "")

    side_by_side(run, choose(undisturbed.writes, 5))


@pytest.mark.timeout(7200)
def test_any_lost_event_changes_no_end(cluster: Cluster, undisturbed: Undisturbed, choose: Choose) -> None:
    def run(number: int) -> str:
        fault = DropEvent(number)
        with world(cluster, fault=fault, resync=RESYNC) as made:
            try:
                run_disturbed(made, undisturbed.snapshots)
            except AssertionError as error:
                raise AssertionError(f"lost {fault.hit or 'nothing'}: {error}") from None
            return fault.hit

    side_by_side(run, choose(undisturbed.events, 6))
