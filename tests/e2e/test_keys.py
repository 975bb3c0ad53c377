"""Keys on the real node: they come and go while a service is in use, as fast as docs/keys.md says, unnoticed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from builders.services import a_service
from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, id_of, make_key
from support.campaign import FULL
from support.cluster import MERGE, wait_until
from support.serving import Serving

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(900)]

NAME = "keyed"
SECRET = "keyed-keys"
NUDGED_SECONDS = 10.0
"""After `kubectl llm keys`."""
UNTOLD_SECONDS = 120.0
"""After a change of the Secret without the refresh annotation."""
EVERY_SECONDS = 0.05


@pytest.fixture(scope="module")
def service(serving: Serving) -> Iterator[str]:
    """A ready service for keys alone, without limits: it is asked all the time."""
    access = {"rateLimits": {"mode": "Disabled"}}
    serving.apply(a_service(NAME).from_source("pvc://models/tiny").on_cpu().with_keys(SECRET, **access).build())
    serving.wait_for(NAME, "Ready", "True")
    yield NAME
    serving.delete("LLMService", NAME)


def test_keys_come_and_go_in_time_and_disturb_nobody(serving: Serving, service: str) -> None:
    first = keys(serving, "create", service)
    within(NUDGED_SECONDS, lambda: ask(serving, first) == 200, "the first key opens")
    (before,) = serving.pods(service)

    with constant_use(serving, first) as used:
        second = keys(serving, "create", service)
        within(NUDGED_SECONDS, lambda: ask(serving, second) == 200, "a new key opens")
        third = keys(serving, "rotate", service, id_of(second), "--revoke-old")
        within(NUDGED_SECONDS, lambda: ask(serving, third) == 200, "the key in the place of one that leaked opens")
        within(NUDGED_SECONDS, lambda: ask(serving, second) == 401, "the one that leaked does not")
        keys(serving, "revoke", service, id_of(third))
        within(NUDGED_SECONDS, lambda: ask(serving, third) == 401, "a revoked key does not open")

        if FULL:  # it is mostly a wait
            untold = put_by_hand(serving)
            within(UNTOLD_SECONDS, lambda: ask(serving, untold) == 200, "a key that others wrote into the Secret opens")

    assert set(used) == {200}, f"answers to a key that did not change: {used}"
    (after,) = serving.pods(service)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [each["restartCount"] for each in after["status"]["containerStatuses"]] == [0]


def test_a_user_tries_it_through_the_api_server_with_a_key_and_not_without(serving: Serving, service: str) -> None:
    """The API server passes the key on as X-Api-Key, and the pieces of the answer as they come."""
    key = keys(serving, "create", service)
    within(NUDGED_SECONDS, lambda: ask(serving, key) == 200, "the key opens")
    done = tries(serving, service, key)
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert (reported["kind"], reported["name"], reported["outputTokens"]) == ("Generation", NAME, 4)
    assert reported["text"] and reported["firstTokenSeconds"] <= reported["seconds"]
    without = tries(serving, service, "")
    assert (without.returncode, "LLM_API_KEY" in without.stderr) == (1, True), without.stderr


def test_a_bench_through_the_api_server_ends_with_figures(serving: Serving, service: str) -> None:
    key = keys(serving, "create", service)
    within(NUDGED_SECONDS, lambda: ask(serving, key) == 200, "the key opens")
    command = [sys.executable, "-m", "llmservice_operator.cli", "bench", service, "-n", serving.namespace]
    command += ["--kubeconfig", str(serving.cluster.kubeconfig), "--rates", "1", "--seconds", "10", "-o", "json"]
    command += ["--prompt-tokens", "4", "--max-tokens", "4", "--target", "requestLatency.p50=600s"]
    environ = {**os.environ, "LLM_API_KEY": key}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    (rate,) = json.loads(done.stdout)["rates"]
    assert rate["succeeded"] > 0 and rate["failed"] == 0, rate
    assert rate["targets"][0]["verdict"] == "Holds"


def tries(serving: Serving, service: str, key: str) -> subprocess.CompletedProcess[str]:
    """`kubectl llm try` as a user runs it."""
    command = [sys.executable, "-m", "llmservice_operator.cli", "try", service, "The", "-n", serving.namespace]
    command += ["--kubeconfig", str(serving.cluster.kubeconfig), "--completion", "--max-tokens", "4", "-o", "json"]
    environ = {**os.environ, "LLM_API_KEY": key}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environ)


def keys(serving: Serving, *arguments: str) -> str:
    """`kubectl llm keys` as a user runs it: what it prints to stdout."""
    command = [sys.executable, "-m", "llmservice_operator.cli", "keys", *arguments, "-n", serving.namespace]
    command += ["--kubeconfig", str(serving.cluster.kubeconfig)]
    command += ["-o", "key"] if arguments[0] in ("create", "rotate") else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def put_by_hand(serving: Serving) -> str:
    """A key that is only written into the Secret, as a GitOps pipeline does."""
    plain, stored = make_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
    data = {stored.id: base64.b64encode(stored.entry().encode()).decode()}
    path = f"/api/v1/namespaces/{serving.namespace}/secrets/{SECRET}"
    answer = serving.cluster.request("PATCH", path, {"data": data}, content_type=MERGE)
    assert answer.ok, answer.message
    return plain


def ask(serving: Serving, key: str) -> int:
    """The status of a short completion; 0 if there is no answer."""
    body = json.dumps({"model": NAME, "prompt": "The", "max_tokens": 1}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{serving.address(NAME)}/v1/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def within(seconds: float, condition: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    wait_until(condition, what, timeout=seconds, every=EVERY_SECONDS)
    print(f"{what}: after {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def constant_use(serving: Serving, key: str) -> Iterator[Counter[int]]:
    """One request after the other with this key; yields how often each status came."""
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def use() -> None:
        while not stop.wait(EVERY_SECONDS):
            seen[ask(serving, key)] += 1

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    try:
        wait_until(lambda: bool(seen), "the first answer", timeout=60)
        yield seen
    finally:
        stop.set()
        thread.join(60)
