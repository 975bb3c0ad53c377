"""Replicas that consist of several pods on the real node: real vLLM with two ranks, a stand-in engine with more.

Each pod has an address of its own. All are on one machine here: the network between nodes is not tried.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest

from builders.services import ServiceBuilder, a_service
from support.campaign import FULL
from support.cluster import wait_until
from support.serving import Serving

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(3000 if FULL else 900)]

KILLS = 20 if FULL else 2
QUESTION = {"prompt": "The above copyright notice", "max_tokens": 24, "temperature": 0}
WHOLE_SECONDS = 400.0 if FULL else 120.0
"""A container that was killed again and again is held back by the kubelet, at last for five minutes."""


def members(serving: Serving, service: str) -> list[dict[str, Any]]:
    """Pods of all ranks, those on their way out left out."""
    found = serving.list("Pod", f"app.kubernetes.io/instance={service},llmservice.dev/nodes-per-replica")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_whole(serving: Serving, service: str, ranks: int) -> bool:
    pods = members(serving, service)
    return len(pods) == ranks and all(map(is_ready, pods))


def processes(pod: dict[str, Any]) -> dict[int, str]:
    """Process ids of what runs in that pod, on this machine, and their command lines."""
    found = {}
    mark = f"VLLM_HOST_IP={pod['status'].get('podIP')}".encode()
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if mark in environment:
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def engines(pod: dict[str, Any]) -> set[int]:
    """Process ids of the engine itself, without what supervises it."""
    is_engine = re.compile(r"stand_in_engine|\bvllm serve\b")
    found = processes(pod).items()
    return {pid for pid, command in found if is_engine.search(command) and "llmservice_runtime." not in command}


def engines_of(serving: Serving, service: str) -> dict[str, set[int]]:
    """Process ids of the service's engines, by pod."""
    return {pod["metadata"]["name"]: engines(pod) for pod in members(serving, service)}


def stand_in(name: str, ranks: int) -> ServiceBuilder:
    """A service on pretended GPUs, one for each rank, whose engines compute nothing."""
    service = a_service(name).from_source("pvc://models/tiny").spread_over(tensor=ranks, nodes=ranks)
    return service.with_spec(
        accelerator={"type": "amd", "resourceName": "nvidia.com/gpu"}, resources={"cpu": "20m", "memory": "256Mi"}
    )


@pytest.mark.campaign
def test_two_ranks_of_vllm_give_the_tokens_of_one_and_again_after_one_was_killed(serving: Serving) -> None:
    pair = a_service("pair").from_source("pvc://models/tiny").spread_over(tensor=2, nodes=2)
    serving.apply(pair.with_spec(resources={"cpu": "300m"}).build())
    serving.wait_for("pair", "Ready", "True")
    first = serving.post("pair", QUESTION)["choices"][0]["text"]
    worker = next(pod for pod in members(serving, "pair") if pod["metadata"]["name"] == "pair-r1-0")
    for engine in engines(worker):
        os.kill(engine, signal.SIGKILL)
    reported = serving.wait_for("pair", "Ready", "False")
    assert reported["reason"] in ("EngineDied", "Killed", "NotReady", "Loading"), reported
    serving.wait_for("pair", "Ready", "True")
    assert serving.post("pair", QUESTION)["choices"][0]["text"] == first
    after = {pod["metadata"]["name"]: pod for pod in members(serving, "pair")}
    assert after["pair-r1-0"]["metadata"]["uid"] == worker["metadata"]["uid"], "its pod stays, with its GPU"
    assert [after[name]["status"]["containerStatuses"][0]["restartCount"] for name in sorted(after)] == [0, 1]

    serving.apply(pair.with_spec(resources={"cpu": "300m"}).spread_over(tensor=1, nodes=1).build())
    serving.wait_for("pair", "Ready", "True")
    assert serving.post("pair", QUESTION)["choices"][0]["text"] == first
    wait_until(lambda: serving.get("StatefulSet", "pair-r1") is None, "the other rank's set is gone", timeout=60)
    serving.delete("LLMService", "pair")
    wait_until(lambda: not serving.pods("pair"), "its pods are gone", timeout=120)


def test_any_rank_may_be_killed_and_no_other_replica_is_touched(serving: Serving) -> None:
    sizes = {"two": 2, "four": 4}
    for name, ranks in sizes.items():
        serving.apply(stand_in(name, ranks).build())
    for name, ranks in sizes.items():
        serving.wait_for(name, "Ready", "True")
        wait_until(lambda n=name, r=ranks: is_whole(serving, n, r), f"{name} is whole", timeout=60)
    chance = random.Random(seed := secrets.randbits(32))
    for number in range(KILLS):
        name = chance.choice(sorted(sizes))
        (other,) = set(sizes) - {name}
        untouched, before = engines_of(serving, other), engines_of(serving, name)
        victim = chance.choice(members(serving, name))
        how = chance.choice(["engine", "container", "pod"])
        said = f"kill {number} of the {how} of {victim['metadata']['name']} (seed {seed})"
        if how == "pod":
            serving.delete("Pod", victim["metadata"]["name"])
        else:
            for pid in engines(victim) if how == "engine" else {min(processes(victim))}:
                os.kill(pid, signal.SIGKILL)

        def whole_again(name: str = name, before: dict[str, set[int]] = before) -> bool:
            now = engines_of(serving, name)
            anew = all(now.get(pod) and not now[pod] & pids for pod, pids in before.items())
            return anew and is_whole(serving, name, sizes[name])

        wait_until(whole_again, f"whole again, all with new engines, after {said}", timeout=WHOLE_SECONDS, every=0.5)
        assert engines_of(serving, other) == untouched, said
    for name in sizes:
        serving.wait_for(name, "Ready", "True")
        serving.delete("LLMService", name)
        wait_until(lambda n=name: not members(serving, n), "its pods are gone", timeout=120)
