"""A rollout whose token the hub refuses, and a Secret that is corrected afterwards: the operator reads no Secrets, and
notices it on the real API server. The test acts as the kubelet of a node of its own.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.resources import names
from support.campaign import FULL
from support.cluster import MERGE, Cluster, wait_until
from support.operator import operator
from support.rollouts import Rolled, make_node, on_node

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(1500 if FULL else 300)]

OLD, NEW = 1024, 2048
FACTS = ModelFacts("LlamaForCausalLM", 4, 2, 4, 4096, None, 1000)
REFUSAL = {"version": 2, "reason": "HubRefused", "message": "the hub answered 401", "exitCode": 101}


class Kubelet:
    """Every inspection reads the model, and every engine is ready, except those of NEW while the token is refused."""

    def __init__(self, cluster: Cluster, rolled: Rolled) -> None:
        self._cluster, self.rolled = cluster, rolled
        self.refuses = True
        self.inspections: set[str] = set()
        """Pods of inspections that have ended, by uid."""

    def work(self) -> None:
        """Once."""
        alive = {"type": "Ready", "status": "True", "lastHeartbeatTime": _now()}
        self._patch(f"/api/v1/nodes/{self.rolled.node}/status", {"conditions": [alive]})
        path = f"/api/v1/namespaces/{self.rolled.namespace}/pods"
        for pod in self._cluster.request("GET", path).body["items"]:
            at, meta = f"{path}/{pod['metadata']['name']}", pod["metadata"]
            if meta.get("deletionTimestamp"):
                self._cluster.request("DELETE", at, {"gracePeriodSeconds": 0})
            elif pod["spec"].get("nodeName") and not pod["status"].get("containerStatuses"):
                if pod["spec"]["containers"][0]["name"] == names.INSPECTION_CONTAINER:
                    self.inspections.add(meta["uid"])
                self._patch(f"{at}/status", self._status(pod))

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 120) -> None:
        def look() -> Any:
            self.work()
            return condition()

        wait_until(look, lambda: f"{what}: {self.rolled.description()}", timeout=timeout, every=0.5)

    def context(self) -> int:
        """The context length of the only engine; 0 if there is none."""
        contexts = [self._context(pod) for pod in self.rolled.pods() if not pod["metadata"].get("deletionTimestamp")]
        return contexts[0] if len(contexts) == 1 else 0

    def says(self) -> str:
        return str(self.rolled.condition("RolledOut").get("message", ""))

    def is_ready(self, context: int) -> bool:
        return self.context() == context and self.rolled.condition("Ready").get("status") == "True"

    def _context(self, pod: dict[str, Any]) -> int:
        sources = pod["spec"]["containers"][0].get("envFrom") or ()
        found = next(each["configMapRef"]["name"] for each in sources if "configMapRef" in each)
        path = f"/api/v1/namespaces/{self.rolled.namespace}/configmaps/{found}"
        return int(self._cluster.request("GET", path).body["data"]["MODEL_MAX_CONTEXT_LENGTH"])

    def _status(self, pod: dict[str, Any]) -> dict[str, Any]:
        container = {"name": pod["spec"]["containers"][0]["name"], "image": "x", "imageID": "", "restartCount": 0}
        if container["name"] == names.INSPECTION_CONTAINER:
            ended = {"exitCode": 0, "reason": "Completed", "message": FACTS.to_json(), "finishedAt": _now()}
            state = container | {"ready": False, "state": {"terminated": ended}}
            return {"phase": "Succeeded", "containerStatuses": [state]}
        if self.refuses and self._context(pod) == NEW:
            ended = {"exitCode": 101, "reason": "Error", "message": json.dumps(REFUSAL), "finishedAt": _now()}
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
            state = container | {"ready": False, "restartCount": 1, "state": {"waiting": waiting}}
            return {"phase": "Running", "containerStatuses": [state | {"lastState": {"terminated": ended}}]}
        state = container | {"ready": True, "started": True, "state": {"running": {"startedAt": _now()}}}
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": _now()} for kind in kinds]
        return {"phase": "Running", "conditions": conditions, "containerStatuses": [state]}

    def _patch(self, path: str, status: dict[str, Any]) -> None:
        self._cluster.request("PATCH", path, {"status": status}, content_type=MERGE)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def kubelet(cluster: Cluster) -> Iterator[Kubelet]:
    """With a service whose changed spec was rolled back because the hub refused its token."""
    node = f"gpus-{secrets.token_hex(3)}"
    with cluster.namespace() as namespace, operator(cluster.kubeconfig, [namespace]):
        made = Kubelet(cluster, Rolled(cluster, namespace, "chat", node))
        make_node(cluster, node, 2, kwok=False)
        try:
            service = a_service("chat").from_source("hf://org/name", COMMIT).with_replicas(1).spread_over(tensor=2)
            spec = {"scheduling": on_node(node), "model": {"maxContextLength": OLD}, "rollout": {"strategy": "InPlace"}}
            answer = cluster.create(namespace, service.with_spec(**spec).build())
            assert answer.ok, answer.message
            made.until(lambda: made.is_ready(OLD), "the service is ready")
            made.rolled.edit(model={"maxContextLength": NEW})
            made.until(lambda: "when a Job can read the model" in made.says(), "the rollout is rolled back")
            made.until(lambda: made.context() == OLD, "the previous spec runs")
            yield made
            cluster.request("DELETE", cluster.services(namespace, "chat"))
            made.until(lambda: not made.rolled.pods(), "its pods are gone")
        finally:
            cluster.request("DELETE", f"/api/v1/nodes/{node}")


def test_the_annotation_has_the_failed_spec_tried_again_at_once(kubelet: Kubelet) -> None:
    assert names.REFRESH_ANNOTATION in kubelet.says()
    kubelet.refuses = False
    kubelet.rolled.annotate({names.REFRESH_ANNOTATION: "corrected"})
    kubelet.until(lambda: kubelet.is_ready(NEW), "the failed spec runs")


@pytest.mark.skipif(not FULL, reason="takes more than 10 minutes")
def test_without_it_a_job_finds_out_that_the_token_is_accepted(kubelet: Kubelet) -> None:
    kubelet.refuses = False
    before = len(kubelet.inspections)
    kubelet.until(lambda: kubelet.is_ready(NEW), "the failed spec runs", timeout=900)
    assert len(kubelet.inspections) == before + 1
