"""Requests for a service at zero: they start its replica on the real node, and real vLLM answers each of them.

The gateway runs beside the node, with the chart's permissions alone.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from builders.services import a_service
from support.cluster import wait_until
from support.gateway_account import gateway_account, token_of
from support.gateway_process import SECONDS, GatewayProcess
from support.nginx_gateway import begin
from support.serving import READY_SECONDS, Serving

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1200)]

NAME, REQUESTS = "asleep", 20
SCALING = {"minReplicas": 0, "maxReplicas": 1, "targets": {"timeToFirstToken": {"p99": "60s"}}}
COMMENTS = {"X-LLMService-Hold": "comments"}
ADDED_SECONDS = 2.0
STAMP_SECONDS = 1.0
"""Times in objects are whole seconds."""


@pytest.fixture
def gateway(serving: Serving, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway for the namespace."""
    with gateway_account(serving.cluster, serving.namespace) as account:
        token = token_of(serving.cluster, serving.namespace, account)
        kubeconfig = yaml.safe_load(serving.cluster.kubeconfig.read_text())
        made = GatewayProcess(tmp_path, kubeconfig["clusters"][0]["cluster"], token, serving.namespace)
        yield made
        made.stop()


def first_token(gateway: GatewayProcess, number: int) -> tuple[str, float]:
    """The answer's id, and when its first event came. Half of the requests have comments while they wait."""
    body = {"model": NAME, "prompt": f"Number {number}", "max_tokens": 4, "temperature": 0, "stream": True}
    headers = COMMENTS if number % 2 else {}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=READY_SECONDS)
    with contextlib.closing(connection):
        response = begin(connection, "/v1/completions", body, headers=headers)
        assert response.status == 200, response.read()
        at, found = 0.0, ""
        for line in response:
            data = line.decode().strip().removeprefix("data: ")
            if data.startswith("{") and not found:
                at, found = time.time(), json.loads(data)["id"]
        assert data == "[DONE]" or not data
        return found, at


def stamp(text: str) -> float:
    """Seconds since 1970."""
    return datetime.datetime.fromisoformat(text).timestamp()


def test_twenty_requests_to_a_service_at_zero_are_answered(serving: Serving, gateway: GatewayProcess) -> None:
    service = a_service(NAME).from_source("pvc://models/tiny").on_cpu().with_replicas(0)
    serving.apply(service.with_spec(resources={"cpu": "700m"}, scaling=SCALING).build())
    serving.wait_for(NAME, "Serving", "False", "ScaledToZero")
    known = f'held_requests{{namespace="{serving.namespace}",service="{NAME}"}} 0'
    wait_until(lambda: known in gateway.metrics(), "the gateway knows the service", timeout=SECONDS)
    began = time.time()
    with ThreadPoolExecutor(REQUESTS) as threads:
        found = list(threads.map(lambda number: first_token(gateway, number), range(REQUESTS)))
    assert len({each for each, _ in found}) == REQUESTS
    (pod,) = serving.pods(NAME)
    (ready,) = [each for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    made, served = stamp(pod["metadata"]["creationTimestamp"]), stamp(ready["lastTransitionTime"])
    first, last = min(at for _, at in found), max(at for _, at in found)
    print(
        f"pod made {made - began:.1f} s after the requests, ready {served - made:.0f} s later; "
        f"first token {first - served:.1f} s after that, last request's {last - served:.1f} s"
    )
    assert made - began <= ADDED_SECONDS + STAMP_SECONDS
    assert first - served <= ADDED_SECONDS + STAMP_SECONDS
    service_now = serving.get("LLMService", NAME)
    assert service_now is not None
    assert service_now["spec"]["replicas"] == 1
    serving.delete("LLMService", NAME)
