"""Files and batches on the real node: the chart's program, behind the gateway, before real vLLM, by OpenAI's client."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import openai
import pytest

from builders.services import a_service
from support.batches import custom_ids, openai_client, results, wait_for
from support.cluster import ROOT, Cluster, wait_until
from support.release import NAME as RELEASE
from support.release import NAMESPACE as SYSTEM
from support.release import Release
from support.serving import Serving
from support.web import host

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1200)]

NAME = "batched"
KEYS = "batched-keys"
SECRET = f"{RELEASE}-batches-test"
POD = f"{RELEASE}-batches-0"
LINES = 60
TOKENS = 200
"""Of each line, so that the batch outlasts the deletion of the pod."""


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, serving: Serving) -> Iterator[str]:
    """Address of the gateway's Service; its image is built and on the node, and the program of batches runs."""
    subprocess.run([ROOT / "hack" / "cluster" / "images" / "build", "gateway"], check=True, timeout=600)
    key = base64.b64encode(b"k" * 32).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": {"key": key}}
    secrets = f"/api/v1/namespaces/{SYSTEM}/secrets"
    cluster.request("POST", secrets, secret)
    release = Release(cluster.kubeconfig)
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}}
    values = {
        "type": "NGINX",
        "image": {"pullPolicy": "Never"},
        "namespaces": [serving.namespace],
        "defaultNamespace": serving.namespace,
        "resources": small,
    }
    batches = {"enabled": True, "secret": SECRET, "storage": {"size": "1Gi"}, "resources": small}
    release.install(gateway=values, batches=batches)
    try:
        found = cluster.request("GET", f"/api/v1/namespaces/{SYSTEM}/services/{RELEASE}-gateway").body
        yield f"http://{host(found['spec']['clusterIP'])}:{found['spec']['ports'][0]['port']}/v1"
    finally:
        release.install()
        cluster.request("DELETE", f"{secrets}/{SECRET}")
        cluster.request("DELETE", f"/api/v1/namespaces/{SYSTEM}/persistentvolumeclaims/data-{POD}")


@pytest.fixture(scope="module")
def client(serving: Serving, gateway: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client with a key of a service that runs."""
    made = a_service(NAME).from_source("pvc://models/tiny").with_replicas(1)
    access = {"rateLimits": {"mode": "Disabled"}}
    serving.apply(made.with_keys(KEYS, **access).with_spec(resources={"cpu": "250m", "memory": "6Gi"}).build())
    serving.wait_for(NAME, "Ready", "True")
    command = [sys.executable, "-m", "llmservice_operator.cli", "keys", "create", NAME, "-o", "key"]
    command += ["-n", serving.namespace, "--kubeconfig", str(serving.cluster.kubeconfig)]
    key = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    opened = openai_client(gateway, key).with_options(max_retries=20)
    yield opened
    serving.delete("LLMService", NAME)


def uid(cluster: Cluster) -> str | None:
    """Of the program's pod, if it is ready."""
    answer = cluster.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods/{POD}")
    if not answer.ok:
        return None
    found = answer.body
    ready = [each for each in found.get("status", {}).get("conditions", ()) if each["type"] == "Ready"]
    return str(found["metadata"]["uid"]) if ready and ready[0]["status"] == "True" else None


def accepted(client: openai.OpenAI) -> bool:
    """Whether the program accepts the key."""
    try:
        client.with_options(max_retries=0).files.list()
    except openai.OpenAIError:
        return False
    return True


def test_a_batch_outlives_its_pod_and_each_line_is_answered_once(cluster: Cluster, client: openai.OpenAI) -> None:
    # Replicas read a new key within seconds.
    wait_until(lambda: accepted(client), "the key opens", timeout=120)
    body = {"model": NAME, "prompt": "The", "max_tokens": TOKENS, "ignore_eos": True}
    rows = [
        {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/completions", "body": body}
        for number in range(LINES)
    ]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")

    def answered() -> int:
        counts = client.batches.retrieve(made.id).request_counts
        return counts.completed if counts else 0

    wait_until(lambda: answered() > 0, "some lines are answered", timeout=300, every=0.05)
    before = uid(cluster)
    deleted = cluster.request("DELETE", f"/api/v1/namespaces/{SYSTEM}/pods/{POD}", gracePeriodSeconds="1")
    assert deleted.ok, deleted.message
    wait_until(lambda: uid(cluster) not in (None, before), "another pod is ready", timeout=180)
    batch = wait_for(client, made.id, seconds=600)
    assert batch.status == "completed", batch
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
    assert custom_ids(client, batch) == Counter(row["custom_id"] for row in rows)
    for each in results(client, batch.output_file_id):
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["usage"]["completion_tokens"] == TOKENS
