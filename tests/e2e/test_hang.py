"""An engine core that is stopped behind vLLM's HTTP server, on the real node: it gets no more requests within seconds,
and the kubelet restarts its container."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from builders.services import a_service
from llmservice_contract import causes
from support.cluster import wait_until
from support.serving import Serving

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(900)]

NAME = "stopped"
QUESTION = {"prompt": "The above copyright notice", "max_tokens": 8, "temperature": 0}
FOUND_SECONDS = 120
"""Until the pod is not ready, and until its container has exited: some 20 s and 40 s, on a busy machine more."""


def core_of(pod: dict[str, Any]) -> int:
    """The process of the pod's engine core, on this machine. It is a child of the HTTP server; vLLM has written its
    title over its environment."""
    mark = f"HOSTNAME={pod['metadata']['name']}".encode()
    servers, cores = set(), {}
    for entry in filter(lambda entry: entry.name.isdecimal(), Path("/proc").iterdir()):
        try:
            if b"EngineCore" in (entry / "cmdline").read_bytes():
                cores[int((entry / "stat").read_text().rpartition(")")[2].split()[1])] = int(entry.name)
            elif mark in (entry / "environ").read_bytes().split(b"\0"):
                servers.add(int(entry.name))
        except OSError:
            continue
    found = [core for parent, core in cores.items() if parent in servers]
    assert len(found) == 1, f"engine cores of {pod['metadata']['name']}: {found} of {cores}"
    return found[0]


def container(serving: Serving) -> dict[str, Any]:
    (pod,) = serving.pods(NAME)
    (status,) = pod["status"]["containerStatuses"]
    return dict(status)


def test_a_stopped_engine_core_is_not_ready_restarted_and_explained(serving: Serving) -> None:
    serving.apply(a_service(NAME).from_source("pvc://models/tiny").with_spec(resources={"cpu": "250m"}).build())
    serving.wait_for(NAME, "Ready", "True")
    first = serving.post(NAME, QUESTION)["choices"][0]["text"]
    (before,) = serving.pods(NAME)
    os.kill(core_of(before), signal.SIGSTOP)
    wait_until(lambda: not container(serving)["ready"], "the pod is not ready", timeout=FOUND_SECONDS, every=0.5)
    reported = serving.wait_for(NAME, "Ready", "False", causes.ENGINE_HUNG.name, timeout=FOUND_SECONDS)
    assert "was ended" in reported["message"], reported
    serving.wait_for(NAME, "Ready", "True")
    (after,) = serving.pods(NAME)
    assert after["metadata"]["uid"] == before["metadata"]["uid"], "the pod stays, with its devices"
    ended = container(serving)["lastState"]["terminated"]
    assert (container(serving)["restartCount"], ended["exitCode"]) == (1, causes.ENGINE_HUNG.exit_code)
    assert serving.post(NAME, QUESTION)["choices"][0]["text"] == first
    serving.delete("LLMService", NAME)
