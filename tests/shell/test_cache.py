"""The cache never goes back: neither by late events, nor by late answers, nor by deletions of what was replaced."""

from typing import Any

from llmservice_operator.shell.cache import Cache

KEY = ("team-a", "chat")


def service(version: int, uid: str = "s1", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"namespace": "team-a", "name": "chat", "uid": uid, "resourceVersion": str(version), **metadata},
    }


def child(version: int, uid: str = "c1", instance: str | None = "chat", owner: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "team-a", "name": "chat", "uid": uid, "resourceVersion": str(version)}
    if instance:
        metadata["labels"] = {"app.kubernetes.io/instance": instance}
    if owner:
        metadata["ownerReferences"] = [{"kind": "LLMService", "name": owner, "uid": "s1", "controller": True}]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata}


def cached_version(cache: Cache) -> str | None:
    found = cache.get("StatefulSet", "team-a", "chat")
    return found["metadata"]["resourceVersion"] if found else None


def test_an_older_version_changes_nothing() -> None:
    cache = Cache()
    assert cache.put(child(5)) == {KEY}
    assert cache.put(child(4)) == set()
    assert cache.put(child(5)) == set()
    assert cached_version(cache) == "5"


def test_versions_are_numbers_not_texts() -> None:
    cache = Cache()
    cache.put(child(9))
    assert cache.put(child(10)) == {KEY}


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back() -> None:
    cache = Cache()
    cache.put(child(5))
    assert cache.remove(child(8)) == {KEY}
    assert cache.put(child(7)) == set()
    assert cached_version(cache) is None


def test_an_object_that_lost_its_label_and_got_it_back_is_seen_again() -> None:
    cache = Cache()
    cache.put(child(5))
    cache.remove(child(8))
    assert cache.put(child(9)) == {KEY}


def test_the_deletion_of_a_predecessor_leaves_the_successor() -> None:
    cache = Cache()
    cache.put(child(5, uid="old"))
    assert cache.put(child(9, uid="new")) == {KEY}
    assert cache.remove(child(8, uid="old")) == set()
    assert cached_version(cache) == "9"


def test_a_child_that_is_relabelled_concerns_the_service_of_the_old_label_too() -> None:
    cache = Cache()
    cache.put(child(5, instance="chat"))
    assert cache.put(child(6, instance="other")) == {KEY, ("team-a", "other")}
    assert cache.related(KEY) == []


def test_a_child_without_labels_still_concerns_its_owner() -> None:
    cache = Cache()
    assert cache.put(child(5, instance=None, owner="chat")) == {KEY}
    assert [obj["kind"] for obj in cache.related(KEY)] == ["StatefulSet"]


def test_a_service_is_not_among_its_own_children() -> None:
    cache = Cache()
    cache.put(service(1))
    cache.put(child(2))
    assert cache.services() == [KEY]
    assert [obj["kind"] for obj in cache.related(KEY)] == ["StatefulSet"]
    cache.remove(service(3))
    assert cache.service(KEY) is None
    assert [obj["kind"] for obj in cache.related(KEY)] == ["StatefulSet"]


def test_who_owns_which_field_is_not_kept_but_for_the_operator_s_hold_on_replicas() -> None:
    cache = Cache()
    entries = [{"manager": "kubectl", "fieldsV1": {}}, {"manager": "llmservice-operator-replicas", "fieldsV1": {}}]
    cache.put(service(1, managedFields=entries))
    cache.put({**child(2), "metadata": {**child(2)["metadata"], "managedFields": entries}})
    kept = cache.service(KEY)
    assert kept is not None
    assert [entry["manager"] for entry in kept["metadata"]["managedFields"]] == ["llmservice-operator-replicas"]
    assert "managedFields" not in cache.related(KEY)[0]["metadata"]


def test_an_autoscaler_that_shows_another_load_concerns_nobody_and_one_that_complains_does() -> None:
    def hpa(version: int, load: str, **condition: str) -> dict[str, Any]:
        status = {"currentMetrics": [{"external": {"current": {"averageValue": load}}}], "conditions": [condition]}
        return {**child(version), "kind": "HorizontalPodAutoscaler", "spec": {}, "status": status}

    cache = Cache()
    assert cache.put(hpa(1, "87", type="ScalingActive", status="True")) == {KEY}
    assert cache.put(hpa(2, "91", type="ScalingActive", status="True")) == set()
    assert cache.put(hpa(3, "91", type="ScalingActive", status="False")) == {KEY}
    assert cache.put(hpa(2, "87", type="ScalingActive", status="True")) == set()
