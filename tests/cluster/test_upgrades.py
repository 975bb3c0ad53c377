"""The operators of earlier versions, taken from the wheels that are kept of them, give way to this one and come back:
no pod is restarted by either, and the status shows what would change.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from llmservice_operator import __version__
from support.cluster import ROOT, wait_until
from support.operator import operator
from support.rollouts import SLOW, Rolled

pytestmark = pytest.mark.cluster_wide

VERSIONS = ["0.1.0", "0.2.0"]
RECORD = "llmservice.dev/rollout"


@pytest.fixture(params=VERSIONS)
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings with which an operator process runs the code of an earlier version."""
    (wheel,) = (ROOT / "tests" / "fixtures" / request.param).glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "earlier")
    image = f"registry.example.com/runtime:{request.param}"
    return {"PYTHONPATH": str(tmp_path / "earlier"), "LLMSERVICE_RUNTIME_IMAGE": image}


def recorded(rolled: Rolled) -> bool:
    return RECORD in rolled.statefulset()["metadata"]["annotations"]


def seen(rolled: Rolled) -> bool:
    """Whether the StatefulSet's controller has seen what it has now, has no pod to replace for it, and both replicas
    are there and ready. Its status alone would not tell: it lags behind the pods."""
    found = rolled.statefulset()
    status = found.get("status") or {}
    done = status.get("currentRevision") == status.get("updateRevision") and status.get("readyReplicas") == 2
    there = bool(found) and found["spec"]["replicas"] == 2 and len(rolled.uids()) == 2
    return bool(done and there and status.get("observedGeneration") == found["metadata"]["generation"])


def test_an_upgrade_and_the_way_back_restart_no_pod(rolled: Rolled, earlier: dict[str, str]) -> None:
    kubeconfig, namespaces = rolled.cluster.kubeconfig, [rolled.namespace]
    with operator(kubeconfig, namespaces, earlier):
        rolled.create(2, rolled_out=False)
        wait_until(lambda: seen(rolled), "both replicas are ready")
        assert not recorded(rolled)
    pods, revision = rolled.uids(), rolled.statefulset()["status"]["updateRevision"]

    with operator(kubeconfig, namespaces):
        reported = rolled.wait_for("RolledOut", "RolledOut")
        assert "kubectl llm upgrade-check" in reported["message"]
        wait_until(lambda: recorded(rolled) and seen(rolled), "the new operator has its record on the set")
        assert rolled.condition("Ready")["status"] == "True"
        changes = rolled.get()["status"]["upgrade"]["changes"]
        assert any("registry.example.com" in line for line in changes), changes
        rolled.edit(replicas=1)
        wait_until(lambda: len(rolled.uids()) == 1, "scaling goes on")
        rolled.edit(replicas=2)
        wait_until(lambda: seen(rolled), "both replicas are ready again")
        assert rolled.statefulset()["status"]["updateRevision"] == revision
    assert rolled.uids()[0] == pods[0]
    pods = rolled.uids()

    with operator(kubeconfig, namespaces, earlier):
        wait_until(lambda: not recorded(rolled) and seen(rolled), "the earlier operator has taken the record out")
    assert rolled.uids() == pods
    assert rolled.statefulset()["status"]["updateRevision"] == revision


def test_a_rollout_in_flight_goes_on(rolled: Rolled, earlier: dict[str, str]) -> None:
    kubeconfig, namespaces = rolled.cluster.kubeconfig, [rolled.namespace]

    def second_is_replaced() -> bool:
        uids = rolled.uids()
        return len(uids) == 2 and uids[1] != before[1] and rolled.cpus()[1] == SLOW

    with operator(kubeconfig, namespaces, earlier):
        rolled.create(2, rolled_out=False)
        wait_until(lambda: seen(rolled), "both replicas are ready")
        before = rolled.uids()
        rolled.change(2048, SLOW)
        wait_until(second_is_replaced, "the second replica is replaced", every=0.1)
    replaced = rolled.uids()
    assert replaced[0] == before[0], "the rollout was to be under way"

    with operator(kubeconfig, namespaces):
        rolled.wait_for("RolledOut", "RolledOut")
        wait_until(lambda: recorded(rolled) and seen(rolled), "the rollout is complete")
        assert rolled.cpus() == [SLOW, SLOW]
    assert rolled.uids()[1] == replaced[1], "a replica that had the change was restarted"
    assert rolled.uids()[0] != before[0]


def test_consent_replaces_them(rolled: Rolled, earlier: dict[str, str]) -> None:
    kubeconfig, namespaces = rolled.cluster.kubeconfig, [rolled.namespace]
    with operator(kubeconfig, namespaces, earlier):
        rolled.create(2, rolled_out=False)
        wait_until(lambda: seen(rolled), "both replicas are ready")
    pods = rolled.uids()
    with operator(kubeconfig, namespaces):
        rolled.wait_for("RolledOut", "RolledOut")
        digest = rolled.get()["status"]["upgrade"]["digest"]
        rolled.annotate({"llmservice.dev/upgrade": digest})
        wait_until(lambda: "upgrade" not in rolled.get()["status"], "it is taken up")
        rolled.settled(2)
        assert not set(rolled.uids()) & set(pods)
        images = {pod["spec"]["containers"][0]["image"] for pod in rolled.pods()}
        assert images == {f"llmservice/runtime:{__version__}"}
