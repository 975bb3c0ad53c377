"""What holds for every algorithm that a service can name."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.looks import FIRST_TOKEN, IDLE, busy
from llmservice_operator.api.scaling import Scaling
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingInputs
from llmservice_operator.autoscaling.algorithms import ALGORITHMS, DEFAULT, Algorithm

START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNALS = st.one_of(st.none(), st.just(IDLE), st.floats(0.001, 10).map(busy))


def test_each_that_the_api_takes_is_there():
    assert set(ALGORITHMS) == set(Algorithm) and DEFAULT in ALGORITHMS
    spec = {"maxReplicas": 4, "targets": {"timeToFirstToken": {"p99": "200ms"}}}
    assert Scaling.model_validate(spec).algorithm is None
    assert {Scaling.model_validate({**spec, "algorithm": each}).algorithm for each in Algorithm} == set(Algorithm)


@pytest.mark.parametrize("name", ALGORITHMS)
@settings(max_examples=50)
@given(
    count=st.integers(1, 8),
    looks=st.lists(st.tuples(SIGNALS, st.integers(0, 8)), min_size=1, max_size=20),
)
def test_it_stays_within_the_bounds_and_says_what_changed_the_count(name, count, looks):
    algorithm, bounds, now = ALGORITHMS[name], ReplicaBounds(1, 8), START
    state, why = algorithm.initial_state(count, now), None
    for signals, ready in looks:
        now += timedelta(seconds=15)
        state, decision = algorithm.step(
            state, ScalingInputs(signals, (FIRST_TOKEN,), bounds, ReplicaCounts(count, count, ready), now)
        )
        assert 1 <= decision.count <= 8
        assert decision.changed is (decision.count != count)
        assert decision.changed or why in (None, decision.why)
        if signals is None:
            assert decision.count >= count, "what is not known never lowers the count"
        count, why = decision.count, decision.why
