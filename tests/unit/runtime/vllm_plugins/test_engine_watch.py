"""When an engine is not ready, and when it hangs: by what arrives from it, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmservice_runtime.vllm_plugins.engine_watch import (
    ASK_SECONDS,
    BUSY_NOT_READY_SECONDS,
    MOST_TICK_SECONDS,
    NOT_READY_SECONDS,
    PROBE_SECONDS,
    QUIET_SECONDS,
    STALLED_SECONDS,
    Activity,
    EngineWatch,
)

STEP = 300.0


class Engine:
    """An engine under watch: one tick per second."""

    def __init__(self, activity: Activity = Activity.BUSY, step_seconds: float = STEP) -> None:
        self.activity = activity
        self.watch = EngineWatch(step_seconds, lambda: self.activity)
        self.requests = 1
        self.is_probed = False

    def pass_seconds(self, seconds: float, evidence: Callable[[], None] | None = None) -> None:
        """So many seconds, each with this evidence."""
        for _ in range(round(seconds)):
            if evidence is not None:
                evidence()
            self.watch.tick(1.0, self.requests, self.is_probed)

    def until(self, condition: Callable[[], object], most: float = 10_000) -> float:
        """Seconds until the condition holds."""
        for second in range(int(most)):
            if condition():
                return second
            self.pass_seconds(1)
        pytest.fail(f"not within {most} s")


@pytest.mark.parametrize("activity", [Activity.STOPPED, Activity.QUIET])
def test_an_engine_that_computes_nothing_is_not_ready_after_10_s_and_hangs_after_30_s(activity: Activity) -> None:
    engine = Engine(activity)
    engine.pass_seconds(60, engine.watch.stepped)
    assert engine.until(lambda: engine.watch.not_ready) == NOT_READY_SECONDS
    assert engine.watch.hang is None
    assert NOT_READY_SECONDS + engine.until(lambda: engine.watch.hang) == QUIET_SECONDS
    hang = engine.watch.hang
    assert hang is not None
    assert (hang.seconds, hang.limit, hang.requests) == (QUIET_SECONDS, QUIET_SECONDS, 1)
    assert activity.value in str(hang)


def test_a_long_step_is_no_hang_while_the_processes_compute() -> None:
    engine = Engine(Activity.BUSY)
    engine.pass_seconds(STEP - 1)
    assert engine.watch.not_ready and engine.watch.hang is None
    engine.watch.stepped()
    engine.pass_seconds(1)
    assert engine.watch.not_ready is None
    # The next one of this length does not even make it unready.
    engine.pass_seconds(STEP - 1)
    assert engine.watch.not_ready is None


def test_a_step_beyond_its_limit_is_a_hang() -> None:
    engine = Engine(Activity.BUSY)
    assert engine.until(lambda: engine.watch.not_ready) == BUSY_NOT_READY_SECONDS
    engine = Engine(Activity.BUSY)
    assert engine.until(lambda: engine.watch.hang) == STEP


@pytest.mark.parametrize("step_seconds", [30, 60, 3600])
def test_the_limit_of_a_step_is_configured(step_seconds: int) -> None:
    engine = Engine(Activity.BUSY, step_seconds)
    assert engine.until(lambda: engine.watch.hang) == step_seconds


def test_a_long_prompt_is_no_hang_however_long_it_takes() -> None:
    """Each of its parts takes 20 s and gives no token: the engine reports its running request."""
    engine = Engine(Activity.BUSY)
    for _ in range(200):
        engine.pass_seconds(19)
        engine.pass_seconds(1, engine.watch.stepped)
        assert engine.watch.hang is None
    assert engine.watch.not_ready is None


def test_an_idle_engine_stays_ready_and_is_asked_and_probed() -> None:
    engine = Engine(Activity.QUIET)
    engine.requests = 0
    asked = probed = 0
    for _ in range(3600):
        engine.pass_seconds(1)
        assert engine.watch.not_ready is None and engine.watch.hang is None
        if engine.watch.asks:
            asked += 1
            engine.watch.answered()
            if engine.watch.probes:
                probed += 1
                engine.watch.stepped()
    assert 3600 / (ASK_SECONDS + 1) <= asked <= 3600 / ASK_SECONDS
    assert 3600 / (PROBE_SECONDS + ASK_SECONDS) <= probed <= 3600 / PROBE_SECONDS


def test_an_idle_engine_that_does_not_answer_its_question_is_found() -> None:
    engine = Engine(Activity.STOPPED)
    engine.requests = 0
    idle = engine.until(lambda: engine.watch.asks)
    engine.is_probed = True
    assert idle + engine.until(lambda: engine.watch.not_ready) == ASK_SECONDS + NOT_READY_SECONDS
    assert engine.until(lambda: engine.watch.hang) == QUIET_SECONDS - NOT_READY_SECONDS


def test_an_engine_that_answers_and_computes_nothing_for_its_requests_is_found() -> None:
    """vLLM's scheduler that schedules nothing: Running: 0 reqs, Waiting: 3 reqs."""
    engine = Engine(Activity.BUSY)
    engine.requests = 3

    def answered_for(seconds: float) -> None:
        engine.pass_seconds(seconds, engine.watch.answered)

    answered_for(STALLED_SECONDS - 1)
    assert engine.watch.not_ready is None and engine.watch.probes
    answered_for(1)
    assert engine.watch.not_ready is not None and engine.watch.hang is None
    answered_for(STEP)
    assert engine.watch.hang is not None and engine.watch.hang.requests == 3


def test_an_idle_engine_that_answers_and_ignores_probes_stays_ready() -> None:
    engine = Engine(Activity.QUIET)
    engine.requests, engine.is_probed = 0, True
    engine.pass_seconds(10 * STEP, engine.watch.answered)
    assert engine.watch.not_ready is None and engine.watch.hang is None


def test_an_engine_that_a_debugger_has_stopped_is_not_ready_and_never_restarted() -> None:
    engine = Engine(Activity.TRACED)
    engine.pass_seconds(10 * STEP)
    assert engine.watch.not_ready is not None and engine.watch.hang is None
    # Nor is it right after the debugger has gone.
    engine.activity = Activity.BUSY
    engine.pass_seconds(STEP - 1)
    assert engine.watch.hang is None


def test_a_late_tick_is_no_silence_of_the_engine() -> None:
    """The event loop was blocked, or the container frozen: messages may have arrived and wait to be read."""
    engine = Engine(Activity.QUIET)
    engine.watch.tick(100_000, 1, False)
    assert engine.watch.stalled_seconds == MOST_TICK_SECONDS
    assert engine.watch.not_ready is None and engine.watch.hang is None


def test_silence_counts_only_while_something_waits() -> None:
    engine = Engine(Activity.QUIET)
    engine.pass_seconds(NOT_READY_SECONDS - 1)
    engine.requests = 0
    engine.pass_seconds(1000)
    assert engine.watch.stalled_seconds == 0
    engine.requests = 1
    engine.pass_seconds(NOT_READY_SECONDS - 1)
    assert engine.watch.not_ready is None


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["nothing", "answer", "step"]), st.integers(0, 40), st.sampled_from(Activity), st.booleans()
        ),
        max_size=25,
    )
)
def test_whatever_came_before_a_dead_silence_is_found_within_the_limit_of_a_step(
    events: list[tuple[str, int, Activity, bool]],
) -> None:
    """No load hides a hang, and none makes an engine that has just computed a step count as hanging."""
    engine = Engine()
    for kind, seconds, activity, waits in events:
        engine.activity, engine.requests = activity, int(waits)
        evidence = {"nothing": None, "answer": engine.watch.answered, "step": engine.watch.stepped}[kind]
        engine.pass_seconds(seconds, evidence)
    engine.activity, engine.requests = Activity.STOPPED, 1
    engine.watch.stepped()
    engine.pass_seconds(1)
    assert engine.watch.not_ready is None and engine.watch.hang is None
    waited = engine.until(lambda: engine.watch.not_ready, STEP + 1)
    assert waited + engine.until(lambda: engine.watch.hang, STEP + 1) <= STEP
