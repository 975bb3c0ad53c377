"""The gateway's process wakes services at zero that requests wait for."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.keys import make_key
from support.cluster import wait_until
from support.gateway_process import SECONDS, GatewayProcess
from support.nginx_gateway import begin, chat
from support.watched_api import Watched, llmservice, running

PLAIN, STORED = make_key(bytes(range(40)))
OTHER = make_key(bytes(40))[0]
SCALING = {"minReplicas": 0, "maxReplicas": 2}


class Request:
    """A chat with the service chat that is sent in the background."""

    def __init__(self, gateway: GatewayProcess, key: str = "", name: str = "chat") -> None:
        self.status = 0
        self._code = ""
        self._thread = threading.Thread(target=self._send, args=(gateway.port, key, name))
        self._thread.start()

    def _send(self, port: int, key: str, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        with contextlib.closing(connection):
            response = begin(connection, f"/services/{name}/v1/chat/completions", chat(None), key=key)
            self._code, self.status = json.loads(response.read())["error"]["code"], response.status

    @property
    def code(self) -> str:
        """The code of the error that it ended with."""
        self._thread.join(SECONDS)
        return self._code


def sleeping(name: str = "chat", *conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A service that the autoscaler has scaled to zero."""
    made = llmservice(name, **{"replicas": 0, "scaling": SCALING, **spec})
    return {**made, "status": {"conditions": list(conditions)}}


def known(gateway: GatewayProcess) -> None:
    """Waits until it knows the services."""
    wait_until(
        lambda: 'held_requests{namespace="team-a",service="chat"}' in gateway.metrics(), "routes", timeout=SECONDS
    )


def logged(directory: Path, text: bytes) -> None:
    """Waits until the log has this text."""
    wait_until(lambda: text in (directory / "log").read_bytes(), f"the log has {text!r}", timeout=SECONDS)


def test_a_service_at_zero_is_scaled_to_one_and_no_other(tmp_path: Path) -> None:
    watched = Watched()
    disabled = {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}
    watched.put("llmservices", sleeping())
    watched.put("llmservices", llmservice("without-scaling", replicas=0))
    watched.put("llmservices", sleeping("at-least-one", scaling={"minReplicas": 1, "maxReplicas": 2}))
    watched.put("llmservices", sleeping("switched-off", disabled))
    with running(tmp_path, watched) as gateway:
        known(gateway)
        for name in ("without-scaling", "at-least-one", "switched-off"):
            assert Request(gateway, name=name).code == "no_ready_replica"
        request = Request(gateway)
        logged(tmp_path, b"scaled from 0 to 1")
        gateway.stop()
        assert request.code == "gateway_stops"
    assert [each["spec"] for each in watched.scaled] == [{"replicas": 1}]
    assert watched.objects["llmservices"]["chat"]["spec"]["replicas"] == 1


@pytest.mark.campaign
def test_it_tries_again_if_the_api_server_fails_and_if_the_service_is_at_zero_again(tmp_path: Path) -> None:
    watched = Watched()
    watched.put("llmservices", sleeping())
    watched.refused = 1
    with running(tmp_path, watched) as gateway:
        known(gateway)
        Request(gateway)
        logged(tmp_path, b"retrying")
        logged(tmp_path, b"scaled from 0 to 1")
        watched.put("llmservices", sleeping())
        wait_until(lambda: len(watched.scaled) == 2, "it is woken again", timeout=SECONDS)
        gateway.stop()


def test_a_request_ends_with_the_reason_that_the_status_has(tmp_path: Path) -> None:
    watched = Watched()
    since = "2026-11-30T00:00:00Z"
    unplaced = {"type": "Scheduled", "status": "False", "reason": "NoFreeDevices", "lastTransitionTime": since}
    watched.put("llmservices", sleeping())
    with running(tmp_path, watched) as gateway:
        known(gateway)
        request = Request(gateway)
        wait_until(lambda: bool(watched.scaled), "it is woken", timeout=SECONDS)
        watched.put("llmservices", sleeping("chat", unplaced, replicas=1))
        assert (request.code, request.status) == ("cannot_start", 503)
        gateway.stop()


def test_a_key_of_the_secret_wakes_it_and_no_other_does(tmp_path: Path) -> None:
    watched = Watched()
    watched.secrets["keys"] = {STORED.id: STORED.entry(), "broken": "x"}
    watched.put("llmservices", sleeping(access={"apiKeys": {"secretRef": {"name": "keys"}}}))
    with running(tmp_path, watched) as gateway:
        known(gateway)
        for key in ("", OTHER, PLAIN + "x"):
            assert Request(gateway, key).code == "invalid_api_key"
        assert not watched.scaled
        request = Request(gateway, PLAIN)
        wait_until(lambda: bool(watched.scaled), "it is woken", timeout=SECONDS)
        gateway.stop()
        assert request.code == "gateway_stops"
    assert set(watched.secret_reads) == {"keys"}


def test_without_the_right_to_read_the_keys_a_key_wakes_nothing_and_the_log_says_so(tmp_path: Path) -> None:
    watched = Watched()
    watched.put("llmservices", sleeping(access={"apiKeys": {"secretRef": {"name": "keys"}}}))
    with running(tmp_path, watched) as gateway:
        known(gateway)
        for _ in range(3):
            assert Request(gateway, PLAIN).code == "no_ready_replica"
        gateway.stop()
    assert not watched.scaled
    assert (tmp_path / "log").read_text().count("may not read the Secret team-a/keys") == 1
    assert PLAIN not in (tmp_path / "log").read_text()
