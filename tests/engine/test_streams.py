"""Concurrent streams on one replica: many users stream from real vLLM on a CPU, with keys and limits.

Two waves of the same, so that what the first one leaves behind shows in the second.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract import metrics
from llmservice_contract.policy import Policy, RateLimit
from support import concurrent_streams
from support.access import AccessFiles
from support.cluster import wait_until
from support.engine import Engine, make_model

pytestmark = pytest.mark.campaign

USERS = 1500
TOKENS = 24
EARLY, EARLY_TOKENS = 50, 160
"""Those who come first ask for more, so that they still stream when the last has begun."""
TEAMS = 10
"""Keys that the users share."""
FILES = 2 * USERS + 512
PROMPTS = ("The quick brown fox", "What is the capital of", "Permission is hereby granted", "The operator reads")
PATIENCE_SECONDS = 240
GROWTH, SLACK_MIB = 1.02, 4
"""What a process may take in the second wave of its memory in the first, and beside that."""
TIER = RateLimit(requests_per_minute=100 * USERS, tokens_per_minute=10**9)
IN_USE = ("vllm:num_requests_running", "vllm:num_requests_waiting", metrics.ACTIVE)


@dataclass(frozen=True)
class Wave:
    """What the users heard, and what the server took for it."""

    heard: list[concurrent_streams.Heard]
    peaks: dict[int, float]
    """The highest resident memory of each process in MiB."""
    open_files: dict[int, int]
    """Of each process when all users had left."""


@dataclass(frozen=True)
class Seen:
    """The engine after both waves."""

    engine: Engine
    waves: list[Wave]
    plain_key: str
    """One of the tier `default`."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    allow_files()
    directory = tmp_path_factory.mktemp("streams")
    tiers = {"default": RateLimit(requests_per_minute=1), "streams": TIER}
    access = AccessFiles(directory, Policy(require_keys=True, tiers=tiers))
    teams = [access.make_key("streams") for _ in range(TEAMS)]
    sizes = {"MAX_CONTEXT_LENGTH": "256", "MAX_BATCH_SIZE": str(USERS), "MAX_NUM_BATCHED_TOKENS": "4096"}
    plain_key = access.make_key()
    with Engine(directory, make_model(directory / "tiny"), **access.environ, **sizes) as engine:
        engine.wait_until_ready()
        yield Seen(engine, [run_wave(engine, teams) for _ in range(2)], plain_key)


def allow_files() -> None:
    """Both sides hold a file for each user; the engine has the limit of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        if hard < FILES:
            pytest.fail(f"{USERS} streams take {FILES} open files and the limit is {hard}: raise it (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def run_wave(engine: Engine, teams: list[str]) -> Wave:
    """It is over when every user has left and the engine has closed each connection."""
    requests = [
        concurrent_streams.request_bytes(
            teams[user % TEAMS],
            prompt=PROMPTS[user % len(PROMPTS)],
            max_tokens=tokens_of(user),
            ignore_eos=True,
            temperature=0,
        )
        for user in range(USERS)
    ]
    for pid in pids(engine):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    heard = asyncio.run(concurrent_streams.ask_all(engine.port, requests, PATIENCE_SECONDS))
    peaks = {pid: peak_mib(pid) for pid in pids(engine)}
    wait_until(lambda: not connections(engine.port), "the last connection is closed", timeout=60)
    return Wave(heard, peaks, open_files(engine))


def tokens_of(user: int) -> int:
    return EARLY_TOKENS if user < EARLY else TOKENS


def pids(engine: Engine) -> list[int]:
    return sorted({engine.process.pid, *engine.processes()})


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def open_files(engine: Engine) -> dict[int, int]:
    """How many each process has open, connections among them."""
    return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids(engine)}


def connections(port: int) -> int:
    """TCP connections that the server at this port holds; without those that only wait in the kernel."""
    listening, time_wait, server = "0A", "06", f":{port:04X}"
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(row[1].endswith(server) and row[3] not in (listening, time_wait) for row in rows)


def in_use(engine: Engine) -> dict[str, float]:
    """What is being answered or waits, by the engine and by the front."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(engine.metrics())
        for sample in family.samples
        if sample.name in IN_USE
    }


@pytest.mark.parametrize("number", [0, 1], ids=["first", "second"])
def test_every_user_is_admitted_and_gets_all_tokens(seen: Seen, number: int) -> None:
    heard = seen.waves[number].heard
    refused = [each.said for each in heard if each.status != 200]
    assert not refused, f"{len(refused)} of {USERS} were refused, one with {refused[0]}"
    wanted = [(tokens_of(user), tokens_of(user), True) for user in range(USERS)]
    got = [(each.tokens, each.usage, each.whole) for each in heard]
    assert [pair for pair in zip(got, wanted, strict=True) if pair[0] != pair[1]] == []
    assert concurrent_streams.most_at_once(heard) == USERS, "they all streamed at one moment"


def test_the_second_wave_takes_no_more_memory(seen: Seen) -> None:
    first, second = (wave.peaks for wave in seen.waves)
    assert first.keys() == second.keys(), "no process came or went"
    assert {pid: (first[pid], peak) for pid, peak in second.items() if peak > GROWTH * first[pid] + SLACK_MIB} == {}


def test_nothing_is_left_open(seen: Seen) -> None:
    idle = dict.fromkeys(IN_USE, 0.0)
    wait_until(lambda: in_use(seen.engine) == idle, "nothing is being answered and nothing waits", timeout=60)
    first, second = (wave.open_files for wave in seen.waves)
    assert second.keys() == first.keys()
    more = {pid: second[pid] - first[pid] for pid in second if second[pid] - first[pid] > USERS / 10}
    assert more == {}, "vLLM opens some files late and once; nothing is added for users who have left"


def test_the_limits_were_on(seen: Seen) -> None:
    headers = {"Authorization": f"Bearer {seen.plain_key}"}
    seen.engine.complete(PROMPTS[0], headers=headers)
    for given, status in (({}, 401), (headers, 429)):
        with pytest.raises(HTTPError) as refusal:
            seen.engine.complete(PROMPTS[0], headers=given)
        assert refusal.value.code == status
