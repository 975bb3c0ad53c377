"""The NGINX gateway on the real node: its image and the chart's objects, before two replicas with real vLLM."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.services import a_service
from support.cluster import ROOT, Cluster, wait_until
from support.release import NAME as RELEASE
from support.release import NAMESPACE as SYSTEM
from support.release import Release
from support.serving import Serving
from support.web import host

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(900)]

NAME = "behind"
SECRET = "behind-keys"
DOMAIN = "llm.example.com"
GATEWAY = f"{RELEASE}-gateway"
LONG_TOKENS = 1000


@pytest.fixture(scope="module")
def service(serving: Serving) -> Iterator[str]:
    """A service with two replicas, for keys alone."""
    made = a_service(NAME).from_source("pvc://models/tiny").with_replicas(2)
    access = {"rateLimits": {"mode": "Disabled"}}
    serving.apply(made.with_keys(SECRET, **access).with_spec(resources={"cpu": "250m", "memory": "6Gi"}).build())
    serving.wait_for(NAME, "Ready", "True")
    yield NAME
    serving.delete("LLMService", NAME)


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, serving: Serving) -> Iterator[str]:
    """Address of the gateway's Service; its image is built and on the node."""
    subprocess.run([ROOT / "hack" / "cluster" / "images" / "build", "gateway"], check=True, timeout=600)
    release = Release(cluster.kubeconfig)
    values = {
        "type": "NGINX",
        "image": {"pullPolicy": "Never"},
        "namespaces": [serving.namespace],
        "defaultNamespace": serving.namespace,
        "domain": DOMAIN,
        "shutdownSeconds": 5,
        "drainDelaySeconds": 0,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    }
    release.install(gateway=values)
    try:
        found = cluster.request("GET", f"/api/v1/namespaces/{SYSTEM}/services/{GATEWAY}").body
        yield f"{host(found['spec']['clusterIP'])}:{found['spec']['ports'][0]['port']}"
    finally:
        release.install()


@pytest.fixture(scope="module")
def key(serving: Serving, service: str) -> str:
    """A key of the service, as `kubectl llm keys` makes it."""
    command = [sys.executable, "-m", "llmservice_operator.cli", "keys", "create", service, "-o", "key"]
    command += ["-n", serving.namespace, "--kubeconfig", str(serving.cluster.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


class Stream:
    """A streamed completion in a thread of its own."""

    def __init__(self, gateway: str, key: str, tokens: int, **headers: str) -> None:
        self.status = 0
        self.events: list[str] = []
        self.ended = ""
        """How it ended: whole, cut or an error's name."""
        self._gateway, self._tokens = gateway, tokens
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **headers}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        body = {"model": NAME, "prompt": "The", "max_tokens": self._tokens, "ignore_eos": True, "stream": True}
        connection = http.client.HTTPConnection(self._gateway, timeout=300)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), self._headers)
            answer = connection.getresponse()
            self.status = answer.status
            for line in answer:
                if text := line.decode().strip().removeprefix("data: "):
                    self.events.append(text)
            self.ended = "whole" if self.events[-1:] == ["[DONE]"] else "cut"
        except (OSError, http.client.HTTPException) as error:
            self.ended = type(error).__name__
        finally:
            connection.close()

    def wait(self) -> Stream:
        """Returns once it has ended."""
        self._thread.join(300)
        return self


def get(gateway: str, path: str, **headers: str) -> tuple[int, Any]:
    """The status and the document of a GET."""
    connection = http.client.HTTPConnection(gateway, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def processes_of(pod: str) -> list[int]:
    """The pod's processes on this machine."""
    mark, found = f"HOSTNAME={pod}".encode(), []
    for entry in filter(lambda entry: entry.name.isdecimal(), Path("/proc").iterdir()):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def outstanding(cluster: Cluster) -> dict[str, float]:
    """Outstanding requests of each replica, of all pods of the gateway."""
    pods = cluster.request(
        "GET", f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector="app.kubernetes.io/component=gateway"
    ).body["items"]
    found: dict[str, float] = {}
    for each in pods:
        address = f"{host(each['status']['podIP'])}:9090"
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/metrics")
        for line in connection.getresponse().read().decode().splitlines():
            if line.startswith("llmservice_gateway_outstanding_requests{") and f'service="{NAME}"' in line:
                pod = line.partition('pod="')[2].partition('"')[0]
                found[pod] = found.get(pod, 0) + float(line.rpartition(" ")[2])
        connection.close()
    return found


def test_a_stream_a_key_and_a_host_name(serving: Serving, gateway: str, key: str) -> None:
    opens = {"Authorization": f"Bearer {key}"}

    def listed() -> list[str]:
        return [each["id"] for each in get(gateway, "/v1/models", **opens)[1]["data"]]

    # Replicas read a new key within seconds, and the gateway keeps their answers for five.
    wait_until(lambda: listed() == [NAME], "the key opens", timeout=60)
    assert get(gateway, "/v1/models/behind", Authorization="Bearer wrong")[0] == 401
    assert get(gateway, f"/v1/models/{NAME}", Host=f"{NAME}.{serving.namespace}.{DOMAIN}", **opens)[0] == 200
    assert get(gateway, f"/v1/models/{NAME}", Host=f"{NAME}.default.{DOMAIN}", **opens)[0] == 404
    streamed = Stream(gateway, key, 8).wait()
    assert (streamed.status, streamed.ended) == (200, "whole")
    assert len(streamed.events) > 2
    refused = Stream(gateway, "wrong", 8).wait()
    assert refused.status == 401


def test_a_replica_that_is_killed_costs_its_own_streams_alone(
    cluster: Cluster, serving: Serving, gateway: str, key: str
) -> None:
    pods = [each["metadata"]["name"] for each in serving.pods(NAME)]
    wait_until(lambda: set(outstanding(cluster)) == set(pods), "both replicas are in the rotation", timeout=60)
    streams: list[Stream] = []
    while min(outstanding(cluster).values()) == 0:
        streams.append(Stream(gateway, key, LONG_TOKENS))
        assert len(streams) < 32, "no stream reaches one of the replicas"
        wait_until(lambda: streams[-1].events or streams[-1].ended, "it streams", timeout=120, every=0.02)
    on_it = outstanding(cluster)[pods[0]]
    for each in processes_of(pods[0]):
        os.kill(each, signal.SIGKILL)
    after = [Stream(gateway, key, 4).wait() for _ in range(4)]
    assert [(each.status, each.ended) for each in after] == [(200, "whole")] * 4
    ended = [each.wait().ended for each in streams]
    assert "whole" in ended
    assert 1 <= sum(each != "whole" for each in ended) <= on_it, ended
