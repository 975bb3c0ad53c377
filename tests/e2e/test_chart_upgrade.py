"""The chart of 0.1.0 is upgraded to this one and back under load: no client is affected.

Operator and engines are those of 0.1.0: its chart, and images with the code of the wheel that is kept of it. It is
upgraded by the command of docs/install.md and rolled back by helm's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator import __version__
from support.cluster import Cluster, wait_until
from support.release import Release
from support.serving import Serving
from support.streaming import StreamedLoad

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.cluster_wide,
    pytest.mark.usefixtures("dump_on_failure"),
    pytest.mark.timeout(900),
]

EARLIER = "0.1.0"
NAME, REPLICAS = "kept", 2
RECORD = "llmservice.dev/rollout"
ANSWERS = 10
"""So many streams begin and end after each change, before it counts as survived."""


@pytest.fixture
def earlier(cluster: Cluster, serving: Serving) -> Iterator[Release]:
    """The earlier version is installed; afterwards the one of the working tree is again, without the service."""
    release = Release(cluster.kubeconfig)
    try:
        release.install_earlier(EARLIER)
        yield release
    finally:
        serving.delete("LLMService", NAME)
        release.install()
        wait_until(lambda: not serving.pods(NAME), "its pods are gone", timeout=120)


def test_an_upgrade_of_the_chart_and_the_way_back_restart_no_pod_and_cost_no_request(
    serving: Serving, earlier: Release
) -> None:
    service = a_service(NAME).from_source("pvc://models/tiny").on_cpu().with_replicas(REPLICAS)
    serving.apply(service.with_spec(resources={"cpu": "250m"}).build())
    serving.wait_for(NAME, "Ready", "True")
    serving.post(NAME, {"prompt": "The", "max_tokens": 1})
    before, revision = lives(serving), template(serving)["updateRevision"]
    assert len(before) == REPLICAS and earlier.version == EARLIER and not recorded(serving)

    with StreamedLoad(serving.address(NAME), NAME) as load:
        earlier.upgrade()
        reported = serving.wait_for(NAME, "RolledOut", "True", timeout=60)
        assert "kubectl llm upgrade-check" in reported["message"], reported
        assert earlier.version == __version__ and recorded(serving)
        changes = (serving.get("LLMService", NAME) or {})["status"]["upgrade"]["changes"]
        assert any(f":{EARLIER} -> " in each and each.endswith(f":{__version__}") for each in changes), changes
        go_on(load)
        assert lives(serving) == before

        earlier.roll_back()
        wait_until(lambda: not recorded(serving), "the earlier operator has taken the record out", timeout=60)
        assert earlier.version == EARLIER
        go_on(load)
        assert lives(serving) == before
    assert not load.failed, load.failed[:5]
    assert template(serving)["currentRevision"] == template(serving)["updateRevision"] == revision
    print(f"{load.whole} streams were whole, none failed")


def lives(serving: Serving) -> dict[str, list[int]]:
    """How often each container was restarted, by the identity of its pod."""
    containers = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"] for pod in serving.pods(NAME)}
    return {uid: [each["restartCount"] for each in found] for uid, found in containers.items()}


def template(serving: Serving) -> dict[str, Any]:
    """What the StatefulSet's controller says of its revisions."""
    return dict((serving.get("StatefulSet", NAME) or {})["status"])


def recorded(serving: Serving) -> bool:
    """Whether an operator that knows rollouts has left its mark."""
    return RECORD in (serving.get("StatefulSet", NAME) or {})["metadata"].get("annotations", {})


def go_on(load: StreamedLoad) -> None:
    """Waits for some more whole answers. AssertionError if one fails meanwhile."""
    enough = load.whole + ANSWERS
    wait_until(lambda: load.failed or load.whole >= enough, f"{ANSWERS} more streams", timeout=120)
    assert not load.failed, load.failed[:5]
