"""Requests that wait at the gateway are answered by real vLLM, once each, as soon as it is ready."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from support.cluster import wait_until
from support.engine import READY_SECONDS, Engine, make_model
from support.nginx_gateway import Gateway, Replica, begin, nginx_gateway, service

pytestmark = pytest.mark.campaign
REQUESTS = 20
HELD = 'llmservice_gateway_held_requests{namespace="team-a",service="tiny"}'


@dataclass(frozen=True)
class Started:
    """What the gateway has to know of an engine."""

    port: int
    revision: str = ""


def test_twenty_requests_are_answered_when_the_engine_is_ready(tmp_path: Path) -> None:
    sleeping = replace(service("tiny"), scales_to_zero=True, asleep=True)

    def ask(gateway: Gateway, number: int) -> tuple[int, str, float]:
        body = {"model": "tiny", "prompt": f"Number {number}", "max_tokens": 1, "temperature": 0}
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=READY_SECONDS)
        ) as connection:
            response = begin(connection, "/v1/completions", body)
            return response.status, json.loads(response.read())["id"], time.monotonic()

    with nginx_gateway(tmp_path / "gateway") as gateway, ThreadPoolExecutor(REQUESTS) as threads:
        gateway.route({sleeping: []})
        answers = [threads.submit(ask, gateway, number) for number in range(REQUESTS)]
        wait_until(lambda: gateway.metrics()[HELD] == REQUESTS, "all wait", timeout=60)
        began = time.monotonic()
        with Engine(tmp_path, make_model(tmp_path / "model")) as engine:
            engine.wait_until_ready()
            ready = time.monotonic()
            gateway.route({sleeping: [cast(Replica, Started(engine.port))]})
            found = [each.result() for each in answers]
    assert {status for status, _, _ in found} == {200}
    assert len({number for _, number, _ in found}) == REQUESTS
    times = sorted(at - ready for _, _, at in found)
    print(f"engine ready after {ready - began:.1f} s; first answer {times[0]:.2f} s later, last {times[-1]:.2f} s")
