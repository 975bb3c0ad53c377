"""Annotations of pods on a fake API server: written where they lack, and what becomes of a pod that is no more."""

import dataclasses
from typing import Any

import pytest

from llmservice_operator.controller.client.errors import RequestRefused, Unavailable
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.model.plan import Annotation, Plan
from support.fake_api import refusal
from unit.controller.conftest import Shell, condition, one_config_map

VALUES = {"llmservice.dev/refresh": "now"}


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "team-a",
            "name": name,
            "labels": {"app.kubernetes.io/instance": "chat"},
            "annotations": {"other.example/note": "mine"},
        },
        "spec": {},
    }


def tell_all(observed: Observed) -> Plan:
    """Tells every pod that lacks it."""
    lacking = [
        each["metadata"] for each in observed.pods if not VALUES.items() <= each["metadata"]["annotations"].items()
    ]
    reported = [Annotation(meta["namespace"], meta["name"], meta["uid"], VALUES) for meta in lacking]
    return Plan(annotations=reported, status={"conditions": [condition("Ready", "True")]})


@pytest.fixture
def pods(shell: Shell) -> Shell:
    """With two pods, and a plan that tells them something."""
    for name in ("chat-0", "chat-1"):
        shell.see(shell.api.put(pod(name)))
    shell.plan = tell_all
    return shell


def annotations(shell: Shell, name: str) -> dict[str, str]:
    found = shell.api.get("Pod", "team-a", name)
    assert found
    noted: dict[str, str] = found["metadata"]["annotations"]
    return noted


async def test_pods_are_told_and_then_there_is_silence(pods: Shell) -> None:
    await pods.settle()
    written = [call for call in pods.api.writes if "Pod" in call]
    assert written == ["patch Pod chat-0", "patch Pod chat-1"]
    for name in ("chat-0", "chat-1"):
        assert annotations(pods, name) == {"other.example/note": "mine", **VALUES}


async def test_a_pod_that_is_gone_keeps_nobody_from_being_told(pods: Shell) -> None:
    del pods.api.objects["Pod", "team-a", "chat-0"]
    await pods.settle()
    assert annotations(pods, "chat-1").items() >= VALUES.items()
    assert pods.cache.get("Pod", "team-a", "chat-0") is None


async def test_a_pod_of_the_same_name_is_told_as_what_it_is(pods: Shell) -> None:
    """The StatefulSet's controller made another one before its events arrived here."""
    pods.api.put({**pod("chat-0"), "metadata": {**pod("chat-0")["metadata"], "uid": "successor"}})
    await pods.settle()
    assert annotations(pods, "chat-0").items() >= VALUES.items()
    seen = pods.cache.get("Pod", "team-a", "chat-0")
    assert seen is not None and seen["metadata"]["uid"] == "successor"


async def test_pods_are_told_even_where_a_child_is_refused(pods: Shell) -> None:
    plain = one_config_map
    pods.plan = lambda observed: dataclasses.replace(tell_all(observed), objects=plain(observed).objects)
    pods.api.fail_once(lambda call: refusal(403, "exceeded quota") if call.startswith("apply") else None)
    with pytest.raises(RequestRefused):
        await pods.look()
    assert annotations(pods, "chat-0").items() >= VALUES.items()


async def test_without_the_right_to_patch_pods_the_status_says_so_and_children_are_still_applied(pods: Shell) -> None:
    plain = one_config_map
    pods.plan = lambda observed: dataclasses.replace(tell_all(observed), objects=plain(observed).objects)
    message = 'pods "chat-0" is forbidden: User "x" cannot patch resource "pods"'
    pods.api.fail_once(lambda call: refusal(403, message) if call == "patch Pod chat-0" else None)
    with pytest.raises(RequestRefused):
        await pods.look()
    assert pods.api.get("ConfigMap", "team-a", "chat-env")
    assert pods.condition("Reconciling")["message"] == message


@pytest.mark.parametrize("fault", [refusal(503, "starting"), refusal(500, "etcd is slow")])
async def test_a_failure_of_the_api_server_is_made_good_by_the_next_look(pods: Shell, fault: object) -> None:
    pods.api.fail_once(lambda call: fault if call == "patch Pod chat-1" else None)
    with pytest.raises(Unavailable):
        await pods.look()
    await pods.settle()
    assert annotations(pods, "chat-1").items() >= VALUES.items()
