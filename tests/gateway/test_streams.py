"""Streams: not buffered, and not cut by changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from support.nginx_gateway import Gateway, Replica, begin, chat, service

Make = Callable[..., Replica]
CAMPAIGN = os.environ.get("CAMPAIGN") == "full"
STREAMS = 1000 if CAMPAIGN else 40
RELOADS = 20 if CAMPAIGN else 2
ROLLED = 10 if CAMPAIGN else 2


def test_each_event_is_passed_on_at_once(gateway: Gateway, replica: Make) -> None:
    only = replica()
    only.behavior = "hold"
    gateway.route({service(): [only]})
    with contextlib.closing(gateway.connect()) as connection:
        response = begin(connection, "/v1/chat/completions", chat("chat"))
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.read1() == b"data: first\n\n"  # the replica waits
        only.finish.set()
        assert response.read() == b"data: [DONE]\n\n"


def test_reloads_and_replicas_that_are_replaced_cut_no_stream(own_gateway: Gateway, replica: Make) -> None:
    def made() -> Replica:
        one = replica()
        one.behavior = "hold"
        return one

    rotation = [made() for _ in range(ROLLED)]
    everyone = list(rotation)
    own_gateway.route({service(): rotation})
    with contextlib.ExitStack() as stack:
        responses = []
        for _ in range(STREAMS):
            connection = stack.enter_context(contextlib.closing(own_gateway.connect()))
            responses.append(begin(connection, "/v1/chat/completions", chat("chat")))
        for _ in range(RELOADS):
            own_gateway.reload()
        assert own_gateway.outstanding() == [STREAMS / ROLLED] * ROLLED
        for number in range(ROLLED):
            left, rotation[number] = rotation[number], made()
            everyone.append(rotation[number])
            own_gateway.route({service(): rotation})
            before = len(left.posts)
            connection = stack.enter_context(contextlib.closing(own_gateway.connect()))
            responses.append(begin(connection, "/v1/chat/completions", chat("chat")))
            assert len(left.posts) == before
        for each in everyone:
            each.finish.set()
        whole = b"data: first\n\ndata: [DONE]\n\n"
        assert [each.read() for each in responses] == [whole] * (STREAMS + ROLLED)
    own_gateway.wait_for_rest()


def test_routes_stay_over_a_reload(own_gateway: Gateway, replica: Make) -> None:
    own_gateway.route({service(): [replica()]})
    own_gateway.reload()
    assert own_gateway.chat("chat").status == 200
