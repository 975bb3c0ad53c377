"""What the algorithm does, rule by rule, and what it says about it."""

import msgspec
import pytest

from builders.looks import BETWEEN_TOKENS, FIRST_TOKEN, IDLE, Watch, busy
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ScalingDecision
from llmservice_operator.autoscaling.latency import Latency, Target

SLOW = busy(0.412)
"""More than twice the target."""
FINE = busy(0.16)
FAST = busy(0.06)


def asleep_at_last(watch: Watch) -> None:
    """There is no load until the algorithm wants no replica; the autoscaler has not followed yet."""
    while watch.look(IDLE, serving=1, wanted=1).count:
        pass


def test_more_as_soon_as_the_target_is_missed() -> None:
    watch = Watch(1)
    watch.looks(FAST, 300)
    assert watch.looks(SLOW, 30) == [2]
    assert watch.decision.why == "1 -> 2: p99 timeToFirstToken 412 ms, target 200 ms, 1 replica serving"
    assert watch.decision.load == pytest.approx(1.3, abs=0.3)


def test_in_proportion_to_the_miss() -> None:
    watch = Watch(10)
    watch.look(busy(0.26))
    assert watch.count == 13


def test_the_worst_target_decides() -> None:
    watch = Watch(2, targets=(FIRST_TOKEN, BETWEEN_TOKENS))
    signals = msgspec.structs.replace(
        SLOW, latencies={Latency.TIME_TO_FIRST_TOKEN: {99: 0.1}, Latency.INTER_TOKEN_LATENCY: {90: 0.0625, 99: 9.0}}
    )
    watch.look(signals)
    assert watch.decision.why == "2 -> 3: p90 interTokenLatency 62.5 ms, target 50 ms, 2 replicas serving"


def test_a_slow_moment_is_not_followed() -> None:
    watch = Watch(1)
    watch.looks(FAST, 300)
    watch.look(SLOW, after=5)
    watch.looks(FAST, 60)
    assert watch.count == 1


def test_what_is_still_coming_is_not_asked_for_twice() -> None:
    watch = Watch(2)
    assert watch.looks(SLOW, 600, serving=2) == [4]


def test_new_replicas_do_not_multiply_before_their_own_latencies_are_measured() -> None:
    watch = Watch(2)
    watch.looks(SLOW, 120, serving=2)
    assert watch.looks(SLOW, 75, serving=4) == []
    watch.looks(FINE, 300)
    assert watch.count == 4


def test_replicas_that_do_not_suffice_are_added_to() -> None:
    watch = Watch(2)
    assert watch.looks(SLOW, 120, serving=2) == [4]
    assert watch.looks(SLOW, 150, serving=4) == [8]


def test_replicas_that_come_one_by_one() -> None:
    watch = Watch(1)
    watch.looks(SLOW, 30)
    assert watch.looks(SLOW, 60, serving=1) == []
    assert watch.looks(SLOW, 105, serving=2) == [4]
    assert watch.looks(SLOW, 60, serving=3) == []
    assert watch.looks(SLOW, 60, serving=4) == []


def test_within_the_target_nothing_changes() -> None:
    watch = Watch(4)
    assert watch.looks(FINE, 3600) == []
    assert watch.decision.why == "4: unchanged since the operator started"


def test_fewer_when_far_below_the_target() -> None:
    watch = Watch(8)
    assert watch.looks(busy(0.062), 45) == []
    assert watch.looks(busy(0.062), 30) == [5]
    assert watch.decision.why == "8 -> 5: load 31 % of target, 8 replicas serving"


def test_never_less_than_half_at_once() -> None:
    watch = Watch(8)
    assert watch.looks(busy(0.001), 75) == [4]


def test_while_the_autoscaler_keeps_more_the_load_of_those_decides() -> None:
    watch = Watch(8)
    assert watch.looks(busy(0.06), 1800, serving=8) == [4]
    assert watch.looks(busy(0.15), 120, serving=8) == [5, 6]
    assert watch.decision.why == "5 -> 6: p99 timeToFirstToken 150 ms, target 200 ms, 8 replicas serving"


def test_replicas_that_go_are_waited_for() -> None:
    watch = Watch(8)
    watch.looks(busy(0.06), 75)
    assert watch.looks(busy(0.06), 45, serving=4) == [], "the window still shows what eight replicas did"
    assert watch.looks(busy(0.16), 600) == []


def test_a_replica_that_breaks_down_is_no_reason_for_more_or_less() -> None:
    watch = Watch(4)
    watch.looks(FINE, 120)
    assert watch.looks(busy(0.3), 600, serving=2) == []
    assert watch.looks(FAST, 600, serving=2) == []


def test_a_count_that_missed_the_target_is_not_tried_again_at_that_rate() -> None:
    watch = Watch(1)
    watch.looks(busy(0.5, rate=10), 120)
    watch.looks(busy(0.05, rate=14), 1500, serving=2)
    assert watch.count == 2
    assert watch.looks(busy(0.05, rate=7), 300) == [1]


def test_after_a_while_it_is_tried_again() -> None:
    watch = Watch(1)
    watch.looks(busy(0.5, rate=10), 120)
    assert watch.looks(busy(0.05, rate=14), 3600, serving=2) == [1]


def test_no_requests_are_no_load() -> None:
    watch = Watch(8)
    watch.looks(FINE, 120)
    watch.look(IDLE)
    assert watch.decision == ScalingDecision(1, 0.0, "8 -> 1: no requests", changed=True)
    assert watch.looks(IDLE, 3600) == []


def test_requests_that_wait_and_get_nothing_are_too_much_and_not_idle() -> None:
    watch = Watch(2)
    watch.looks(FINE, 120)
    assert watch.looks(busy(None, running=0, waiting=40, rate=0), 60) == [3, 4]
    assert watch.decision.why == "3 -> 4: requests are waiting and none gets its first token, 2 replicas serving"


def test_requests_of_which_none_has_finished_yet_say_nothing() -> None:
    watch = Watch(4, targets=(Target(Latency.REQUEST_LATENCY, 99, 10),))
    assert watch.looks(busy(0.1, rate=0), 600) == []
    assert watch.decision.load is None


def test_more_replicas_than_requests_help_nobody() -> None:
    watch = Watch(8)
    slow_alone = busy(0.19, running=2)
    assert watch.looks(slow_alone, 75) == [4]
    assert watch.decision.why == "8 -> 4: more replicas than requests in flight (2) have no effect"
    assert watch.looks(slow_alone, 300, serving=4) == [2]


def test_a_target_that_one_request_alone_misses() -> None:
    watch = Watch(1)
    alone = busy(0.45, running=1)
    assert watch.looks(alone, 600) == []
    assert watch.decision.unreachable == (
        "p99 timeToFirstToken 450 ms, target 200 ms, with at most about one request in flight per replica: more "
        "replicas do not help"
    )
    said = watch.decision.unreachable
    watch.looks(busy(0.46, running=1), 30)
    assert watch.decision.unreachable == said, "the same words as long as it is the same matter"
    watch.looks(busy(0.46, running=9), 60)
    assert (watch.count, watch.decision.unreachable) == (2, "")


def test_bursts_that_no_scrape_sees_bring_more_replicas() -> None:
    between_scrapes = msgspec.structs.replace(busy(0.588, running=0), mean_in_flight=5.4, mean_waiting=2.0)
    watch = Watch(1)
    assert watch.looks(between_scrapes, 60) == [2]
    assert watch.decision.unreachable == ""


def test_the_user_is_not_told_so_at_the_first_slow_request() -> None:
    watch = Watch(1)
    watch.looks(busy(0.45, running=1), 45)
    assert watch.decision.unreachable == ""


def test_unknown_holds() -> None:
    watch = Watch(4)
    watch.looks(SLOW, 15)
    why = watch.decision.why
    assert watch.looks(None, 3600) == []
    assert (watch.decision.load, watch.decision.why) == (None, why)


def test_bounds() -> None:
    watch = Watch(3, minimum=2, maximum=4)
    watch.looks(SLOW, 60)
    assert (watch.count, watch.decision.limited) == (4, "maximum")
    watch.looks(IDLE, 60, serving=4)
    assert (watch.count, watch.decision.limited) == (2, "minimum")
    watch.looks(FINE, 60, serving=2)
    assert (watch.count, watch.decision.limited) == (2, "")


def test_bounds_that_are_changed_hold_at_once_even_while_nothing_is_known() -> None:
    watch = Watch(3)
    watch.bounds = ReplicaBounds(5, 8)
    assert watch.look(None).why == "3 -> 5: minReplicas is 5"
    watch.bounds = ReplicaBounds(1, 2)
    assert watch.look(None).why == "5 -> 2: maxReplicas is 2"


def test_sleep_after_a_while_without_requests() -> None:
    watch = Watch(4, minimum=0)
    assert watch.looks(IDLE, 290, every=5) == [1]
    assert watch.looks(IDLE, 30, every=5) == [0]
    assert watch.decision.why == "1 -> 0: no requests for 300 s"


def test_how_long_it_has_to_be_quiet_is_the_callers_to_say() -> None:
    watch = Watch(1, minimum=0)
    watch.idle = 60.0
    assert watch.looks(IDLE, 60) == []
    assert watch.look(IDLE).why == "1 -> 0: no requests for 60 s"


@pytest.mark.parametrize("interruption", [None, busy(0.01, running=1), msgspec.structs.replace(IDLE, pods=0)])
def test_what_interrupts_the_quiet_begins_it_anew(interruption: object) -> None:
    watch = Watch(1, minimum=0)
    watch.looks(IDLE, 285)
    watch.look(interruption)  # type: ignore[arg-type]
    assert watch.looks(IDLE, 285) == []
    assert watch.looks(IDLE, 45) == [0]


def test_a_hand_wakes_a_service_that_sleeps() -> None:
    watch = Watch(1, minimum=0)
    asleep_at_last(watch)
    assert watch.look(IDLE, wanted=1).count == 0, "the autoscaler has not synced yet; it is no manual change"
    watch.look(None, serving=0, wanted=0)
    assert watch.look(None, wanted=1).why == "0 -> 1: spec.replicas was set to a value above 0"
    watch.looks(None, 600, serving=0)
    assert watch.looks(IDLE, 285, serving=1) == [], "the quiet begins anew"
    assert watch.looks(IDLE, 45) == [0]


def test_an_operator_that_starts_finds_a_service_asleep() -> None:
    watch = Watch(0, minimum=0)
    watch.look(None, serving=0, wanted=0)
    assert watch.look(None, wanted=2).count == 1


def test_requests_that_come_before_it_sleeps_keep_it_awake() -> None:
    watch = Watch(1, minimum=0)
    asleep_at_last(watch)
    assert watch.look(FAST, serving=1, wanted=1).why == "0 -> 1: requests arrived"


def test_a_hand_in_between_changes_nothing() -> None:
    watch = Watch(4)
    watch.looks(FINE, 120)
    for wanted in (1, 9, 0):
        assert watch.look(FINE, serving=min(4, wanted), wanted=wanted).count == 4


def test_pods_that_are_missing_from_the_signals_lower_nothing() -> None:
    watch = Watch(4)
    assert watch.looks(msgspec.structs.replace(IDLE, pods=3), 600) == []
    assert watch.looks(busy(0.001, pods=3), 600) == []
    watch.looks(busy(0.6, running=1, pods=3), 600)
    assert watch.count == 8, "and what is seen of the others is still followed"


def test_replicas_that_still_load_are_not_given_up() -> None:
    watch = Watch(4)
    assert watch.looks(FAST, 600, serving=3) == []
    assert watch.looks(None, 600, serving=0) == []
