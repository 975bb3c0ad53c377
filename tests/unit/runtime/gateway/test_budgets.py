"""What all requests together may hold, and how much of it one key may."""

from __future__ import annotations

import contextlib

import pytest

from llmservice_contract.policy import Caps, RateLimit
from llmservice_runtime.gateway.budgets import MOST_KEYS, BodyBudget, Buckets, RequestSlots
from llmservice_runtime.gateway.exhausted import REMEMBER_SECONDS, Exhausted
from llmservice_runtime.gateway.refusals import Refused, too_many_at_once
from llmservice_runtime.rate_limits.limiter import Ask, Denial, LimitState

CAPS = Caps(body_bytes=1024, buffered_bytes=10_000)


def test_one_key_has_a_third_of_the_memory_and_all_keys_no_more_than_the_whole() -> None:
    budget = BodyBudget()
    with (
        budget.open("a", CAPS) as first,
        budget.open("b", CAPS) as second,
        budget.open("c", CAPS) as third,
        budget.open("d", CAPS) as fourth,
    ):
        first.add(3333)
        with pytest.raises(Refused) as of_key:
            first.add(1)
        second.add(3333)
        fourth.add(3333)
        with pytest.raises(Refused) as of_all:
            third.add(2)
    assert (of_key.value.refusal.status, of_all.value.refusal.status) == (429, 503)
    assert {of_key.value.refusal.reason, of_all.value.refusal.reason} == {"buffered_bytes"}
    assert all((b"retry-after", b"1") in each.value.refusal.headers for each in (of_key, of_all))
    assert budget.held == 0
    with budget.open("a", CAPS) as again:
        again.add(3333)


def test_without_keys_there_is_one_share() -> None:
    budget = BodyBudget()
    with budget.open("", CAPS) as held, budget.open("", CAPS) as more:
        held.add(10_000)
        with pytest.raises(Refused) as refused:
            more.add(1)
    assert refused.value.refusal.status == 503


def test_one_body_of_the_largest_size_always_has_room() -> None:
    with BodyBudget().open("a", Caps(body_bytes=5000, buffered_bytes=1024)) as held:
        held.add(5000)


def test_places_are_given_back_however_a_request_ends() -> None:
    places = RequestSlots()
    for _ in range(3):
        with contextlib.suppress(RuntimeError), places.take("a", 1, 1):
            raise RuntimeError
    with places.take("a", 1, 2), places.take("b", 1, 2):
        for key_id, status in (("a", 429), ("c", 503)):
            with pytest.raises(Refused) as refused, places.take(key_id, 1, 2):
                pass
            assert refused.value.refusal.status == status


def test_without_a_key_only_the_bound_of_the_replica_holds() -> None:
    places = RequestSlots()
    with places.take("", 1, 2), places.take("", 1, 2), pytest.raises(Refused), places.take("", 1, 2):
        pass


def test_a_bucket_gives_its_capacity_at_once_and_then_its_rate() -> None:
    now = 0.0
    buckets = Buckets(10, 2, lambda: now)
    buckets.take("a", 10)
    assert buckets.wait("a") == 0
    buckets.take("a", 4)
    assert buckets.wait("a") == 2
    assert buckets.wait("b") == 0
    now = 2.0
    assert buckets.wait("a") == 0


def test_no_bucket_keeps_a_key_waiting_for_longer_than_it_takes_to_refill() -> None:
    now = 0.0
    buckets = Buckets(10, 2, lambda: now)
    for _ in range(1000):
        buckets.take("a", 10)
    assert buckets.wait("a") == 5


def test_buckets_of_idle_keys_are_forgotten() -> None:
    now = 0.0
    buckets = Buckets(10, 2, lambda: now)
    for number in range(MOST_KEYS + 10):
        buckets.take(str(number), 1)
    assert len(buckets._debts) == MOST_KEYS
    now = 1.0
    buckets.take("new", 1)
    assert len(buckets._debts) == 1


LIMIT = RateLimit(1, 100)


def said(denial: Denial, later: float, limit: RateLimit = LIMIT) -> bool:
    """Whether a denial speaks for a request that comes later."""
    now = 0.0
    exhausted = Exhausted(lambda: now)
    exhausted.note(Ask("a", LIMIT, 1, 1), denial, too_many_at_once(1))
    now = later
    assert exhausted.refusal("b", limit) is None
    return exhausted.refusal("a", limit) is not None


def test_a_key_with_nothing_left_is_refused_unread_for_a_second_at_most() -> None:
    for standing in (LimitState(1, 0, 30.0, 100, 50, 30.0), LimitState(1, 1, 30.0, 100, 0, 30.0)):
        denial = Denial(standing, 30.0, "requests", hopeless=False)
        assert said(denial, 0.0) and said(denial, REMEMBER_SECONDS - 0.01)
        assert not said(denial, REMEMBER_SECONDS)
    assert not said(Denial(LimitState(1, 0, 0.5), 0.5, "requests", hopeless=False), 0.5)


def test_a_denial_speaks_for_no_request_that_may_pass() -> None:
    some_left = LimitState(1, 1, 30.0, 100, 50, 30.0)
    assert not said(Denial(some_left, 30.0, "tokens", hopeless=False), 0.0)
    assert not said(Denial(LimitState(1, 0, 30.0), 60.0, "requests", hopeless=True), 0.0)
    nothing_left = Denial(LimitState(1, 0, 30.0), 30.0, "requests", hopeless=False)
    assert not said(nothing_left, 0.0, RateLimit(2, 100)), "the limit was changed meanwhile"
