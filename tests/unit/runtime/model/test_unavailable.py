"""Questions to a hub or a store that is unavailable: tried again, within bounds of time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from llmservice_contract import causes
from llmservice_runtime.model import unavailable
from llmservice_runtime.model.unavailable import ALL_SECONDS, LONGEST_PAUSE, Server
from llmservice_runtime.model.unreadable import ModelUnreadable


class Clock:
    """Time that passes only while it is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def a_server(clock: Clock) -> Server:
    return Server(causes.HUB_UNREACHABLE, clock=lambda: clock.now, sleep=clock.sleep)


def answering(*answers: int | Exception) -> Callable[[], int]:
    """A question with these answers, the last of them for ever."""
    left = list(answers)

    def question() -> int:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return question


def busy(retry_after: float = 0) -> ModelUnreadable:
    return ModelUnreadable(causes.HUB_UNREACHABLE, "The hub answered 503.", retry_after=retry_after)


def test_a_server_that_is_busy_for_some_seconds_is_asked_again() -> None:
    clock = Clock()
    assert a_server(clock).ask(answering(busy(), busy(), 7)) == 7
    assert len(clock.slept) == 2 and clock.slept[0] < clock.slept[1]


def test_a_refusal_is_not_tried_again() -> None:
    clock = Clock()
    refused = ModelUnreadable(causes.HUB_REFUSED, "The hub answered 403.")
    with pytest.raises(ModelUnreadable):
        a_server(clock).ask(answering(refused, 7))
    assert clock.slept == []


def test_the_server_says_when_to_ask_again() -> None:
    clock = Clock()
    assert a_server(clock).ask(answering(busy(20), 7)) == 7
    assert clock.slept == [20]


def test_no_server_makes_it_wait_for_years() -> None:
    clock = Clock()
    with pytest.raises(ModelUnreadable):
        a_server(clock).ask(answering(busy(10 * 365 * 86_400)))
    assert clock.now <= ALL_SECONDS
    assert max(clock.slept) <= LONGEST_PAUSE


def test_all_questions_together_have_a_time_limit() -> None:
    clock = Clock()
    server = a_server(clock)
    asked: list[int] = []

    def question() -> int:
        asked.append(1)
        raise busy()

    for _ in range(5):
        with pytest.raises(ModelUnreadable, match="503"):
            server.ask(question)
    assert clock.now <= ALL_SECONDS
    after = len(asked)
    with pytest.raises(ModelUnreadable):
        server.ask(question)
    assert len(asked) == after, "later questions fail at once"


def test_the_time_begins_anew_once_the_server_has_answered() -> None:
    clock = Clock()
    server = a_server(clock)
    for _ in range(20):
        assert server.ask(answering(busy(30), 7)) == 7
    assert clock.now > 2 * ALL_SECONDS


def test_an_answer_that_never_ends_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unavailable, "TRY_SECONDS", 0.05)
    clock, forever = Clock(), threading.Event()
    try:
        with pytest.raises(ModelUnreadable, match="within") as raised:
            a_server(clock).ask(forever.wait)
    finally:
        forever.set()
    assert raised.value.cause is causes.HUB_UNREACHABLE
