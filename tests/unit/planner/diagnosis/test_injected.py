"""Containers and readiness gates that a webhook adds to pods: what prevents readiness is named, not the engine."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from builders.observed import Scene, a_scene, condition, findings
from builders.pods import PodBuilder, a_pod, an_inspection_pod
from builders.services import a_service
from llmservice_contract.inspection import ModelFacts

Json = dict[str, Any]
CRASHES = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
    "lastState": {"terminated": {"exitCode": 255, "reason": "Error"}},
}
NOT_PULLED = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}


def scene(builder: PodBuilder, ready: Json | None = None, **statuses: list[Json]) -> Scene:
    """A service with one pod, whose condition Ready is false, and further statuses of containers."""
    found = a_scene(a_service().with_replicas(1)).settled().with_pods(builder).settled()
    pod = copy.deepcopy(found.pods[0])
    for each in pod["status"]["conditions"]:
        if each["type"] == "Ready":
            each |= {"status": "False", **(ready or {})}
    for field, added in statuses.items():
        pod["status"].setdefault(field, []).extend(added)
    return dataclasses.replace(found, pods=(pod,))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("state", "said"), [(CRASHES, "CrashLoopBackOff"), (NOT_PULLED, "ImagePullBackOff")])
def test_a_sidecar_that_is_not_ready_is_named(state: Json, said: str, first: bool) -> None:
    seen = scene(a_pod().ready(), containerStatuses=[{"name": "istio-proxy", "ready": False, **state}])
    if first:
        seen.pods[0]["status"]["containerStatuses"].reverse()
    (found,) = findings(seen.plan())
    assert found["reason"] == "ContainerNotReady" and found["certainty"] == "Certain"
    assert "istio-proxy" in found["message"] and said in found["message"]
    assert "/health" not in found["message"]
    assert condition(seen.plan(), "Serving")["reason"] in ("NotReady", "ContainerNotReady")


def test_an_init_container_that_fails_is_named() -> None:
    waits = a_pod().on_node().waiting("PodInitializing")
    init = {"name": "istio-init", "ready": False, **CRASHES}
    (found,) = findings(scene(waits, initContainerStatuses=[init]).plan())
    assert found["reason"] == "InitContainerFails"
    assert "istio-init" in found["message"] and "exit code 255" in found["message"]


def test_an_init_container_that_runs_is_progress_and_named() -> None:
    waits = a_pod().on_node().waiting("PodInitializing")
    init = {"name": "vault-agent-init", "ready": False, "state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}}}
    made = scene(waits, initContainerStatuses=[init]).plan()
    assert findings(made) == []
    assert "vault-agent-init" in condition(made, "Serving")["message"]


def test_a_readiness_gate_is_named() -> None:
    said = {
        "reason": "ReadinessGatesNotReady",
        "message": 'corresponding condition of pod readiness gate "target-health.elbv2.k8s.aws/x" does not exist.',
    }
    (found,) = findings(scene(a_pod().ready(), said).plan())
    assert found["reason"] == "ContainerNotReady" and "target-health.elbv2.k8s.aws" in found["message"]


def test_an_engine_that_does_not_answer_is_still_the_cause() -> None:
    silent = scene(a_pod().ready())
    engine = silent.pods[0]["status"]["containerStatuses"][0]
    engine["ready"] = False
    (found,) = findings(silent.plan())
    assert found["reason"] == "NotReady"


def test_a_model_is_read_although_the_job_never_completes_because_of_a_sidecar() -> None:
    facts = ModelFacts("LlamaForCausalLM", 4, 2, 4, 4096, None, 1000)
    inspecting = a_scene(a_service().spread_over(tensor=2).with_replicas(1)).applied()
    job = inspecting.child("Job")
    ended = inspecting.with_pods(an_inspection_pod(job).ended(0, facts.to_json(), reason="Completed"))
    pod = copy.deepcopy(ended.pods[0])
    pod["status"]["phase"] = "Running"
    pod["status"]["containerStatuses"].insert(0, {"name": "istio-proxy", "ready": True, "state": {"running": {}}})
    seen = dataclasses.replace(ended, pods=(pod,))
    made = seen.plan()
    assert made.status is not None and made.status["model"]["attentionHeads"] == 4
    assert [each.kind for each in seen.applied().plan().deletions] == ["Job"]
