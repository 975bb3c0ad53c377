"""Whether real vLLM takes a key's request before those that another key sent earlier."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.policy import FairSharing, Policy, PrefixCache, RateLimit
from support.access import AccessFiles
from support.cluster import wait_until
from support.engine import Engine, make_model

SLOTS, BURST = 2, 10
POLICY = Policy(require_keys=True, tiers={"default": RateLimit()}, fair_sharing=FairSharing())


@dataclass
class Shared:
    """An engine with two keys, and the order in which requests of both ended."""

    engine: Engine
    burst: str
    polite: str
    ended: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, key: str, tokens: int) -> requests.Response:
        """One answer of so many tokens. The client of the burst would like to be the first."""
        first = {"priority": -(2**40)} if key == self.burst else {}
        body: dict[str, Any] = {"model": "tiny", "prompt": "a b c", "max_tokens": tokens, "ignore_eos": True, **first}
        headers = {"Authorization": f"Bearer {key}", **({"X-Vllm-Priority": "-99"} if first else {})}
        url = f"http://127.0.0.1:{self.engine.port}/v1/completions"
        answer = requests.post(url, json=body, headers=headers, timeout=300)
        with self._lock:
            self.ended.append(key)
        return answer

    def refuses_embeddings(self) -> bool:
        headers = {"Authorization": f"Bearer {self.polite}"}
        url = f"http://127.0.0.1:{self.engine.port}/v2/embed"
        return requests.post(url, json={"model": "tiny"}, headers=headers, timeout=60).status_code == 403

    def metric(self, name: str) -> float:
        """Its sum."""
        pages = text_string_to_metric_families(self.engine.metrics())
        return sum(each.value for page in pages for each in page.samples if each.name == name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    directory = tmp_path_factory.mktemp("shared")
    access = AccessFiles(directory, POLICY)
    burst, polite = access.make_key(), access.make_key()
    settings: dict[str, Any] = {
        "MAX_CONTEXT_LENGTH": "512",
        "ENGINE_MAX_NUM_SEQS": str(SLOTS),
        "FAIR_SHARING": "true",
        **access.environ,
    }
    with Engine(directory, make_model(directory / "tiny"), **settings) as engine:
        engine.wait_until_ready()
        yield Shared(engine, burst, polite)


def ahead_of_polite(shared: Shared) -> int:
    """How many requests of a burst end before one of the other key, which is sent when the others are in the queue."""
    with ThreadPoolExecutor(BURST) as clients:
        shared.ended.clear()
        before = shared.metric("vllm:time_to_first_token_seconds_sum")
        begun = time.monotonic()
        burst = [clients.submit(shared.ask, shared.burst, 400) for _ in range(BURST)]
        wait_until(
            lambda: shared.metric("vllm:num_requests_waiting") >= BURST - 2 * SLOTS, "the queue in vLLM's metric"
        )
        answer = shared.ask(shared.polite, 5)
        ahead = shared.ended.index(shared.polite)
        assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] == 5
        assert {each.result().status_code for each in burst} == {200}
        # The last one of the burst waited for nearly all of this time.
        assert shared.metric("vllm:time_to_first_token_seconds_sum") - before >= time.monotonic() - begun
        return ahead


def test_a_burst_does_not_delay_the_first_request_of_another_key(shared: Shared) -> None:
    assert ahead_of_polite(shared) <= 3 * SLOTS, "those that ran, and those that ended before it was in the queue"


def test_a_sequence_stays_free_for_a_key_that_has_sent_requests(shared: Shared) -> None:
    assert shared.ask(shared.polite, 1).status_code == 200
    assert ahead_of_polite(shared) <= SLOTS, "those that ended before it was sent"


@pytest.fixture
def unshared(shared: Shared) -> Iterator[Shared]:
    """The same engine without shares; and with prefix caches for each key, which shows that the policy is in force."""
    path = shared.engine.log.parent / "access.json"
    path.write_text(replace(POLICY, fair_sharing=None, prefix_cache=PrefixCache.PER_KEY).to_json())
    try:
        wait_until(shared.refuses_embeddings, "a policy without shares")
        yield shared
    finally:
        path.write_text(POLICY.to_json())
        wait_until(lambda: not shared.refuses_embeddings(), "the policy of before")


@pytest.mark.campaign
def test_without_shares_the_first_is_the_first(unshared: Shared) -> None:
    assert ahead_of_polite(unshared) >= BURST - SLOTS
