"""The operator crashes at any write, or misses any event, and the result is the same.

The undisturbed run counts writes and events; then the workload runs once for each of them, with that one disturbed,
and every step must come to the same end. Runs go side by side, each in a namespace of its own.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from campaigns.snapshot import Snapshot
from campaigns.workload import run_disturbed, run_undisturbed
from campaigns.world import CrashAtWrite, DropEvent, world
from support.campaign import FULL
from support.cluster import Cluster

SIDE_BY_SIDE = 3
RESYNC = 5
"""Seconds between two sweeps where events are lost: nothing else can tell the operator."""

Choose = Callable[[int, int], Sequence[int]]
Fault = TypeVar("Fault")


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What the workload comes to by itself."""

    snapshots: list[Snapshot]
    writes: int
    """How many."""
    events: Mapping[str, int]
    """How many of each sort."""


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> Undisturbed:
    """The workload once, with nothing in its way."""
    counting = DropEvent()
    with world(cluster, fault=counting) as made:
        snapshots = run_undisturbed(made)
        return Undisturbed(snapshots, len(made.proxy.writes()), dict(counting.seen))


def side_by_side(run: Callable[[Fault], str], faults: Sequence[Fault]) -> None:
    """Runs all; fails with every run that came to another end, and where most faults found nothing to disturb."""

    def verdict(fault: Fault) -> tuple[bool, str]:
        try:
            hit = run(fault)
        except AssertionError as error:
            return True, f"--- {fault}: {error}"
        return bool(hit), ""

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        verdicts = list(pool.map(verdict, faults))
    failures = [text for _, text in verdicts if text]
    assert not failures, f"{len(failures)} of {len(faults)} runs went wrong:\n" + "\n".join(failures)
    hits = sum(hit for hit, _ in verdicts)
    assert hits >= 0.7 * len(faults), f"only {hits} of {len(faults)} faults struck: the runs prove too little"


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

    side_by_side(run, choose(undisturbed.writes, 3))


@pytest.mark.timeout(7200)
def test_any_lost_event_changes_no_end(cluster: Cluster, undisturbed: Undisturbed) -> None:
    """Unless CAMPAIGN=full, one event of each sort: the first deletion, the last of anything else."""

    def run(one: tuple[str, int]) -> str:
        fault = DropEvent(*one)
        with world(cluster, fault=fault, resync=RESYNC) as made:
            try:
                run_disturbed(made, undisturbed.snapshots)
            except AssertionError as error:
                raise AssertionError(f"lost {fault.hit or 'nothing'}: {error}") from None
            return fault.hit

    def chosen(sort: str, count: int) -> range:
        if FULL:
            return range(1, count + 1)
        number = 1 if sort.startswith("DELETED") else count
        return range(number, number + 1)

    side_by_side(run, [(sort, each) for sort, count in undisturbed.events.items() for each in chosen(sort, count)])
