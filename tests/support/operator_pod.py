"""The operator's pod on the local node: finds it, and kills it as the kernel does if memory is short."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from support.cluster import Cluster, connect, wait_until
from support.release import NAMESPACE

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SELECTOR = "app.kubernetes.io/name=llmservice-operator"


def operator_pod(cluster: Cluster) -> dict[str, Any]:
    """The operator's one pod, without one that is on its way out."""
    found = cluster.request("GET", PODS, labelSelector=SELECTOR).body["items"]
    (pod,) = (pod for pod in found if not pod["metadata"].get("deletionTimestamp"))
    return dict(pod)


def kill_operator(cluster: Cluster) -> None:
    """SIGKILL; returns when the kubelet has started it again."""
    pod = operator_pod(cluster)
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    kill(pod)

    def is_back() -> bool:
        status = operator_pod(cluster)["status"]["containerStatuses"][0]
        return status["restartCount"] > restarts and "running" in status["state"]

    wait_until(is_back, "the operator is started again", timeout=60)


def kill(pod: dict[str, Any]) -> None:
    """SIGKILL to the one process of the pod's container on this host."""
    mark = f"\0HOSTNAME={pod['metadata']['name']}\0".encode()
    (pid,) = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and mark in environment(process)
    ]
    os.kill(pid, signal.SIGKILL)


def environment(process: Path) -> bytes:
    """The environment of a process of this host; empty if it has ended."""
    try:
        return b"\0" + (process / "environ").read_bytes()
    except OSError:
        return b""


class Killing:
    """Kills the operator again and again while its block runs, at random moments; `count` says how often so far.

    Its pod is deleted with it: else the kubelet would wait longer and longer before it starts the container again.
    """

    def __init__(self, least: float, most: float) -> None:
        """The operator runs for ``least`` to ``most`` seconds between its start and the next kill."""
        self.count = 0
        self._cluster, self._least, self._most = connect(), least, most
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failed: list[BaseException] = []

    def __enter__(self) -> Killing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]

    def _run(self) -> None:
        try:
            while not self._done.wait(random.uniform(self._least, self._most)):
                pod = operator_pod(self._cluster)
                kill(pod)
                self._cluster.request("DELETE", f"{PODS}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
                self.count += 1
                wait_until(self._is_running, "the operator runs again", timeout=180)
        except BaseException as error:
            self._failed.append(error)

    def _is_running(self) -> bool:
        found = self._cluster.request("GET", PODS, labelSelector=SELECTOR).body["items"]
        there = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return len(there) == 1 and all(
            "running" in each["state"] for each in there[0]["status"].get("containerStatuses") or [{"state": {}}]
        )
