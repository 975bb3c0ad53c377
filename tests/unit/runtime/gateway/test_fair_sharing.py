"""Keys share the engine by the priorities of their requests."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmservice_contract.policy import FairSharing, Share
from llmservice_runtime.gateway.fair_sharing import _SWEEP_AT, ANSWER_TOKEN, MOST_KEYS, FairShares, install, sharing
from support.scheduled_engine import ScheduledEngine

COMPLETIONS = "/v1/completions"


def burst(fair: bool) -> ScheduledEngine:
    """One key sends 200 long requests at once, another one a short one every 20 steps."""
    engine = ScheduledEngine(slots=16, fair=fair)
    for _ in range(200):
        engine.ask("burst", 100)

    def polite(step: int) -> None:
        if step % 20 == 0:
            engine.ask("polite", 5)

    engine.run(600, polite)
    return engine


def test_a_burst_delays_another_key_by_no_more_than_what_already_runs() -> None:
    waits = [job.waited for job in burst(fair=True).of("polite")]
    assert len(waits) >= 26
    assert max(waits) <= 100, "until one of the running answers ends"
    first_come = burst(fair=False).of("polite")
    assert len(first_come) == 0, "without shares, 200 requests are before the first one"


def test_a_single_key_keeps_the_order_of_arrival() -> None:
    engine = ScheduledEngine(slots=3)
    jobs = [engine.ask("a", 1 + (7 * number) % 11, prompt=1 + number % 5) for number in range(60)]
    engine.run(300)
    assert sorted(jobs, key=lambda job: (job.begun, job.number)) == jobs
    assert len({job.begun for job in jobs[:3]}) == 1


def test_what_was_used_alone_is_no_debt_when_others_come() -> None:
    engine = ScheduledEngine(slots=4)
    for _ in range(100):
        engine.ask("early", 50)
        engine.step()
    engine.ask("late", 5)
    last = engine.ask("early", 5)
    ahead = sum(job.number < last.number for job in engine.waiting if job.key == "early")
    assert ahead > 50
    engine.run(3000)
    ends = [job.key for job in engine.ended]
    assert ends.count("early") == 101
    for _ in range(20):
        engine.ask("early", 50)
        engine.ask("late", 50)
    engine.run(400)
    early, late = engine.served("early") - 5005, engine.served("late") - 5
    assert abs(early - late) <= 2 * 4 * 50, "after a pause all keys are equal"


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (2, 5)])
def test_keys_with_waiting_requests_get_tokens_by_their_weights(weights: tuple[int, int]) -> None:
    engine = ScheduledEngine(slots=8)

    def both(step: int) -> None:
        for key, weight, tokens in (("a", weights[0], 20), ("b", weights[1], 70)):
            while sum(job.key == key for job in engine.waiting) < 10:
                engine.ask(key, tokens, weight=weight)

    engine.run(1500, both)
    ratio = engine.served("b") / engine.served("a")
    # Prompts count too, and there is one for each 20 or 70 tokens.
    counted = ratio * (1 + 10 / 140) / (1 + 10 / 40)
    assert counted == pytest.approx(weights[1] / weights[0], rel=0.1)


def test_answers_that_are_shorter_than_they_may_be_are_no_disadvantage() -> None:
    engine = ScheduledEngine(slots=8)

    def both(step: int) -> None:
        for key, most in (("open", math.inf), ("exact", 20.0)):
            while sum(job.key == key for job in engine.waiting) < 10:
                engine.ask(key, 20, most=most)

    engine.run(1000, both)
    before = {key: engine.served(key) for key in ("open", "exact")}
    engine.run(1000, both)
    open_, exact = (engine.served(key) - before[key] for key in ("open", "exact"))
    assert open_ == pytest.approx(exact, rel=0.05)


def test_a_key_that_hides_how_long_its_answers_become_gains_little() -> None:
    engine = ScheduledEngine(slots=4)
    for _ in range(50):
        engine.ask("sly", 1)
        engine.step()

    def both(step: int) -> None:
        for key in ("sly", "open"):
            while sum(job.key == key for job in engine.waiting) < 10:
                engine.ask(key, 100, most=math.inf)

    engine.run(3000, both)
    assert engine.served("sly") == pytest.approx(engine.served("open"), rel=0.15)


def test_a_request_begins_although_others_never_stop_to_ask() -> None:
    engine = ScheduledEngine(slots=2)

    def others(_step: int) -> None:
        for number in range(5):
            while sum(job.key == f"other {number}" for job in engine.waiting) < 3:
                engine.ask(f"other {number}", 10)

    engine.run(50, others)
    heavy = [engine.ask("one", 50) for _ in range(2)]
    engine.run(5 * 2 * 110, others)
    assert heavy[1].begun is not None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.integers(0, 60), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 6),
)
def test_whatever_arrives_and_leaves(asked: list[tuple[str, int, int, int, bool]], slots: int) -> None:
    engine = ScheduledEngine(slots)
    time = 0.0
    for key, tokens, prompt, steps, leaves in asked:
        job = engine.ask(key, tokens, prompt, most=math.inf if tokens % 2 else tokens)
        assert job.priority >= int(time), "a new request is never before the virtual time"
        if leaves:
            engine.leave(job)
        engine.run(steps)
        assert engine.shares._time >= time, "the virtual time never goes back"
        time = engine.shares._time
    engine.run(sum(tokens for _, tokens, *_ in asked))
    assert not engine.waiting and not engine.running, "all are answered"
    engine.shares.begin("d", 1).end(None)
    assert len(engine.shares) == 0, "nothing is remembered after the last one"


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(1, 8))
def test_keys_that_always_wait_differ_by_a_bounded_number_of_tokens(sizes: list[int], slots: int) -> None:
    engine = ScheduledEngine(slots)

    def all_of_them(_step: int) -> None:
        for number, tokens in enumerate(sizes):
            while sum(job.key == str(number) for job in engine.waiting) <= slots:
                engine.ask(str(number), tokens, prompt=0)

    # Start-time fair queueing for several requests at once: for each slot, and one more, the requests of both keys.
    bound = (slots + 1) * sum(sorted(sizes)[-2:])
    for _ in range(10):
        engine.run(20, all_of_them)
        served = [engine.served(str(number)) for number in range(len(sizes))]
        assert max(served) - min(served) <= bound


def test_what_is_remembered_is_bounded() -> None:
    shares = FairShares(lambda: 0.0)
    first = shares.begin("stuck", 1)
    first.priority(SimpleNamespace(is_prefilling=True), 10, 10)
    for number in range(3 * MOST_KEYS):
        request = shares.begin(f"key {number}", 1)
        request.priority(SimpleNamespace(is_prefilling=False), 10, 10)
        request.end(10)
    assert len(shares) <= 2 * MOST_KEYS + 1 and len(shares._answers) <= MOST_KEYS
    shares = FairShares(lambda: 0.0)
    first = shares.begin("stuck", 1)
    first.priority(SimpleNamespace(is_prefilling=True), 10, 10)
    search = shares.begin("beam search", 1)
    for _ in range(5 * _SWEEP_AT):
        search.priority(SimpleNamespace(is_prefilling=False), 0, 1)
    assert len(shares) <= 2 * _SWEEP_AT + 1 and len(search._waiting) <= 64


def test_a_client_that_leaves_before_its_request_begins_has_used_nothing() -> None:
    shares = FairShares(lambda: 0.0)
    other = shares.begin("other", 1)
    other.priority(SimpleNamespace(is_prefilling=True), 100, 100)
    gone = shares.begin("a", 1)
    first = gone.priority(SimpleNamespace(is_prefilling=True), 1000, 1000)
    gone.end(0)
    assert shares.begin("a", 1).priority(SimpleNamespace(is_prefilling=True), 1, 1) == first


def engine_client() -> Any:
    """As vLLM's, as far as it is used."""
    states: dict[str, Any] = {}

    def add_request(request: Any, _prompt: Any, _parent: Any = None, _index: int = 0, _queue: Any = None) -> str:
        states[request.request_id] = SimpleNamespace(is_prefilling=True, prompt_len=request.prompt)
        return "added"

    client = SimpleNamespace(output_processor=SimpleNamespace(add_request=add_request, request_states=states))
    install(client)
    return client


def engine_request(name: str, prompt: int = 10, most: int | None = 5, priority: int = 0) -> Any:
    parameters = SimpleNamespace(max_tokens=most)
    return SimpleNamespace(request_id=name, prompt=prompt, sampling_params=parameters, priority=priority)


def test_each_request_to_the_engine_has_the_priority_of_its_key_and_none_of_its_clients() -> None:
    shares, add = FairShares(lambda: 0.0), engine_client().output_processor.add_request
    with sharing(shares.begin("a", 1)):
        one, two = engine_request("1", priority=-100), engine_request("2", priority=-(2**63))
        assert add(one, "text") == "added"
        add(two, "text", None, 0, None)
    with sharing(shares.begin("b", 1)):
        other = engine_request("3", priority=7)
        add(other, "text")
    assert (one.priority, two.priority, other.priority) == (0, 10 + ANSWER_TOKEN * 5, 0)
    unshared = engine_request("4", priority=-5)
    add(unshared, "text")
    assert unshared.priority == 0


def test_several_answers_to_a_prompt_count_it_once_and_a_session_that_goes_on_is_one_request() -> None:
    shares, add = FairShares(lambda: 0.0), engine_client().output_processor.add_request
    with sharing(shares.begin("a", 1)):
        for index in range(3):
            add(engine_request(f"{index}_a"), "text", object(), index, None)
        add(engine_request("2_a"), "text", object(), 0, None)
        last = engine_request("last")
        add(last, "text")
    assert last.priority == 10 + 3 * ANSWER_TOKEN * 5


@pytest.mark.parametrize(
    "client",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(output_processor=object()),
        SimpleNamespace(output_processor=SimpleNamespace(add_request=lambda *_: None, request_states=[])),
    ],
)
def test_an_engine_that_is_built_in_another_way_is_left_as_it_is(client: Any) -> None:
    before = getattr(getattr(client, "output_processor", None), "add_request", None)
    install(client)
    assert getattr(getattr(client, "output_processor", None), "add_request", None) is before


def test_requests_of_another_form_pass() -> None:
    client = engine_client()
    shares = FairShares(lambda: 0.0)
    with sharing(shares.begin("a", 1)):
        client.output_processor.add_request(SimpleNamespace(request_id="x", prompt="text"), "text")
        odd = SimpleNamespace(request_id="y", prompt=None, sampling_params=SimpleNamespace(), priority=3)
        client.output_processor.add_request(odd, "text")
    assert odd.priority == 0


QUEUED = FairSharing({"default": Share(max_queue_seconds=3)})


def queueing(client: Any, begins_after: float, seconds: float = 10.0) -> Any:
    """An application whose engine makes the first token after so long."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        name = str(len(client.output_processor.request_states))
        client.output_processor.add_request(engine_request(name), "text")
        state = client.output_processor.request_states[name]
        asyncio.get_running_loop().call_later(begins_after, setattr, state, "is_prefilling", False)
        gone = asyncio.create_task(receive())
        done, _ = await asyncio.wait([gone], timeout=seconds)
        gone.cancel()
        if not done:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    return answer


@pytest.mark.asyncio
@pytest.mark.looptime
@pytest.mark.parametrize(("begins_after", "status", "seconds"), [(2.5, 200, 10), (5, 503, 3)])
async def test_a_request_that_waits_too_long_is_refused(
    house: Any, begins_after: float, status: int, seconds: float
) -> None:
    house.policy = replace(house.policy, fair_sharing=QUEUED)
    house.app.answer = queueing(engine_client(), begins_after)
    reply = await house.ask("POST", COMPLETIONS, {"prompt": "a", "max_tokens": 5})
    assert reply.status == status
    assert asyncio.get_running_loop().time() == pytest.approx(seconds, abs=0.1)
    if status == 503:
        assert reply.error["code"] == "queue_seconds" and int(reply.headers["retry-after"]) > 0
        assert house.meter.rejections == [("queue_seconds", "default")]


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_an_engine_that_tells_nothing_refuses_nothing(house: Any) -> None:
    house.policy = replace(house.policy, fair_sharing=QUEUED)

    async def slow(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(8)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    house.app.answer = slow
    assert (await house.ask("POST", COMPLETIONS, {"prompt": "a", "max_tokens": 5})).status == 200


@pytest.mark.asyncio
async def test_the_gateway_sets_priorities_only_if_keys_share(house: Any) -> None:
    client = engine_client()
    seen: list[Any] = []

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        for name in ("a", "b"):
            seen.append(engine_request(f"{name}{len(seen)}", priority=9))
            client.output_processor.add_request(seen[-1], "text")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    house.app.answer = answer
    for sharing_ in (None, FairSharing({"default": Share(weight=2)})):
        house.policy = replace(house.policy, fair_sharing=sharing_)
        assert (await house.ask("POST", COMPLETIONS, {"prompt": "a", "max_tokens": 5})).status == 200
    assert [each.priority for each in seen] == [0, 0, 0, 10]
