"""What holds for the algorithm whatever it sees, in whatever order."""

import dataclasses
import datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.looks import BETWEEN_TOKENS, FIRST_TOKEN, START
from llmservice_operator.autoscaling import latency_algorithm
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingDecision, ScalingInputs
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.signals import Signals
from llmservice_operator.autoscaling.state import AutoscalerState

TARGETS = (FIRST_TOKEN, BETWEEN_TOKENS)
BOUNDS = ReplicaBounds(1, 64)

seconds = st.floats(0.001, 100)
rates = st.one_of(st.just(0.0), st.floats(0, 1000))
gauges = st.one_of(st.just(0.0), st.floats(0, 500))


@st.composite
def signals(draw: st.DrawFn) -> Signals:
    latencies = {}
    if draw(st.booleans()):
        latencies[Latency.TIME_TO_FIRST_TOKEN] = {99: draw(seconds)}
    if draw(st.booleans()):
        latencies[Latency.INTER_TOKEN_LATENCY] = {90: draw(seconds)}
    return Signals(latencies, draw(rates), draw(gauges), draw(gauges), draw(st.integers(0, 70)))


@dataclasses.dataclass(frozen=True)
class Look:
    signals: Signals | None
    fleet: ReplicaCounts
    after: float


@st.composite
def looks(draw: st.DrawFn) -> Look:
    serving = draw(st.integers(0, 64))
    return Look(
        draw(st.one_of(st.none(), signals())),
        ReplicaCounts(draw(st.integers(0, 64)), max(serving, draw(st.integers(0, 64))), serving),
        draw(st.floats(0, 400)),
    )


@dataclasses.dataclass(frozen=True)
class Seen:
    before: AutoscalerState
    look: Look
    after: AutoscalerState
    decision: ScalingDecision
    now: datetime.datetime


def follow(count: int, story: list[Look], bounds: ReplicaBounds = BOUNDS) -> list[Seen]:
    memory, now, seen = latency_algorithm.initial_state(count, START), START, []
    for look in story:
        now += datetime.timedelta(seconds=look.after)
        after, decision = latency_algorithm.step(memory, ScalingInputs(look.signals, TARGETS, bounds, look.fleet, now))
        seen.append(Seen(memory, look, after, decision, now))
        memory = after
    return seen


stories = st.lists(looks(), min_size=1, max_size=20)
counts = st.integers(1, 64)


@given(counts, stories, st.integers(0, 64), st.integers(1, 64))
def test_always_within_the_bounds(count: int, story: list[Look], one: int, other: int) -> None:
    bounds = ReplicaBounds(min(one, other), max(one, other))
    for seen in follow(count, story, bounds):
        asleep = seen.decision.count == 0 and bounds.minimum == 0
        assert asleep or max(1, bounds.minimum) <= seen.decision.count <= bounds.maximum
        assert seen.decision.load is None or 0 <= seen.decision.load <= latency_algorithm.CLAMP
        assert seen.decision.changed == (seen.before.count != seen.after.count)


@given(counts, stories)
def test_unknown_never_lowers(count: int, story: list[Look]) -> None:
    for seen in follow(count, story):
        if seen.look.signals is None or seen.look.signals.pods < seen.look.fleet.ready:
            assert seen.after.count >= seen.before.count


@given(counts, stories)
def test_the_load_is_none_where_nothing_is_known(count: int, story: list[Look]) -> None:
    for seen in follow(count, story):
        if seen.look.signals is None:
            assert seen.decision.load is None


@given(counts, stories)
def test_never_more_than_twice_what_serves(count: int, story: list[Look]) -> None:
    for seen in follow(count, story):
        if seen.after.count > seen.before.count:
            assert seen.after.count <= max(1, latency_algorithm.CLAMP * seen.look.fleet.ready)


@given(counts, stories)
def test_less_than_half_only_where_there_are_no_requests(count: int, story: list[Look]) -> None:
    for seen in follow(count, story):
        look = seen.look.signals
        if look and (look.latencies or look.running or look.waiting or look.finished_per_second):
            assert seen.after.count >= min(seen.before.count, (seen.look.fleet.ready + 1) // 2)


@given(counts, stories)
def test_the_words_change_with_the_count_alone(count: int, story: list[Look]) -> None:
    for seen in follow(count, story):
        same = seen.after.why == seen.before.why
        assert same == (not seen.decision.changed)
        if seen.decision.changed:
            assert seen.after.why.startswith(f"{seen.before.count} -> {seen.after.count}: ")
            assert not seen.after.why.endswith(": ")


@given(counts, stories, seconds, st.floats(1, 10))
def test_slower_never_means_fewer(count: int, story: list[Look], first_token: float, factor: float) -> None:
    before = follow(count, story)[-1]
    fleet = before.look.fleet
    now = before.now + datetime.timedelta(seconds=15)

    def decided(time: float) -> int:
        look = Signals({Latency.TIME_TO_FIRST_TOKEN: {99: time}}, 5.0, 20.0, 0.0, fleet.ready)
        return latency_algorithm.step(before.after, ScalingInputs(look, TARGETS, BOUNDS, fleet, now))[1].count

    assert decided(first_token * factor) >= decided(first_token)


@given(st.integers(1, 32), st.lists(seconds, min_size=1, max_size=40))
def test_what_does_not_become_ready_is_never_counted_twice(serving: int, times: list[float]) -> None:
    fleet = ReplicaCounts(64, 64, serving)
    story = [Look(Signals({Latency.TIME_TO_FIRST_TOKEN: {99: time}}, 5, 500, 9, 64), fleet, 15) for time in times]
    assert max(seen.decision.count for seen in follow(serving, story)) <= latency_algorithm.CLAMP * serving


@settings(max_examples=50)
@given(st.integers(1, 32), st.lists(st.tuples(seconds, st.integers(1, 20)), min_size=1, max_size=8))
def test_how_often_it_looks_does_not_matter(serving: int, periods: list[tuple[float, int]]) -> None:
    """Each period has one latency; a loop that looks five times as often is at the same count at its end."""

    def ends(parts: int) -> list[tuple[int, float | None]]:
        story = []
        for time, quarters in periods:
            look = Signals({Latency.TIME_TO_FIRST_TOKEN: {99: time}}, 5, 500, 0, 64)
            story += [Look(look, ReplicaCounts(serving, serving, serving), 15 / parts)] * (quarters * parts)
        seen = follow(serving, [Look(story[0].signals, story[0].fleet, 0), *story])
        return [(each.decision.count, each.decision.load) for each in seen[::parts][1:]]

    for (few, load), (many, same) in zip(ends(1), ends(5), strict=True):
        assert abs(few - many) <= max(1, few * 0.35)
        assert load is not None and same is not None
        assert abs(load - same) < 1e-6


@given(counts, st.lists(st.floats(0, 400), min_size=2, max_size=30))
def test_an_outage_of_any_length_holds_the_count(count: int, pauses: list[float]) -> None:
    fleet = ReplicaCounts(count, count, count)
    found = follow(count, [Look(None, fleet, pause) for pause in pauses])
    assert all(one.decision.count == other.decision.count == count for one, other in pairwise(found))
