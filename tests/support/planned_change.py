"""A plan, the change, and what really happened, in the same terms."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from llmservice_operator.cli.main import main
from support.cluster import APPLY, Answer, Cluster
from support.documents import valid
from support.rollouts import PodWatch, Rolled, Seen

MANAGER = "other-user"
_AGAIN_SECONDS = 2
"""kwok deletes pods by name, and now and then twice: then the second time meets the one that was just made in its
place. No other client deletes without grace so soon."""
OURS = "app.kubernetes.io/component!=model-inspection"


def ask(cluster: Cluster, manifest: Mapping[str, Any], *options: str) -> tuple[int, dict[str, Any]]:
    """`kubectl llm plan -o json` of the manifest: its exit status and what it says."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, contextlib.redirect_stdout(io.StringIO()) as out:
        json.dump(manifest, file)
        file.flush()
        status = main(["plan", "-f", file.name, "--kubeconfig", str(cluster.kubeconfig), "-o", "json", *options])
    (service,) = valid(json.loads(out.getvalue()))["services"]
    return status, service


def apply(cluster: Cluster, manifest: Mapping[str, Any]) -> Answer:
    """`kubectl apply --server-side` of an LLMService."""
    path = cluster.services(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    return cluster.request("PATCH", path, dict(manifest), content_type=APPLY, **query)


@dataclasses.dataclass
class Happened:
    """What the pods of a service went through."""

    deleted: list[str]
    """In the order in which that was first seen."""
    made: list[str]
    least_ready: int
    peak_devices: int

    @property
    def deletions(self) -> int:
        return len(self.deleted)


class Witness(PodWatch):
    """Sees each change of the pods of all ranks, and records them."""

    def __init__(self, rolled: Rolled) -> None:
        super().__init__(rolled)
        self.deleted: list[str] = []
        self.made: list[str] = []
        self.log: list[str] = []
        """Each change of a pod, for the message of a failure."""
        self._going: set[str] = set()
        self._known: set[str] = set()
        self._gone: dict[str, float] = {}

    @property
    def _selector(self) -> str:
        return f"{OURS},app.kubernetes.io/instance={self._rolled.name}"

    def happened(self) -> Happened:
        """All of it until now."""
        with self._lock:
            least, peak = min(each.ready for each in self.seen), max(each.requests for each in self.seen)
            return Happened(list(self.deleted), list(self.made), least, peak)

    def now(self) -> Seen:
        """How it stands."""
        with self._lock:
            return self.seen[-1]

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] != "BOOKMARK":
            with self._lock:
                self._write_down(event["type"], event["object"])
        super()._take(event)

    def _write_down(self, kind: str, pod: dict[str, Any]) -> None:
        meta, now = pod["metadata"], time.monotonic()
        name, uid, going = meta["name"], meta["uid"], bool(meta.get("deletionTimestamp"))
        revision = meta["labels"].get("controller-revision-hash", "")[-4:]
        how = " ready" * _ready(pod) + " going" * going
        self.log.append(f"{now:.2f} {kind} {name} {uid[:4]} {revision}{how}")
        if kind == "ADDED" and uid not in self._known:
            self.made.append(name)
        self._known.add(uid)
        if (going or kind == "DELETED") and uid not in self._going:
            self._going.add(uid)
            at_once = not going or meta.get("deletionGracePeriodSeconds") == 0
            if at_once and now - self._gone.get(name, 0) < _AGAIN_SECONDS:
                self.made.remove(name)
            else:
                self.deleted.append(name)
        if kind == "DELETED":
            self._gone[name] = now

    def _note(self) -> None:
        pods = list(self._pods.values())
        leaders = [pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "engine"]
        ready = sum(_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in leaders)
        limits = [pod["spec"]["containers"][0]["resources"].get("limits") or {} for pod in pods if _bound(pod)]
        asked = sum(int(each.get("nvidia.com/gpu", 0)) for each in limits)
        with self._lock:
            self._known |= {pod["metadata"]["uid"] for pod in pods}
            self.seen.append(Seen(ready, len(pods), asked))


def _bound(pod: Mapping[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
