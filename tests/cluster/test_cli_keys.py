"""`kubectl llm keys` against a real API server: its patches, its conflicts, its limits, its rights."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.services import a_service
from llmservice_contract.keys import digest, read_entry
from llmservice_operator.cli.main import main
from support.cluster import MERGE, Cluster
from support.documents import valid
from support.tenant import kubeconfig_of_tenant

CREATES = [
    {"apiGroups": ["llmservice.dev"], "resources": ["llmservices"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["patch"], "resourceNames": ["chat-keys"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
]
"""What docs/keys.md says that `keys create` needs."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(cluster: Cluster, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """`kubectl llm keys` about a service `chat` that names the Secret chat-keys: status, stdout, stderr."""
    made = cluster.create(namespace, a_service("chat").with_keys("chat-keys").build())
    assert made.ok, made.message

    def keys(line: str, kubeconfig: Path = cluster.kubeconfig) -> tuple[int, str, str]:
        status = main(["keys", *line.split(), "-n", namespace, "--kubeconfig", str(kubeconfig)])
        return status, *capsys.readouterr()

    return keys


def secret_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/chat-keys"


def entries(cluster: Cluster, namespace: str) -> dict[str, str]:
    """What the Secret holds, decoded."""
    data = cluster.request("GET", secret_path(namespace)).body.get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_the_life_of_a_key(cluster: Cluster, namespace: str, run: Run) -> None:
    status, plain, reported = run("create chat --tier premium")
    assert status == 0, reported
    (first,) = entries(cluster, namespace)
    kept = read_entry(first, entries(cluster, namespace)[first])
    assert (kept.sha256, kept.tier) == (digest(plain.strip()), "premium")
    one = cluster.request("GET", cluster.services(namespace, "chat")).body["metadata"]["annotations"]

    status, out, reported = run(f"rotate chat {first} --revoke-old -o json")
    assert status == 0, reported
    second = json.loads(out)
    assert list(entries(cluster, namespace)) == [second["id"]] and second["tier"] == "premium"
    two = cluster.request("GET", cluster.services(namespace, "chat")).body["metadata"]["annotations"]
    assert two["llmservice.dev/refresh"] > one["llmservice.dev/refresh"]

    assert second["id"] in run("list chat")[1]
    status, _, reported = run(f"revoke chat {second['id']}")
    assert status == 0 and "no key is left" in reported
    assert entries(cluster, namespace) == {}
    assert valid(json.loads(run("list chat -o json")[1]))["items"] == []


def test_keys_made_at_the_same_time_are_all_kept(cluster: Cluster, namespace: str, run: Run) -> None:
    """In processes of their own, from no Secret on."""
    command = [sys.executable, "-m", "llmservice_operator.cli", "keys", "create", "chat", "-n", namespace]
    command += ["--kubeconfig", str(cluster.kubeconfig)]
    results: list[subprocess.CompletedProcess[str]] = []

    def create() -> None:
        results.append(subprocess.run(command, capture_output=True, text=True, timeout=120, check=False))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.returncode for each in results] == [0] * 4, results
    kept = {json.loads(text)["sha256"] for text in entries(cluster, namespace).values()}
    assert kept == {digest(each.stdout.strip()) for each in results} and len(kept) == 4


def test_a_full_secret_and_an_immutable_one_are_told_in_words(cluster: Cluster, namespace: str, run: Run) -> None:
    metadata = {"name": "chat-keys", "namespace": namespace}
    full = {"metadata": metadata, "data": {"big": base64.b64encode(bytes(1024 * 1024 - 50)).decode()}}
    made = cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", full)
    assert made.ok, made.message
    status, out, reported = run("create chat")
    assert (status, out) == (1, "") and "is full" in reported

    patch = {"immutable": True, "data": {"big": None}}
    fixed = cluster.request("PATCH", secret_path(namespace), patch, content_type=MERGE)
    assert fixed.ok, fixed.message
    status, out, reported = run("create chat")
    assert (status, out) == (1, "") and "marked immutable" in reported


def test_what_is_missing_is_named(cluster: Cluster, namespace: str, run: Run) -> None:
    status, _, reported = run("create other")
    assert status == 1 and f"no LLMService other in namespace {namespace}" in reported
    made = cluster.create(namespace, a_service("open").build())
    assert made.ok, made.message
    status, _, reported = run("create open")
    assert status == 1 and "name: open-keys" in reported
    status, _, reported = run("revoke chat abcd")
    assert status == 1 and "no Secret chat-keys" in reported


@pytest.fixture
def tenant(cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a user with only the permissions CREATES."""
    return kubeconfig_of_tenant(cluster, namespace, CREATES, tmp_path)


def test_rights_to_create_are_enough_to_create_and_show_nothing(run: Run, tenant: Path) -> None:
    for _ in range(2):
        status, _, reported = run("create chat", tenant)
        assert status == 0 and "within 10 seconds" in reported, reported
    status, out, reported = run("list chat", tenant)
    assert (status, out) == (1, "") and "the permission to `get` secrets" in reported
