"""Requests for a service at zero wait for its first replica."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.keys import digest, id_of, make_key
from llmservice_operator.gateway.routes import Refusal, ServedService
from support.cluster import wait_until
from support.nginx_gateway import NAMESPACE, Answer, Gateway, Replica, chat, nginx_gateway, service

Make = Callable[..., Replica]
KEY = make_key(bytes(range(40)))[0]
QUESTION = f"{NAMESPACE}/chat:{id_of(KEY)}:{digest(KEY)}"


def sleeping(name: str = "chat", *, namespace: str = NAMESPACE, **more: Any) -> ServedService:
    """A service that scales to zero."""
    return replace(service(name, namespace=namespace), scales_to_zero=True, asleep=True, **more)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Sends requests at once."""
    with ThreadPoolExecutor(256) as made:
        yield made


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with few places: 8, so a namespace has 4 and a service 2."""
    with nginx_gateway(tmp_path / "gateway", hold_requests=8) as made:
        yield made


def control(gateway: Gateway, method: str, path: str, body: bytes | None = None) -> bytes:
    """A request of the controller."""
    connection = http.client.HTTPConnection("control")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(gateway.directory / "control.sock"))
    with contextlib.closing(connection):
        connection.request(method, path, body)
        return connection.getresponse().read()


def wanted(gateway: Gateway) -> list[str]:
    """What the controller gets to know."""
    return control(gateway, "GET", "/wanted").decode().splitlines()


def held(gateway: Gateway, name: str = "chat", namespace: str = NAMESPACE) -> float:
    """Requests that wait."""
    return gateway.metrics().get(f'llmservice_gateway_held_requests{{namespace="{namespace}",service="{name}"}}', 0)


def wait_held(gateway: Gateway, number: int, name: str = "chat", namespace: str = NAMESPACE) -> None:
    """Waits until so many requests wait."""
    wait_until(lambda: held(gateway, name, namespace) == number, f"{number} requests wait", every=0.02)


def send(
    pool: ThreadPoolExecutor, gateway: Gateway, texts: Sequence[str], path: str = "", key: str = ""
) -> list[Future[Answer]]:
    """Sends a chat with each text."""
    url = f"{path}/v1/chat/completions"
    return [pool.submit(gateway.chat, None, text, key=key, path=url) for text in texts]


def test_all_requests_at_once_wait_and_each_is_answered_once(
    own_gateway: Gateway, replica: Make, pool: ThreadPoolExecutor
) -> None:
    own_gateway.route({sleeping(): []})
    texts = [f"text {number}" for number in range(20)]
    answers = send(pool, own_gateway, texts)
    wait_held(own_gateway, 20)
    assert wanted(own_gateway) == [f"service:{NAMESPACE}/chat"]
    first = replica()
    own_gateway.route({sleeping(): [first]})
    assert {each.result().status for each in answers} == {200}
    got = [json.loads(each.body)["messages"][0]["content"] for each in first.posts]
    assert sorted(got) == sorted(texts)
    assert held(own_gateway) == 0
    lines = own_gateway.log(20)
    assert all(float(each["held_seconds"]) > 0 for each in lines)


def test_after_a_reload_they_still_wait(own_gateway: Gateway, replica: Make, pool: ThreadPoolExecutor) -> None:
    own_gateway.route({sleeping(): []})
    answers = send(pool, own_gateway, ["Hello"])
    wait_held(own_gateway, 1)
    own_gateway.reload()
    assert held(own_gateway) == 1
    own_gateway.route({sleeping(): [replica()]})
    assert answers[0].result().status == 200


@pytest.mark.campaign
def test_requests_of_a_worker_that_dies_are_not_counted(own_gateway: Gateway, pool: ThreadPoolExecutor) -> None:
    own_gateway.route({sleeping(): []})
    answers = send(pool, own_gateway, ["Hello"] * 4)
    wait_held(own_gateway, 4)
    for worker in own_gateway.workers():
        os.kill(worker, signal.SIGKILL)
    for each in answers:
        assert each.exception() is not None
    wait_held(own_gateway, 0)


def test_other_services_and_requests_do_not_wait(gateway: Gateway) -> None:
    gateway.route({service(): []})
    assert gateway.chat(None).code == "no_ready_replica"
    gateway.route({sleeping(): []})
    assert gateway.ask("/services/chat/v1/models").code == "no_ready_replica"


def test_a_client_that_leaves_gives_its_place_free(gateway: Gateway) -> None:
    gateway.route({sleeping(): []})
    with contextlib.closing(gateway.connect()) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(chat(None)))
        wait_held(gateway, 1)
    wait_held(gateway, 0)


def test_a_service_and_a_namespace_have_parts_of_the_places(small: Gateway, pool: ThreadPoolExecutor) -> None:
    small.route({sleeping(name): [] for name in ("one", "two", "three")})
    answers = send(pool, small, ["Hello"] * 3, "/services/one")
    wait_held(small, 2, "one")
    answers += send(pool, small, ["Hello"] * 2, "/services/two")
    wait_held(small, 2, "two")
    refused = small.chat(None, path="/services/three/v1/chat/completions")
    assert (refused.status, refused.code) == (503, "too_many_held")
    assert refused.headers["Retry-After"]
    control(small, "POST", "/stop")
    assert sorted(each.result().code for each in answers) == ["gateway_stops"] * 4 + ["too_many_held"]


def test_two_namespaces_that_took_all_places_make_room_for_a_third(small: Gateway, pool: ThreadPoolExecutor) -> None:
    spaces = ("team-a", "team-b", "team-c")
    small.route({sleeping(name, namespace=space): [] for space in spaces for name in ("one", "two")})
    taken: list[Future[Answer]] = []
    for space in spaces[:2]:
        for name in ("one", "two"):
            taken += send(pool, small, ["Hello"] * 2, f"/namespaces/{space}/services/{name}")
            wait_held(small, 2, name, space)
    third = send(pool, small, ["Hello"] * 2, "/namespaces/team-c/services/one")
    wait_until(lambda: sum(each.done() for each in taken) >= 2, "others give up places")
    assert {each.result().code for each in taken if each.done()} == {"too_many_held"}
    assert not any(each.done() for each in third)
    assert held(small, "one", "team-c") == 2
    control(small, "POST", "/stop")
    assert {each.result().code for each in third} == {"gateway_stops"}


def test_bodies_that_wait_take_a_part_of_the_memory(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    megabyte = 2**20
    with nginx_gateway(tmp_path / "gateway", held_bytes=16 * megabyte) as small:
        small.route({sleeping(): []})
        answers = send(pool, small, ["x" * megabyte] * 3)
        wait_held(small, 3)
        answers += send(pool, small, ["x" * megabyte] * 3)
        wait_until(lambda: any(each.done() for each in answers), "one is refused")
        assert {each.result().code for each in answers if each.done()} == {"too_many_held"}
        assert held(small) >= 3
        control(small, "POST", "/stop")


def test_it_ends_with_the_reason_if_there_will_be_no_replica(gateway: Gateway, pool: ThreadPoolExecutor) -> None:
    now = int(time.time())
    gateway.route({sleeping(refusal=Refusal("NoFreeDevices", now + 3600)): []})
    answers = send(pool, gateway, ["Hello"])
    wait_held(gateway, 1)
    gateway.route({sleeping(refusal=Refusal("NoFreeDevices", now - 1)): []})
    refused = answers[0].result()
    assert (refused.status, refused.code) == (503, "cannot_start")
    assert "NoFreeDevices" in refused.json["error"]["message"]
    assert refused.headers["Retry-After"]


def test_it_ends_when_the_time_is_over_or_the_service_is_gone(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with nginx_gateway(tmp_path / "gateway", hold_seconds=1) as short:
        short.route({sleeping(): []})
        assert short.chat(None).code == "hold_time_over"
        answers = send(pool, short, ["Hello"])
        wait_held(short, 1)
        short.route({sleeping("other"): []})
        assert answers[0].result().code == "no_ready_replica"


def test_with_a_hold_of_zero_seconds_nothing_waits(tmp_path: Path) -> None:
    with nginx_gateway(tmp_path / "gateway", hold_seconds=0) as none:
        none.route({sleeping(): []})
        assert none.chat(None).code == "no_ready_replica"


def judge(gateway: Gateway, verdict: str, question: str = QUESTION) -> None:
    """A verdict on a key."""
    control(gateway, "POST", "/verdicts", json.dumps({question: verdict}).encode())


def test_a_request_without_a_key_wakes_nothing(own_gateway: Gateway, pool: ThreadPoolExecutor) -> None:
    own_gateway.route({sleeping(keys_secret="keys"): [], sleeping("open"): []})
    for headers in (
        {},
        {"Authorization": "Bearer no-key"},
        {"Authorization": f"Basic {KEY}"},
        {"x-api-key": KEY, "Authorization": f"Bearer {make_key(bytes(40))[0]}"},
        {"x-api-key": "x" * 600},
    ):
        refused = own_gateway.ask("/services/chat/v1/chat/completions", chat(None), headers=headers)
        assert (refused.status, refused.code) == (401, "invalid_api_key"), headers
    send(pool, own_gateway, ["Hello"], "/services/open")
    assert wanted(own_gateway) == [f"service:{NAMESPACE}/open"]
    control(own_gateway, "POST", "/stop")


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
def test_a_request_with_a_key_wakes_after_the_verdict(
    own_gateway: Gateway, replica: Make, pool: ThreadPoolExecutor, header: str
) -> None:
    own_gateway.route({sleeping(keys_secret="keys"): []})
    headers = {header: KEY if header == "x-api-key" else f"bearer  {KEY} "}
    answer = pool.submit(own_gateway.ask, "/v1/chat/completions", chat(None), headers=headers)
    assert wanted(own_gateway) == [f"key:{QUESTION}"]
    judge(own_gateway, "valid")
    wait_until(lambda: wanted(own_gateway) == [f"service:{NAMESPACE}/chat"], "it is to be woken")
    own_gateway.route({sleeping(keys_secret="keys"): [replica()]})
    assert answer.result().status == 200


@pytest.mark.parametrize(
    ("verdict", "status", "code"), [("invalid", 401, "invalid_api_key"), ("unreadable", 503, "no_ready_replica")]
)
def test_a_key_that_is_not_valid_or_can_not_be_checked_wakes_nothing(
    own_gateway: Gateway, pool: ThreadPoolExecutor, verdict: str, status: int, code: str
) -> None:
    own_gateway.route({sleeping(keys_secret="keys"): []})
    answers = send(pool, own_gateway, ["Hello"], key=KEY)
    assert wanted(own_gateway) == [f"key:{QUESTION}"]
    judge(own_gateway, verdict)
    assert (answers[0].result().status, answers[0].result().code) == (status, code)
    again = own_gateway.chat(None, key=KEY)
    assert again.code == code
