"""What is kept of texts that anybody may have written."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.controller.client.trim import LONGEST_MESSAGE, size, stub, trim
from llmservice_operator.planner.model import pods

LARGEST_STUB = 6 * 1024


def test_of_a_long_message_the_end_is_kept() -> None:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "chat-0", "namespace": "team-a", "uid": "u"},
        "status": {"containerStatuses": [{"state": {"waiting": {"message": "x" * 100_000 + "end"}}}]},
    }
    before = copy.deepcopy(pod)
    message = trim(pod)["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert len(message) == LONGEST_MESSAGE + 1
    assert message.endswith("end")
    assert pod == before
    short = {**pod, "status": {"phase": "Running", "conditions": [{"message": "short"}]}}
    assert trim(short)["status"] is short["status"]


TEXTS = st.one_of(
    st.just("chat"), st.text(max_size=20), st.sampled_from(["n" * 1_000_000, "\x00" * 253, "\U0001f600" * 253])
)
OWNERS = st.fixed_dictionaries(
    {"apiVersion": TEXTS, "kind": TEXTS, "name": TEXTS, "uid": TEXTS},
    optional={"controller": st.booleans(), "blockOwnerDeletion": st.booleans(), "more": TEXTS},
)
METADATA = st.fixed_dictionaries(
    {"name": st.just("chat"), "namespace": st.just("team-a"), "uid": st.just("u")},
    optional={
        "resourceVersion": TEXTS,
        "generateName": TEXTS,
        "selfLink": TEXTS,
        "ownerReferences": st.lists(OWNERS, max_size=20) | st.none(),
        "finalizers": st.lists(TEXTS, max_size=20),
        "labels": st.dictionaries(
            st.sampled_from(["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "x"]), TEXTS
        )
        | st.none(),
        "annotations": st.dictionaries(st.sampled_from(["llmservice.dev/applied", "x"]), TEXTS) | st.none(),
    },
)


@given(METADATA, TEXTS)
def test_a_stub_is_small_whatever_the_object_has(metadata: dict[str, Any], text: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": text}, "spec": {"x": text}}
    assert size(stub(obj)) <= LARGEST_STUB
    assert size(stub(trim(obj))) <= LARGEST_STUB
    assert stub(obj)["metadata"]["name"] == "chat"


@pytest.mark.parametrize("keep", [trim, stub])
def test_owner_references_of_any_length_take_nothing_and_a_controller_stays_one(keep: Any) -> None:
    chat = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": "chat", "uid": "s1"}
    others = [{"apiVersion": "v1", "kind": "X", "name": "n" * 100_000, "uid": "u"} for _ in range(10)]
    large = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u" * 100_000, "controller": True}
    metadata = {"name": "a", "namespace": "team-a", "uid": "1", "ownerReferences": [*others, chat, large]}
    kept = keep({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert size(kept) < LARGEST_STUB
    assert chat in kept["metadata"]["ownerReferences"]
    controller = pods.controller(kept)
    assert controller is not None
    assert (controller["name"], controller["uid"]) == ("x", "?")


def test_a_stub_tells_whether_the_operator_made_the_object() -> None:
    metadata = {
        "name": "a",
        "namespace": "team-a",
        "uid": "1",
        "annotations": {"llmservice.dev/applied": "0a", "x": "y"},
    }
    kept = stub({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert kept["metadata"]["annotations"] == {"llmservice.dev/applied": "0a"}


def test_of_a_services_annotations_those_that_the_operator_reads_are_kept() -> None:
    many = {f"llmservice.dev/{number}": "x" * 4096 for number in range(32)}
    read = {"llmservice.dev/refresh": "2026-11-30T00:00:00Z", "llmservice.dev/upgrade": "0a1b"}
    service: dict[str, Any] = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService"}
    metadata: dict[str, Any] = {"name": "chat", "namespace": "team-a", "uid": "u", "annotations": {**many, **read}}
    assert trim({**service, "metadata": metadata})["metadata"]["annotations"] == read
    metadata["annotations"] = {"llmservice.dev/refresh": "x" * 254, "llmservice.dev/upgrade": "\U0001f600" * 64}
    assert trim({**service, "metadata": metadata})["metadata"]["annotations"] == {}


def test_of_a_pods_annotations_those_that_the_operator_reads_are_kept() -> None:
    read = {f"llmservice.dev/{name}": "0a1b" for name in ("refresh", "access", "admitted")}
    metadata = {"name": "chat-0", "namespace": "team-a", "uid": "u", "annotations": {**read, "llmservice.dev/x": "y"}}
    assert trim({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})["metadata"]["annotations"] == read


def test_what_a_pod_claims_is_kept_within_the_length_of_a_name() -> None:
    def kept(name: str) -> dict[str, str]:
        claimed = {"llmservice.dev/device-class": name, "llmservice.dev/devices": "2"}
        metadata = {"name": "chat-0", "namespace": "team-a", "uid": "u", "annotations": claimed}
        return dict(trim({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})["metadata"]["annotations"])

    assert kept("a" * 253) == {"llmservice.dev/device-class": "a" * 253, "llmservice.dev/devices": "2"}
    assert kept("a" * 254) == {"llmservice.dev/devices": "2"}
