"""The cache never goes back: neither by late events, nor by late answers, nor by deletions of what was replaced."""

import json
from pathlib import Path
from typing import Any

from llmservice_operator.controller.client.trim import size
from llmservice_operator.controller.informer.store import DEFAULT_TOTAL_BYTES, NAMESPACE_BYTES, Cache, total_bytes
from llmservice_operator.planner.model import pods

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


def test_owners_of_a_number_of_replicas_are_kept_a_few_of_them() -> None:
    cache = Cache()
    fields = {"f:spec": {"f:replicas": {}, "f:model": {"f:source": {}}}, "f:metadata": {}}
    entries = [{"manager": f"m{number}", "operation": "Apply", "fieldsV1": fields} for number in range(100)]
    cache.put(service(1, managedFields=[{"manager": "x" * 10_000, "fieldsV1": fields}, *entries]))
    cache.put({**child(2), "metadata": {**child(2)["metadata"], "managedFields": entries}})
    found = cache.service(KEY)
    assert found is not None
    for kept in (found, cache.related(KEY)[0]):
        owners = kept["metadata"]["managedFields"]
        assert len(owners) <= 4
        assert len(str(owners)) < 1000
        assert owners[-1]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


def test_an_autoscaler_that_shows_another_load_concerns_nobody_and_one_that_complains_does() -> None:
    def hpa(version: int, load: str, **condition: str) -> dict[str, Any]:
        status = {"currentMetrics": [{"external": {"current": {"averageValue": load}}}], "conditions": [condition]}
        return {**child(version), "kind": "HorizontalPodAutoscaler", "spec": {}, "status": status}

    cache = Cache()
    assert cache.put(hpa(1, "87", type="ScalingActive", status="True")) == {KEY}
    assert cache.put(hpa(2, "91", type="ScalingActive", status="True")) == set()
    assert cache.put(hpa(3, "91", type="ScalingActive", status="False")) == {KEY}
    assert cache.put(hpa(2, "87", type="ScalingActive", status="True")) == set()


def config_map(name: str, size: int, namespace: str = "team-a") -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/managed-by": "llmservice-operator", "x": "y"}
    meta = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": "x" * size}}


def bytes_of(cache: Cache) -> int:
    return len(json.dumps(cache.of_kind("ConfigMap")))


def test_what_one_namespace_makes_takes_bounded_memory_and_nothing_from_others() -> None:
    cache = Cache()
    for number in range(200):
        cache.put(config_map(f"big-{number}", 400_000))
        cache.put(config_map(f"huge-{number}", 1_000_000))
    assert bytes_of(cache) < NAMESPACE_BYTES + 1_000_000
    cache.put(config_map("good", 10_000, "team-b"))
    good = cache.get("ConfigMap", "team-b", "good")
    assert good is not None
    assert len(good["data"]["value"]) == 10_000


def test_of_what_is_too_large_is_known_whose_it_is() -> None:
    cache = Cache()
    large = config_map("large", 1_000_000)
    large["metadata"]["ownerReferences"] = [{"kind": "LLMService", "name": "other", "uid": "u", "controller": True}]
    assert cache.put(large) == {KEY, ("team-a", "other")}
    found = cache.get("ConfigMap", "team-a", "large")
    assert found is not None
    assert "data" not in found
    assert found["metadata"]["uid"] == "large"
    assert pods.controller(found) == large["metadata"]["ownerReferences"][0]
    assert cache.put({**large, "metadata": {**large["metadata"], "resourceVersion": "0"}}) == set(), "it is no news"


def test_room_is_free_again_once_objects_are_smaller_or_gone() -> None:
    cache = Cache()
    for number in range(200):
        cache.put(config_map(f"big-{number}", 400_000))
    for number in range(200):
        gone = config_map(f"big-{number}", 400_000)
        cache.remove({**gone, "metadata": {**gone["metadata"], "resourceVersion": "2"}})
    cache.put({**config_map("new", 400_000), "metadata": {**config_map("new", 1)["metadata"], "resourceVersion": "3"}})
    found = cache.get("ConfigMap", "team-a", "new")
    assert found is not None
    assert "data" in found


def test_annotations_of_others_on_services_and_pods_are_not_kept() -> None:
    cache = Cache()
    annotations = {"theirs": "x" * 250_000, "llmservice.dev/refresh": "1"}
    cache.put(service(5, annotations=annotations))
    found = cache.service(KEY)
    assert found is not None
    assert found["metadata"]["annotations"] == {"llmservice.dev/refresh": "1"}


def test_an_object_with_thousands_of_owners_concerns_its_controller_and_a_few_others() -> None:
    cache = Cache()
    many = [{"kind": "LLMService", "name": f"n{number}", "uid": f"u{number}"} for number in range(3000)]
    obj = child(1, instance=None)
    obj["metadata"]["ownerReferences"] = [
        *many,
        {"kind": "LLMService", "name": "chat", "uid": "s1", "controller": True},
    ]
    concerned = cache.put(obj)
    assert KEY in concerned
    assert len(concerned) <= 10
    obj["metadata"]["annotations"] = {"a": "x" * 600_000}
    obj["metadata"]["resourceVersion"] = "2"
    assert KEY in cache.put(obj)
    found = cache.get("StatefulSet", "team-a", "chat")
    assert found is not None
    assert pods.owned_by(found, "s1")


def test_what_all_namespaces_make_is_bounded_and_the_smallest_are_kept() -> None:
    cache = Cache(total=1_000_000)

    def put(namespace: str, name: str, version: int, size: int) -> None:
        meta = {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}", "resourceVersion": str(version)}
        labels = {"app.kubernetes.io/instance": "chat"}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "labels": labels}}
        cache.put({**obj, "data": {"text": "x" * size}})

    for name in "abc":
        put("good", name, 1, 20_000)
    for number in range(40):
        for namespace in ("hostile-1", "hostile-2", "hostile-3"):
            put(namespace, str(number), 2 + number, 50_000)
    put("late", "a", 100, 20_000)
    whole = [each for each in cache.of_kind("ConfigMap") if "data" in each]
    namespaces = [each["metadata"]["namespace"] for each in whole]
    assert len(json.dumps(whole)) < 1_100_000
    assert namespaces.count("good") == 3
    assert namespaces.count("late") == 1
    assert len(cache.of_kind("ConfigMap")) == 124
    assert sum("data" in each for each in cache.related(("hostile-1", "chat"))) == namespaces.count("hostile-1") > 3
    for each in cache.of_kind("ConfigMap"):
        cache.remove({**each, "metadata": {**each["metadata"], "resourceVersion": "1000"}})
    put("good", "a", 1001, 900_000 // 2)
    assert "data" in cache.of_kind("ConfigMap")[0], "what is gone takes nothing"


def large_service(number: int, namespace: str = "team-a", size: int = 100_000) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": f"s{number}", "uid": f"{namespace}/{number}", "resourceVersion": "1"}
    spec = {"scheduling": {"nodeSelector": {"x": "x" * size}}}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": spec}


def whole_services(cache: Cache, namespace: str) -> set[str]:
    found = [each["metadata"] for each in cache.of_kind("LLMService") if each["spec"]]
    return {meta["name"] for meta in found if meta["namespace"] == namespace}


def test_services_count_in_what_their_namespace_takes_and_the_last_are_kept_in_part() -> None:
    cache = Cache()
    cache.put(large_service(0, "team-b"))
    for number in range(500):
        assert ("team-a", f"s{number}") in cache.put(large_service(number))
    assert sum(map(size, cache.of_kind("LLMService"))) < NAMESPACE_BYTES + 1_000_000
    kept = whole_services(cache, "team-a")
    assert kept == {f"s{number}" for number in range(len(kept))}
    assert 300 < len(kept) < 400
    assert cache.is_reduced(("team-a", "s499"))
    assert whole_services(cache, "team-b") == {"s0"}
    gone = large_service(0)
    gone["metadata"]["resourceVersion"] = "2"
    cache.remove(gone)
    cache.put(large_service(499))
    assert not cache.is_reduced(("team-a", "s499")), "there is room again"


def test_services_count_in_the_total() -> None:
    cache = Cache(total=1_000_000)
    cache.put(large_service(0, "good"))
    for number in range(20):
        for namespace in ("hostile-1", "hostile-2"):
            cache.put(large_service(number, namespace))
    assert sum(map(size, cache.of_kind("LLMService"))) < 1_100_000
    assert whole_services(cache, "good") == {"s0"}
    concerned = cache.put(large_service(21, "hostile-3", 300_000))
    assert concerned > {("hostile-3", "s21")}, "services that are now kept in part are reported"


def test_services_and_statefulsets_are_kept_longer_than_what_else_the_namespace_has() -> None:
    cache = Cache()
    cache.put(config_map("first", 400_000))
    for number in range(200):
        cache.put(config_map(f"big-{number}", 400_000))
    cache.put({**child(1), "spec": {"x": "x" * 500_000}})
    cache.put(large_service(0))
    found = cache.get("StatefulSet", "team-a", "chat")
    assert found is not None
    assert found["spec"]
    assert whole_services(cache, "team-a") == {"s0"}
    assert "data" in (cache.get("ConfigMap", "team-a", "first") or {})
    assert sum(map(size, cache.of_kind("ConfigMap"))) < NAMESPACE_BYTES


def test_an_object_of_many_owners_of_which_little_is_kept_leaves_nothing_behind() -> None:
    cache = Cache(total=100_000)
    many = config_map("many", 50_000)
    owners = [f"owner-{number}" for number in range(8)]
    many["metadata"]["ownerReferences"] = [{"kind": "LLMService", "name": name, "uid": "u"} for name in owners]
    assert ("team-a", "owner-7") in cache.put(many)
    cache.put(config_map("more", 90_000))
    cache.put(many)
    assert "data" not in (cache.get("ConfigMap", "team-a", "more") or {})
    cache.put({**config_map("many", 200_000), "metadata": {**many["metadata"], "resourceVersion": "2"}})
    cache.remove({**many, "metadata": {**many["metadata"], "resourceVersion": "3"}})
    assert not any(cache.related(("team-a", name)) for name in owners)


def test_the_total_follows_from_the_memory_limit(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    assert total_bytes(limit) == DEFAULT_TOTAL_BYTES
    limit.write_text("max\n")
    assert total_bytes(limit) == DEFAULT_TOTAL_BYTES
    limit.write_text(f"{1 << 30}\n")
    assert total_bytes(limit) == 64 * 1024 * 1024


def model(version: int, kind: str = "LLMModel", **spec: Any) -> dict[str, Any]:
    namespace = {"namespace": "team-a"} if kind == "LLMModel" else {}
    labels = {"app.kubernetes.io/instance": "chat"}
    meta = {"name": "qwen", "uid": f"m-{kind}", "resourceVersion": str(version), "labels": labels, **namespace}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {"source": "s", **spec}}


def named(version: int, name: str, kind: str | None = None, in_namespace: str = "team-a") -> dict[str, Any]:
    ref = {"name": name} if kind is None else {"name": name, "kind": kind}
    return {**service(version, uid=in_namespace, namespace=in_namespace), "spec": {"model": {"ref": ref}}}


def test_a_model_concerns_the_services_that_name_it_and_belongs_to_none() -> None:
    cache = Cache()
    cache.put(named(1, "qwen"))
    cache.put(named(2, "qwen", in_namespace="team-b"))
    assert cache.models_of(named(1, "qwen")) == []
    assert cache.put(model(3)) == {KEY}
    assert cache.related(KEY) == []
    (found,) = cache.models_of(named(1, "qwen"))
    assert found["spec"] == {"source": "s"} and "labels" not in found["metadata"]
    assert cache.models_of(named(2, "qwen", in_namespace="team-b")) == []
    assert cache.put(model(4, more=1)) == {KEY}
    assert cache.remove(model(5)) == {KEY}
    assert cache.models_of(named(1, "qwen")) == []


def test_a_model_of_the_cluster_concerns_services_of_all_namespaces() -> None:
    cache = Cache()
    cache.put(named(1, "qwen", "ClusterLLMModel"))
    cache.put(named(2, "qwen", "ClusterLLMModel", in_namespace="team-b"))
    assert cache.put(model(3, "ClusterLLMModel")) == {KEY, ("team-b", "chat")}
    cache.put(named(4, "other", "ClusterLLMModel"))
    assert cache.put(model(5, "ClusterLLMModel")) == {("team-b", "chat")}
    cache.remove(named(6, "qwen", "ClusterLLMModel", in_namespace="team-b"))
    assert cache.remove(model(7, "ClusterLLMModel")) == set()


def test_a_model_that_was_kept_in_part_is_whole_again_if_there_is_room() -> None:
    cache = Cache(total=200_000)
    cache.put(named(1, "qwen"))
    cache.put(model(2, more="x" * 90_000))
    assert KEY in cache.put(large_service(1, size=150_000)), "its model has no content any more"
    assert cache.models_of(named(1, "qwen"))[0]["spec"] == {}
    gone = large_service(1)
    gone["metadata"]["resourceVersion"] = "2"
    cache.remove(gone)
    assert cache.put(model(2, more="x" * 90_000)) == {KEY}
    assert cache.models_of(named(1, "qwen"))[0]["spec"]["source"] == "s"
    assert cache.put(model(2, more="x" * 90_000)) == set()
