"""Which replica gets a request, and what happens if it fails."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from support.cluster import wait_until
from support.nginx_gateway import Gateway, Replica, begin, chat, service

Make = Callable[..., Replica]
RETRIES = 'llmservice_gateway_retries_total{namespace="team-a",service="chat"}'


@contextlib.contextmanager
def held(gateway: Gateway, count: int, text: str = "Hello") -> Iterator[None]:
    """So many streams that have begun and do not end before the block does."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(contextlib.closing(gateway.connect()))
            assert begin(connection, "/v1/chat/completions", chat("chat", text)).status == 200
        yield


def holding(make: Make, count: int, behavior: str = "hold") -> list[Replica]:
    """Replicas whose streams do not end."""
    made = [make() for _ in range(count)]
    for each in made:
        each.behavior = behavior
    return made


def test_each_request_goes_to_the_replica_with_the_fewest_outstanding_ones(own_gateway: Gateway, replica: Make) -> None:
    replicas = holding(replica, 3)
    own_gateway.route({service(): replicas})
    with held(own_gateway, 9):
        assert own_gateway.outstanding() == [3, 3, 3]
        replicas.append(replica())
        own_gateway.route({service(): replicas})
        for _ in range(4):
            own_gateway.chat("chat")
        assert len(replicas[-1].posts) == 4
    own_gateway.wait_for_rest()


def test_requests_that_clients_end_are_no_longer_outstanding(own_gateway: Gateway, replica: Make) -> None:
    (only,) = holding(replica, 1)
    own_gateway.route({service(): [only]})
    with held(own_gateway, 5):
        assert own_gateway.outstanding() == [5]
    own_gateway.wait_for_rest()


def test_a_conversation_stays_on_its_replica(own_gateway: Gateway, replica: Make) -> None:
    replicas = [replica(name=str(number)) for number in range(4)]
    own_gateway.route({service(): replicas})
    for user in range(8):
        text = f"You are an assistant. {'x' * 2000} I am user {user}. "
        seen = set()
        for turn in range(6):
            text += f"Turn {turn}: {'y' * 600} "
            seen.add(own_gateway.chat("chat", text).json["replica"])
        assert len(seen) == 1


def test_a_prefix_that_many_share_is_spread_over_the_replicas(own_gateway: Gateway, replica: Make) -> None:
    replicas = holding(replica, 4)
    own_gateway.route({service(): replicas})
    with held(own_gateway, 40, "z" * 4000):
        counts = [len(each.posts) for each in replicas]
        assert sum(counts) == 40
        assert max(counts) <= 13  # 1.25 times the mean, rounded up
    assert (
        own_gateway.metrics()['llmservice_gateway_choices_total{namespace="team-a",service="chat",reason="bound"}'] > 0
    )


def test_a_short_prefix_that_all_share_does_not_keep_long_prompts_together(own_gateway: Gateway, replica: Make) -> None:
    replicas = holding(replica, 4, "compute")
    own_gateway.route({service(): replicas})
    with contextlib.ExitStack() as stack:
        for user in range(4):
            stack.enter_context(held(own_gateway, 1, "You are an assistant. " * 48 + f"I am user {user}. " * 2000))
        assert [len(each.posts) for each in replicas] == [1, 1, 1, 1]


def test_a_replica_with_a_long_prompt_to_compute_gets_fewer_requests(own_gateway: Gateway, replica: Make) -> None:
    replicas = holding(replica, 2, "compute")
    own_gateway.route({service(): replicas})
    with held(own_gateway, 1, "x" * 40000), held(own_gateway, 5):
        assert sorted(own_gateway.outstanding()) == [1, 5]


def test_a_prompt_is_no_work_any_more_once_its_first_token_is_there(own_gateway: Gateway, replica: Make) -> None:
    (only,) = holding(replica, 1)
    own_gateway.route({service(): [only]})
    with held(own_gateway, 2, "x" * 40000):
        wait_until(lambda: own_gateway.uncomputed() == [0], "the first tokens are there", every=0.02)
        assert own_gateway.outstanding() == [2]
        only.behavior = "compute"
        with held(own_gateway, 1, "x" * 40000 + "y" * 5000):
            # The first 38,912 bytes are in the replica's cache already: a prefix is known to an eighth of its length.
            assert 6000 <= own_gateway.uncomputed()[0] <= 6300
    own_gateway.wait_for_rest()


def test_a_prefix_is_known_of_all_replicas_that_got_it(own_gateway: Gateway, replica: Make) -> None:
    replicas = [replica(name=str(number)) for number in range(3)]
    own_gateway.route({service(): replicas})
    text = "z" * 8000
    for each in replicas:
        own_gateway.route({service(): [each]})
        assert own_gateway.chat("chat", text).status == 200
    for each in replicas:
        each.behavior = "hold"
    own_gateway.route({service(): replicas})
    chosen = 'llmservice_gateway_choices_total{namespace="team-a",service="chat",reason="affinity"}'
    before = own_gateway.metrics().get(chosen, 0)
    with held(own_gateway, 9, text):
        assert own_gateway.outstanding() == [3, 3, 3]
        assert own_gateway.metrics()[chosen] == before + 9


def test_keys_with_a_cache_of_their_own_do_not_share_prefixes(own_gateway: Gateway, replica: Make) -> None:
    own_gateway.route({service(per_key=True): [replica(), replica()]})
    own_gateway.chat("chat", "x" * 4000, key="one")
    own_gateway.chat("chat", "x" * 4000, key="two")
    chosen = own_gateway.metrics()
    assert 'llmservice_gateway_choices_total{namespace="team-a",service="chat",reason="affinity"}' not in chosen
    own_gateway.chat("chat", "x" * 4000, key="one")
    assert (
        own_gateway.metrics()['llmservice_gateway_choices_total{namespace="team-a",service="chat",reason="affinity"}']
        == 1
    )


@pytest.mark.parametrize("behavior", ["refuse", "reset", "stopped"])
def test_a_request_without_an_answer_is_sent_to_another_replica(
    own_gateway: Gateway, replica: Make, behavior: str
) -> None:
    broken, good = replica(), replica()
    broken.behavior = behavior
    if behavior == "stopped":
        broken.stop()
    own_gateway.route({service(): [broken, good]})
    for _ in range(8):
        assert own_gateway.chat("chat").status == 200
    assert len(good.posts) == 8
    assert len(broken.posts) <= 1  # it is not chosen again for some seconds
    own_gateway.wait_for_rest()
    assert own_gateway.metrics()[RETRIES] == 1


@pytest.mark.parametrize(("behavior", "status"), [("refuse", 503), ("reset", 502)])
def test_if_all_fail_the_client_gets_an_error_in_json(
    own_gateway: Gateway, replica: Make, behavior: str, status: int
) -> None:
    replicas = [replica(), replica(), replica()]
    for each in replicas:
        each.behavior = behavior
    own_gateway.route({service(): replicas})
    failed = own_gateway.chat("chat")
    assert failed.status == status
    assert failed.json["error"]["message"]
    assert sum(len(each.posts) for each in replicas) == 2


def test_a_stream_that_has_begun_is_never_repeated(own_gateway: Gateway, replica: Make) -> None:
    replicas = [replica(), replica()]
    for each in replicas:
        each.behavior = "cut"
    own_gateway.route({service(): replicas})
    with contextlib.closing(own_gateway.connect()) as connection:
        response = begin(connection, "/v1/chat/completions", chat("chat"))
        assert response.status == 200
        assert response.read1() == b"data: first\n\n"
        with pytest.raises(Exception, match=r"IncompleteRead|reset"):
            response.read()
    assert sum(len(each.posts) for each in replicas) == 1


def test_what_a_dead_worker_counted_is_subtracted(own_gateway: Gateway, replica: Make) -> None:
    (only,) = holding(replica, 1)
    own_gateway.route({service(): [only]})
    with held(own_gateway, 6):
        assert own_gateway.outstanding() == [6]
        for worker in own_gateway.workers():
            os.kill(worker, signal.SIGKILL)
        own_gateway.wait_for_rest()
    only.behavior = "answer"
    assert own_gateway.chat("chat").status == 200
    own_gateway.wait_for_rest()
