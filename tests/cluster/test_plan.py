"""What `kubectl llm plan` says against what then happens, by the real operator and Kubernetes' own controllers.

Each change is planned, applied and watched: the pods that go and come, in which order, the fewest replicas that answer
and the most GPUs that are held are just as was said. Pods are kwok's, on a node of each test's own.
"""

from __future__ import annotations

import copy
import dataclasses
import fcntl
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from builders.changes import CHANGES, DISKS, SpecChange
from builders.services import COMMIT, merged
from llmservice_operator.resources import kinds
from support.aggregation import ensure_fake_nodes
from support.campaign import FULL
from support.cluster import ROOT, Cluster, wait_until
from support.operator import OperatorProcess, operator
from support.planned_change import Happened, Witness, apply, ask
from support.rollouts import AT_ONCE, Rolled, make_node, on_node
from support.volumes import volumes

# A plan reads the Deployment of an operator for all namespaces: no chart may be installed meanwhile.
pytestmark = [pytest.mark.cluster_wide, pytest.mark.timeout(600)]

ALWAYS = {
    "in-place",
    "surge",
    "quota-of-gpus-against-a-surge",
    "refused-by-a-rule",
    "more-and-changed",
    "limits",
    "on-two-nodes-in-place",
    "new",
}
"""What every run has; the others are the campaign's."""
RESULTS = ROOT / "docs" / "benchmarks" / "plan.json"
NAMES = [each.name for each in CHANGES]
NODES_SECONDS = 1.5
"""How long the operator goes by what it has read of the nodes, and then some."""
QUIET_SECONDS = 4
"""So long nothing more may happen once it has come to its end."""
NOTHING, CHANGE, FAILS = 0, 2, 3

chosen = [
    pytest.param(each, id=each.name, marks=[] if each.name in ALWAYS else [pytest.mark.campaign]) for each in CHANGES
]


@dataclasses.dataclass(frozen=True)
class Acting:
    """An operator and the namespaces that it serves."""

    plain: str
    limited: str
    """One for quotas."""
    process: OperatorProcess

    def said(self, name: str) -> str:
        """What it has logged of a service."""
        return "\n".join(line for line in self.process.log().splitlines() if name in line)


@pytest.fixture(scope="module")
def acting(cluster: Cluster) -> Iterator[Acting]:
    """Two namespaces with an operator over them: one of them gets quotas."""
    ensure_fake_nodes(cluster, 1)
    settings = {"LLMSERVICE_SCALING_ADAPTER": "prometheusAdapter"}
    with (
        cluster.namespace() as plain,
        cluster.namespace() as limited,
        operator(cluster.kubeconfig, [plain, limited], settings) as process,
    ):
        yield Acting(plain, limited, process)


class Scene:
    """A service on a node of its own, and a change of it."""

    def __init__(self, cluster: Cluster, namespace: str, case: SpecChange) -> None:
        self.cluster = cluster
        self.case = case
        self.node = f"gpus-{secrets.token_hex(3)}"
        self.rolled = Rolled(cluster, namespace, f"chat-{secrets.token_hex(3)}", self.node)
        base = {
            "model": {"source": "hf://org/name", "revision": COMMIT},
            "replicas": case.replicas,
            "resources": {"cpu": AT_ONCE},
            "scheduling": on_node(self.node),
        }
        self.before = _without_none(merged(base, self._named(case.base)))
        self.between = merged(self.before, self._named(case.first or {}))
        self.after = _without_none(merged(self.between, self._named(case.change)))

    def manifest(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The service with this spec."""
        return {
            "apiVersion": "llmservice.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": self.rolled.name, "namespace": self.rolled.namespace},
            "spec": copy.deepcopy(dict(spec)),
        }

    def begin(self) -> None:
        """The service as it is before the change."""
        if self.case.new:
            return
        self.apply(self.before)
        self.at_rest(self.before)
        if self.case.first is not None:
            self.apply(self.between)
            if (self.between.get("rollout") or {}).get("paused"):
                self.rolled.wait_for("RolledOut", "Paused")
            else:
                self.at_rest(self.between)
        if self.case.quota is not None:
            path = f"/api/v1/namespaces/{self.rolled.namespace}/resourcequotas"
            quota = {"metadata": {"name": self.rolled.name}, "spec": {"hard": dict(self.case.quota)}}
            assert self.cluster.request("POST", path, quota).ok
            wait_until(
                lambda: self.cluster.request("GET", f"{path}/{self.rolled.name}").body["status"].get("used"), "a quota"
            )

    def apply(self, spec: Mapping[str, Any]) -> None:
        answer = apply(self.cluster, self.manifest(spec))
        assert answer.ok, answer.message

    def at_rest(self, spec: Mapping[str, Any]) -> None:
        self.rolled.wait_for("RolledOut", "RolledOut")
        if spec["replicas"]:
            self.rolled.settled(int(spec["replicas"]))

    def end(self) -> None:
        path = f"/api/v1/namespaces/{self.rolled.namespace}/resourcequotas/{self.rolled.name}"
        self.cluster.request("DELETE", path)
        self.cluster.request("DELETE", self.cluster.services(self.rolled.namespace, self.rolled.name))
        if self.case.quota is not None:  # pods outlive their node, and the next quota would count them
            wait_until(lambda: not self.pods(), "the pods are gone", timeout=60)
        self.cluster.request("DELETE", f"/api/v1/nodes/{self.node}")

    def pods(self) -> list[dict[str, Any]]:
        """All of the service's pods."""
        path = f"/api/v1/namespaces/{self.rolled.namespace}/pods"
        labels = f"app.kubernetes.io/instance={self.rolled.name}"
        return list(self.cluster.request("GET", path, labelSelector=labels).body["items"])

    def _named(self, fragment: Mapping[str, Any]) -> dict[str, Any]:
        """With the storage class of this test."""
        found: dict[str, Any] = json.loads(json.dumps(fragment).replace(DISKS, self.node))
        return found


@pytest.fixture
def scene(request: pytest.FixtureRequest, cluster: Cluster, acting: Acting) -> Iterator[Scene]:
    case: SpecChange = request.param
    made = Scene(cluster, acting.plain if case.quota is None else acting.limited, case)
    make_node(cluster, made.node, case.gpus)
    sources = {str(number): {"hostPath": {"path": f"/nowhere/{made.node}-{number}"}} for number in range(case.disks)}
    with volumes(cluster, made.node, sources):
        made.begin()
        time.sleep(NODES_SECONDS)
        yield made
        made.end()


@pytest.mark.parametrize("scene", chosen, indirect=True)
def test_what_is_foreseen_is_what_happens(scene: Scene, cluster: Cluster, acting: Acting) -> None:
    manifest = scene.manifest(scene.after)
    status, plan = ask(cluster, manifest)
    if plan["refusals"] and "end" not in plan:
        answer = apply(cluster, manifest)
        assert (status, answer.ok) == (FAILS, False)
        assert plan["refusals"][0]["message"] in " ".join(answer.message.split())
        report(scene.case, plan, None)
        return
    with Witness(scene.rolled) as witness:
        scene.apply(scene.after)
        comes_to_its_end(scene.rolled, plan, witness)
        happened = witness.happened()
        time.sleep(QUIET_SECONDS)
        assert witness.happened().deleted == happened.deleted
    report(scene.case, plan, happened)
    steps = [step["pods"] for step in plan["steps"] if not step["action"].startswith("Start")]
    order, reported = iter(happened.deleted), "\n".join([*witness.log, acting.said(scene.rolled.name)])
    assert [{next(order, "") for _ in pods} for pods in steps] == [set(pods) for pods in steps], reported
    assert not list(order), reported
    made = [pod for step in plan["steps"] if not step["action"].startswith("Stop") for pod in step["pods"]]
    assert sorted(happened.made) == sorted(made)
    assert happened.least_ready == plan["leastReady"]
    assert happened.peak_devices == plan["peakDevices"]
    assert (status == FAILS) == (plan["end"] in ("RolledBack", "Stuck", "NotAccepted")), plan["refusals"]
    children_are_as_said(cluster, scene.rolled, plan)


@pytest.mark.parametrize("scene", [pytest.param(CHANGES[0], id="in-place")], indirect=True)
def test_a_manifest_that_runs_already_changes_nothing(scene: Scene, cluster: Cluster) -> None:
    status, plan = ask(cluster, scene.manifest(scene.before))
    assert (status, plan["summary"], plan["children"]) == (NOTHING, "nothing changes", [])
    version = scene.rolled.get()["metadata"]["resourceVersion"]
    ask(cluster, scene.manifest(scene.after))
    assert scene.rolled.get()["metadata"]["resourceVersion"] == version, "a plan writes nothing"


@pytest.mark.campaign
@pytest.mark.parametrize("scene", [pytest.param(CHANGES[0], id="in-place")], indirect=True)
def test_what_admission_will_say_of_pods_is_told(scene: Scene, cluster: Cluster) -> None:
    scene.after["scheduling"]["priorityClassName"] = "does-not-exist"
    status, plan = ask(cluster, scene.manifest(scene.after))
    (refusal,) = plan["refusals"]
    assert (status, refusal["by"]) == (FAILS, "API server")
    assert "no PriorityClass with name does-not-exist was found" in refusal["message"]
    scene.apply(scene.after)

    def refused() -> bool:
        path = f"/api/v1/namespaces/{scene.rolled.namespace}/events"
        events = cluster.request("GET", path, fieldSelector=f"involvedObject.name={scene.rolled.name}").body["items"]
        return any("no PriorityClass with name" in event["message"] for event in events)

    wait_until(refused, "the API server refuses the pod with the same words", timeout=60)


def comes_to_its_end(rolled: Rolled, plan: dict[str, Any], witness: Witness) -> None:
    """Wait until it stands as was said."""
    after = plan["after"]
    match plan["end"]:
        case "Done" if after["replicas"]:
            rolled.settled(after["replicas"], timeout=180)
        case "Done":
            rolled.wait_for("RolledOut", "RolledOut", 180)
        case "RolledBack":
            rolled.wait_for("RolledOut", "RolledBack", 300)
        case "NotAccepted":
            wait_until(lambda: rolled.condition("Accepted").get("status") == "False", "it is not accepted")

    gone = sum(len(step["pods"]) for step in plan["steps"] if not step["action"].startswith("Start"))
    made = sum(len(step["pods"]) for step in plan["steps"] if not step["action"].startswith("Stop"))

    def stands() -> bool:
        now, happened = witness.now(), witness.happened()
        enough = len(happened.deleted) >= gone and len(happened.made) >= made
        return enough and (now.ready, now.requests) == (after["ready"], after["devices"])

    try:
        wait_until(stands, "", timeout=120)
    except AssertionError:
        now = witness.now(), witness.happened()
        raise AssertionError(f"it does not come to {after} but {now}; {rolled.description()}; {plan}") from None


def children_are_as_said(cluster: Cluster, rolled: Rolled, plan: dict[str, Any]) -> None:
    """Children that were to be made are there, and those that were to go are gone."""
    for kind in (kinds.CONFIGMAP, kinds.HORIZONTAL_POD_AUTOSCALER, kinds.STATEFULSET):
        labels = f"app.kubernetes.io/instance={rolled.name}"
        found = cluster.request("GET", kind.path(rolled.namespace), labelSelector=labels).body["items"]
        there = {each["metadata"]["name"] for each in found}
        reported = [each for each in plan["children"] if each["kind"] == kind.kind]
        assert {each["name"] for each in reported if each["change"] != "Delete"} <= there
        if plan["end"] == "Done":
            gone = {each.get("replaces", "") for each in reported}
            gone |= {each["name"] for each in reported if each["change"] == "Delete"}
            assert not gone & there


def report(case: SpecChange, plan: dict[str, Any], happened: Happened | None) -> None:
    """Whole campaigns record the plan and what happened."""
    if not FULL:
        return
    steps = [step for step in plan.get("steps", []) if not step["action"].startswith("Start")]
    planned = {
        "leastReady": plan.get("leastReady"),
        "peakGPUs": plan.get("peakDevices"),
        "deleted": [_by_number(step["pods"]) for step in steps],
    }
    found = None
    if happened is not None:
        order = iter(happened.deleted)
        parts = [_by_number([next(order, "") for _ in step["pods"]]) for step in steps]
        found = {"leastReady": happened.least_ready, "peakGPUs": happened.peak_devices, "deleted": parts}
    end = plan.get("end", "Refused")
    line = {"change": case.name, "end": end, "planned": planned, "happened": found, "same": found in (None, planned)}
    with RESULTS.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = [each for each in json.loads(file.read() or "[]") if each["change"] != case.name]
        kept.append(line)
        kept.sort(key=lambda each: NAMES.index(each["change"]) if each["change"] in NAMES else len(NAMES))
        file.truncate(0)
        file.write("[\n" + ",\n".join(json.dumps(each) for each in kept) + "\n]\n")


def _by_number(pods: list[str]) -> list[str]:
    """Their names without that of the service, which is another in each run."""
    return sorted(re.sub(r"^chat-[0-9a-f]+", "chat", pod) for pod in pods)


def _without_none(spec: Any) -> Any:
    """A field that is None is not there."""
    if isinstance(spec, dict):
        return {key: _without_none(value) for key, value in spec.items() if value is not None}
    return spec
