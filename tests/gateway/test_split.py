"""How requests are split between a canary and the old replicas, and when a canary gets no more."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from llmservice_operator.api.status import CanaryStatus
from llmservice_operator.gateway.routes import ServedCanary, read_replica, read_service
from llmservice_operator.resources import names
from support.cluster import wait_until
from support.nginx_gateway import ANSWER_SECONDS, Gateway, Replica, begin, chat, service

Make = Callable[..., Replica]
OLD, NEW, EARLIER = "chat-5d4", "chat-7f9", "chat-111"
CANARY = ServedCanary(NEW, 5, "x-canary")


@dataclass
class Split:
    """A service with old replicas and a canary behind a gateway."""

    gateway: Gateway
    old: list[Replica]
    new: Replica

    def route(self, canary: ServedCanary | None = CANARY, *more: Replica) -> None:
        self.gateway.route({replace(service(), canary=canary): [*self.old, self.new, *more]})

    def ask(self, times: int = 1, value: str = "") -> list[int]:
        headers = {"X-Canary": value} if value else {}
        return [self.gateway.ask("/v1/chat/completions", chat("chat"), headers=headers).status for _ in range(times)]

    @property
    def counts(self) -> tuple[int, int]:
        """Requests that the old replicas and the canary got."""
        return sum(len(each.posts) for each in self.old), len(self.new.posts)

    def report(self) -> dict[str, Any]:
        """What the operator reads."""
        self.gateway.wait_for_rest()
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.metrics_port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/canaries")
            (found,) = json.loads(connection.getresponse().read())
        assert (found["namespace"], found["service"], found["revision"]) == ("team-a", "chat", NEW)
        return dict(found)


@pytest.fixture
def split(own_gateway: Gateway, replica: Make) -> Split:
    made = Split(own_gateway, [replica(name="old") for _ in range(2)], replica(name="new"))
    for each in made.old:
        each.revision = OLD
    made.new.revision = NEW
    made.route()
    return made


def test_the_canary_gets_its_weight(split: Split) -> None:
    assert set(split.ask(200)) == {200}
    assert split.counts == (190, 10)
    report = split.report()
    assert (report["old"]["requests"], report["canary"]["requests"]) == (190, 10)
    assert report["canary"]["timed"] == 10 and not report["braked"]
    series = (
        'llmservice_gateway_canary_requests_total{namespace="team-a",service="chat",replicas="canary",result="good"}'
    )
    assert split.gateway.metrics()[series] == 10


def test_the_header_chooses_and_does_not_count(split: Split) -> None:
    split.new.behavior = "fail"
    assert split.ask(8, "always") == [500] * 8
    assert split.report()["canary"]["requests"] == 0 and not split.report()["braked"]
    split.ask(100, "never")
    assert split.counts == (100, 8)


def test_without_a_weight_requests_with_the_header_count(split: Split) -> None:
    split.route(replace(CANARY, weight=0))
    split.ask(60)
    assert split.counts == (60, 0)
    split.ask(4, "always")
    assert split.report()["canary"]["requests"] == 4


@pytest.mark.parametrize(
    "behavior,requests", [("fail", 400), ("refuse", 100), ("reset", 100), ("cut", 100), ("error", 100)]
)
def test_a_canary_that_fails_gets_no_more_requests_at_once(split: Split, behavior: str, requests: int) -> None:
    split.new.behavior = behavior
    statuses = []
    for _ in range(requests):
        with contextlib.suppress(http.client.IncompleteRead):
            statuses += split.ask()
    assert split.counts[1] == 3, "of 400 less than 1 %"
    report = split.report()
    assert report["braked"] and (report["canary"]["requests"], report["canary"]["failed"]) == (3, 3)
    assert report["old"]["failed"] == 0
    if behavior in ("refuse", "reset"):
        assert statuses == [200] * requests, "an old replica answers instead"
    split.ask(1, "always")
    assert split.counts[1] == 3
    split.gateway.reload()
    split.ask(40)
    assert split.counts[1] == 3


def test_slow_failures_touch_no_more_requests_than_fast_ones(split: Split) -> None:
    split.route(replace(CANARY, weight=50))
    split.new.behavior = "hold"
    for each in split.old:
        each.behavior = "hold"
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(contextlib.closing(split.gateway.connect()))
            assert begin(connection, "/v1/chat/completions", chat("chat")).status == 200
        assert split.counts == (36, 4), "it has answered none"


def test_a_canary_as_bad_as_the_others_stays(split: Split) -> None:
    for each in (*split.old, split.new):
        each.behavior = "fail"
    split.ask(200)
    assert split.counts == (190, 10)
    assert not split.report()["braked"]


def test_a_request_that_its_client_ends_is_no_failure(split: Split) -> None:
    split.route(replace(CANARY, weight=50))
    split.new.behavior = "hold"
    for _ in range(12):
        with contextlib.closing(split.gateway.connect()) as connection:
            assert begin(connection, "/v1/chat/completions", chat("chat"), headers={"X-Canary": ""}).status == 200
    wait_until(lambda: split.counts[1] >= 6, "the canary got its requests", every=0.02)
    assert split.report()["canary"]["requests"] == 0


def test_after_a_failure_the_canary_is_left_out(split: Split) -> None:
    split.route(replace(CANARY, weight=0, header=""))
    split.ask(40)
    assert split.counts == (40, 0)


def test_pods_of_an_earlier_canary_get_nothing(split: Split, replica: Make) -> None:
    earlier = replica(name="earlier")
    earlier.revision = EARLIER
    split.route(replace(CANARY, excluded=EARLIER), earlier)
    split.ask(100)
    assert (split.counts, len(earlier.posts)) == ((95, 5), 0)


def test_a_replica_that_should_get_nothing_is_better_than_none(split: Split) -> None:
    split.old.clear()
    split.route(replace(CANARY, weight=0))
    assert split.ask(5) == [200] * 5


def test_without_a_canary_all_replicas_are_equal(split: Split) -> None:
    split.route(None)
    split.ask(90)
    assert split.counts[1] >= 15


def test_the_split_is_read_from_the_status_that_the_operator_writes() -> None:
    meta = {"namespace": "team-a", "name": "chat"}
    written = CanaryStatus(
        revision=NEW,
        weight=7,
        header="x-canary",
        max_added_error_percent=2,
        excluded_revision=EARLIER,
        step_percent=16,
        max_latency_percent=150,
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    found = read_service({"metadata": meta, "status": {"canary": written}})
    assert found is not None and found.canary == ServedCanary(NEW, 7, "x-canary", 2, EARLIER, 16, 150)
    plain = read_service({"metadata": meta, "status": {}})
    assert plain is not None and plain.canary is None


@pytest.mark.parametrize(
    "canary", [7, {"revision": NEW}, {"revision": "A b", "weight": 5}, {"revision": NEW, "weight": 101}], ids=str
)
def test_a_status_that_is_no_split_is_none(canary: Any) -> None:
    found = read_service({"metadata": {"namespace": "team-a", "name": "chat"}, "status": {"canary": canary}})
    assert found is not None and found.canary is None


def test_replicas_have_the_revision_of_their_statefulset() -> None:
    labels = {
        names.INSTANCE_LABEL: "chat",
        names.COMPONENT_LABEL: names.ENGINE_COMPONENT,
        "controller-revision-hash": NEW,
    }
    owner = {"kind": "StatefulSet", "name": "chat", "controller": True}
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    meta = {"namespace": "team-a", "name": "chat-0", "labels": labels, "ownerReferences": [owner]}
    found = read_replica({"metadata": meta, "status": status})
    assert found is not None and found.revision == NEW


def test_a_conversation_stays_on_the_replica_that_was_the_canary(split: Split) -> None:
    text = "x" * 4000
    headers = {"X-Canary": "always"}
    split.gateway.ask("/v1/chat/completions", chat("chat", text), headers=headers)
    split.route(None)
    for turn in range(1, 6):
        text += f"turn {turn}: {'y' * 600}"
        assert split.gateway.chat("chat", text).json["replica"] == "new"


def test_without_a_canary_the_report_is_an_empty_list(split: Split) -> None:
    split.route(None)
    connection = http.client.HTTPConnection("127.0.0.1", split.gateway.metrics_port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/canaries")
        assert connection.getresponse().read() == b"[]"


def test_at_first_the_canary_gets_a_part_of_its_weight(split: Split) -> None:
    split.route(replace(CANARY, weight=50, step=16))
    split.ask(100)
    assert split.counts == (92, 8)
    split.route(replace(CANARY, weight=50))
    split.ask(100)
    assert split.counts == (142, 58)


@pytest.mark.parametrize(("failing", "most"), [(1, 3), (2, 24), (5, 16)])
def test_a_bad_canary_gets_less_than_a_hundredth_of_the_requests(split: Split, failing: int, most: int) -> None:
    split.route(replace(CANARY, step=16))
    split.new.failing = failing
    requests = 2000 if failing > 1 else 500
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: split.ask()[0], range(requests)))
    got = split.counts[1]
    assert 0 < got <= min(most, requests // 100)
    assert answers.count(500) == len([each for each in range(got) if each % failing == 0])
    assert split.report()["braked"] is (failing < 5)


def test_a_slow_canary_gets_no_more_requests_at_once(split: Split) -> None:
    split.route(replace(CANARY, weight=20))
    split.new.delay = 0.1
    split.ask(150)
    report = split.report()
    assert report["braked"] and report["canary"]["failed"] == 0
    assert report["ranked"] == report["slow"] == 7
    assert split.counts[1] <= 7 + 20 * 0.2, "those before the old replicas had 15 times do not count"


def test_a_canary_that_is_as_slow_as_allowed_stays(split: Split) -> None:
    split.route(replace(CANARY, weight=20, slowness=10_000))
    split.new.delay = 0.1
    split.ask(100)
    assert split.counts == (80, 20)
    assert not split.report()["braked"] and split.report()["ranked"] >= 15


def test_times_are_compared_with_those_of_prompts_of_about_the_same_length(split: Split) -> None:
    split.route(replace(CANARY, weight=20))
    split.ask(30)
    split.new.delay = 0.1
    for number in range(30):
        split.gateway.chat("chat", f"{number}" + "x" * 40_000, key="a")
    report = split.report()
    assert not report["braked"], "no other long prompt was timed often enough"
    assert report["slow"] <= 3


def test_clients_that_choose_the_old_replicas_do_not_count(split: Split) -> None:
    for each in split.old:
        each.behavior = "fail"
    split.ask(50, "never")
    assert split.report()["old"]["requests"] == 0
