"""A service on a fake node with GPUs during a rollout: records every change of its pods.

kwok acts as the kubelet. The CPU request of a pod's engine determines how long it takes to start, and whether it does:
see hack/cluster/lib/kwok-stages.yaml.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from typing import Any

import urllib3

from builders.services import COMMIT, a_service, merged
from support.cluster import MERGE, Cluster, wait_until

AT_ONCE, SLOW, BROKEN = "50m", "222m", "111m"
"""Requests of CPU, by how a pod with them starts."""
ENGINES = "app.kubernetes.io/component=engine"


def make_node(cluster: Cluster, name: str, gpus: int, *, kwok: bool = True, **labels: str) -> None:
    """A node with so many GPUs, for pods that choose it by its host name or ``labels``. Not ``kwok``: one without a
    kubelet, which is ready until Kubernetes misses its heartbeats."""
    resources = {"cpu": "64", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": "250", "nvidia.com/gpu": str(gpus)}
    node: dict[str, Any] = {
        "metadata": {
            "name": name,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"} | ({"kwok.x-k8s.io/node": "fake"} if kwok else {}),
            "labels": {"kubernetes.io/hostname": name, **labels},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources},
    }
    if not kwok:
        node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    made = cluster.request("POST", "/api/v1/nodes", node)
    assert made.ok, made.message

    def ready() -> bool:
        status = cluster.request("GET", f"/api/v1/nodes/{name}").body["status"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())

    wait_until(ready, f"the node {name} is ready", timeout=60)


def on_node(name: str) -> dict[str, Any]:
    """Scheduling that only this node satisfies."""
    taint = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
    return {"nodeSelector": {"kubernetes.io/hostname": name}, "tolerations": [taint]}


@dataclasses.dataclass
class Rolled:
    """One service under test."""

    cluster: Cluster
    namespace: str
    name: str
    node: str

    def create(self, replicas: int, *, rolled_out: bool = True, **rollout: Any) -> None:
        """The service, all of whose replicas are ready. Not ``rolled_out``: for an operator that knows no rollouts."""
        service = a_service(self.name).from_source("hf://org/name", COMMIT).with_replicas(replicas)
        spec: dict[str, Any] = {"scheduling": on_node(self.node), "resources": {"cpu": AT_ONCE}}
        spec |= {"rollout": rollout} if rollout else {}
        made = self.cluster.create(self.namespace, service.with_spec(**spec).build())
        assert made.ok, made.message
        if rolled_out:
            self.settled(replicas)

    def annotate(self, annotations: dict[str, str]) -> None:
        """Annotate the service."""
        path = self.cluster.services(self.namespace, self.name)
        answer = self.cluster.request("PATCH", path, {"metadata": {"annotations": annotations}}, content_type=MERGE)
        assert answer.ok, answer.message

    def edit(self, **spec: Any) -> None:
        """Change the spec as kubectl patch does."""
        path = self.cluster.services(self.namespace, self.name)
        answer = self.cluster.request("PATCH", path, {"spec": spec}, content_type=MERGE)
        assert answer.ok, answer.message

    def change(self, context: int, cpu: str = AT_ONCE, **spec: Any) -> None:
        """Another context length, and how engines with it start."""
        self.edit(**merged({"model": {"maxContextLength": context}, "resources": {"cpu": cpu}}, spec))

    def get(self) -> dict[str, Any]:
        return dict(self.cluster.request("GET", self.cluster.services(self.namespace, self.name)).body)

    def statefulset(self) -> dict[str, Any]:
        """The StatefulSet; empty if there is none."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets/{self.name}"
        answer = self.cluster.request("GET", path)
        return dict(answer.body) if answer.ok else {}

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition, once it is on the newest spec; empty before."""
        found = self.get()
        for each in found.get("status", {}).get("conditions", ()):
            if each["type"] == kind and each.get("observedGeneration") == found["metadata"]["generation"]:
                return dict(each)
        return {}

    def wait_for(self, kind: str, reason: str, timeout: float = 120) -> dict[str, Any]:
        """The condition with this reason on the newest spec."""
        seen: list[Any] = [None]

        def look() -> dict[str, Any] | None:
            seen[0] = self.condition(kind)
            return seen[0] if seen[0].get("reason") == reason else None

        try:
            return wait_until(look, "", timeout=timeout, every=0.1) or {}
        except AssertionError:
            raise AssertionError(
                f"{kind} is not {reason} within {timeout:g} s but {seen[0]}; {self.description()}"
            ) from None

    def pods(self) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        selector = f"{ENGINES},app.kubernetes.io/instance={self.name}"
        items = self.cluster.request("GET", path, labelSelector=selector).body["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["name"]))

    def uids(self) -> list[str]:
        """Of the pods that are there and not on their way out, by the pod's number."""
        return [str(pod["metadata"]["uid"]) for pod in self.pods() if not pod["metadata"].get("deletionTimestamp")]

    def cpus(self) -> list[str]:
        """What each pod's engine asks for, by the pod's number."""
        return [str(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for pod in self.pods()]

    def settled(self, replicas: int, timeout: float = 120) -> None:
        """All replicas ready, and no pod more."""
        self.wait_for("RolledOut", "RolledOut", timeout)
        self.wait_for("Ready", "Ready", timeout)
        wait_until(lambda: len(self.pods()) == replicas, f"{replicas} pods", timeout=timeout)

    def description(self) -> str:
        """What a person would look at."""
        return json.dumps([self.get().get("status"), self.statefulset().get("spec", {}).get("updateStrategy")])


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was there after one change of a pod."""

    ready: int
    pods: int
    requests: int
    """GPUs that pods with a node ask for."""


class PodWatch:
    """Sees each change of a service's pods, in a thread of its own; use it as a context manager. It prints the moments
    in which the fewest replicas were ready, which pytest shows if the test fails."""

    def __init__(self, rolled: Rolled) -> None:
        self.seen: list[Seen] = []
        self._rolled = rolled
        self._done = threading.Event()
        self._pods: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._moments: list[tuple[int, str]] = []
        """By moment: how many replicas were ready, and how each pod was."""
        self._begun = time.monotonic()
        self._version = ""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> PodWatch:
        listed = self._rolled.cluster.request("GET", self._path, labelSelector=self._selector)
        self._version = listed.body["metadata"]["resourceVersion"]
        self._pods = {pod["metadata"]["name"]: pod for pod in listed.body["items"]}
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(30)
        fewest = min((ready for ready, _ in self._moments), default=0)
        moments = [how for ready, how in self._moments if ready == fewest]
        print(f"{len(moments)} moments with {fewest} ready replicas of {self._rolled.name}:", *moments[:10], sep="\n  ")
        assert self._failure is None, f"the watch of the pods ended: {self._failure!r}"

    def least(self) -> int:
        """The fewest replicas that were ready at any time since the last call."""
        with self._lock:
            found = min(each.ready for each in self.seen)
            self.seen = self.seen[-1:]
            return found

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._rolled.namespace}/pods"

    @property
    def _selector(self) -> str:
        return f"{ENGINES},app.kubernetes.io/instance={self._rolled.name}"

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                self._stream()
        except BaseException as error:
            self._failure = error

    def _stream(self) -> None:
        api = self._rolled.cluster.api
        headers = {value["key"]: value["value"] for value in api.configuration.auth_settings().values()}
        query = f"labelSelector={self._selector}&watch=true&resourceVersion={self._version}&timeoutSeconds=5"
        answer = api.rest_client.pool_manager.request(
            "GET",
            f"{api.configuration.host}{self._path}?{query}",
            headers=headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=10, read=30),
        )
        try:
            for line in answer:
                self._take(json.loads(line))
        finally:
            answer.release_conn()

    def _take(self, event: dict[str, Any]) -> None:
        assert event["type"] in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"), event
        meta = event["object"]["metadata"]
        self._version = meta["resourceVersion"]
        if event["type"] == "DELETED":
            self._pods.pop(meta["name"], None)
        elif event["type"] != "BOOKMARK":
            self._pods[meta["name"]] = event["object"]
        self._note()

    def _note(self) -> None:
        pods = list(self._pods.values())
        ready = sum(_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in pods)
        bound = [pod for pod in pods if pod["spec"].get("nodeName")]
        asked = sum(int(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) for pod in bound)
        with self._lock:
            self.seen.append(Seen(ready, len(pods), asked))
        seconds = time.monotonic() - self._begun
        self._moments.append((ready, f"{seconds:.2f} s: {', '.join(_shown(pod) for pod in pods)}"))


def _shown(pod: dict[str, Any]) -> str:
    """The end of its name, its revision, and whether it is ready, else why it is not."""
    meta, conditions = pod["metadata"], pod["status"].get("conditions") or ()
    scheduled = [each.get("reason", "") for each in conditions if each["type"] == "PodScheduled"]
    how = ["terminating"] * ("deletionTimestamp" in meta) + ["ready" if _ready(pod) else "not ready", *scheduled]
    return (
        f"{meta['name'][-2:]} {meta['labels'].get('controller-revision-hash', '')[-4:]} {' '.join(filter(None, how))}"
    )


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
