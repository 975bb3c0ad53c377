"""The catalogue on a real API server: which models it takes, and a service that follows its model."""

from collections.abc import Iterator
from typing import Any

import pytest

from builders.models import a_cluster_model, a_model
from builders.services import COMMIT, a_service
from cluster.test_operator import NOWHERE, Place
from llmservice_operator.resources.kinds import CLUSTER_LLM_MODEL, LLM_MODEL
from support.cluster import MERGE, Cluster
from support.operator import operator

PINNED = {"source": "hf://org/qwen", "revision": COMMIT}
LONG = "a" * 51
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a long name": (a_model(LONG), "at most 50 characters"),
    "no scheme": (a_model(source="org/qwen"), "a source must begin with hf://"),
    "no organization": (a_model(source="hf://qwen"), "a hub source must be hf://ORG/NAME"),
    "a revision of a bucket": (a_model(source="s3://bucket/qwen", revision="v1"), "has a revision"),
    "credentials of a claim": (
        a_model(source="pvc://models", credentialsRef={"name": "token"}),
        "a pvc source needs no credentials",
    ),
    "a digest of a claim": (
        a_model(source="pvc://models", digest="sha256:" + "0" * 64),
        "the files of a pvc source have no digest",
    ),
    "dots": (a_model(revision="a..b"), "two dots in a row"),
    "a licence without https": (a_model(licence={"name": "MIT", "url": "http://example.com"}), "licence.url"),
    "an unknown method": (a_model(quantizations=["int3"]), "quantizations"),
    "namespaces of an LLMModel": (a_model(namespaces={"names": []}), "unknown field"),
    "a namespace that is no name": (a_cluster_model(namespaces={"names": ["Team A"]}), "namespaces.names"),
    "a cluster model without a source": ({**a_cluster_model(), "spec": {}}, "spec.source"),
}
ACCEPTED = [
    a_model("a" * 50),
    a_model("llama-3.1-8b", licence={"name": "Llama 3.1 Community", "url": "https://example.com/l"}, size="16Gi"),
    a_model(source="pvc://models/qwen", format="hf", quantizations=["none", "fp8"], description="For chats."),
    a_cluster_model(namespaces={"names": ["team-a"]}, credentialsRef={"name": "hub-token"}, revision=COMMIT),
]


def create(cluster: Cluster, namespace: str, model: dict[str, Any], **query: str) -> Any:
    kind = LLM_MODEL if model["kind"] == LLM_MODEL.kind else CLUSTER_LLM_MODEL
    bare = {**model, "metadata": {"name": model["metadata"]["name"]}}
    return cluster.request("POST", kind.path(namespace), bare, fieldValidation="Strict", **query)


@pytest.mark.parametrize(("model", "says"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_makes_no_sense_is_refused(
    cluster: Cluster, shared_namespace: str, model: dict[str, Any], says: str
) -> None:
    answer = create(cluster, shared_namespace, model, dryRun="All")
    assert not answer.ok and says in answer.message


@pytest.mark.parametrize("model", ACCEPTED, ids=[each["metadata"]["name"] for each in ACCEPTED])
def test_a_model_with_all_its_fields_is_accepted(
    cluster: Cluster, shared_namespace: str, model: dict[str, Any]
) -> None:
    answer = create(cluster, shared_namespace, model, dryRun="All")
    assert answer.ok, answer.message


@pytest.fixture
def place(cluster: Cluster, namespace: str) -> Iterator[Place]:
    with operator(cluster.kubeconfig, [namespace]) as process:
        yield Place(cluster, namespace, process)


def service(place: Place, **spec: Any) -> None:
    made = a_service("chat").from_catalogue("qwen").with_spec(scheduling=NOWHERE, **spec).build()
    made["metadata"].pop("namespace", None)
    answer = place.cluster.create(place.namespace, made)
    assert answer.ok, answer.message


def accepted(place: Place) -> tuple[str, str]:
    found = place.condition("chat", "Accepted")
    return found.get("status", ""), found.get("reason", "")


def data(place: Place) -> dict[str, str]:
    found: dict[str, str] = place.get("ConfigMap", place.environment("chat"))["data"]
    return found


def test_a_service_waits_for_its_model_follows_it_and_outlives_it(place: Place) -> None:
    service(place, replicas=2)
    place.wait(lambda: accepted(place) == ("False", "ModelNotFound"), "the service says that its model is missing")
    assert not place.get("StatefulSet", "chat")
    model = create(place.cluster, place.namespace, a_model(**PINNED))
    assert model.ok, model.message
    place.wait(lambda: accepted(place) == ("True", "Accepted"), "the service has its model")
    place.until_complete("chat")
    assert data(place)["MODEL_REVISION"] == COMMIT

    other = COMMIT[::-1]
    path = LLM_MODEL.path(place.namespace, "qwen")
    assert place.cluster.request("PATCH", path, {"spec": {"revision": other}}, content_type=MERGE).ok
    place.wait(lambda: data(place)["MODEL_REVISION"] == other, "the service has the model's other revision")

    assert place.cluster.request("DELETE", path).ok
    place.wait(lambda: accepted(place) == ("False", "ModelNotFound"), "the service says that its model is gone")
    scaled = {"spec": {"replicas": 3}}
    answer = place.cluster.request("PATCH", place.path("LLMService", "chat"), scaled, content_type=MERGE)
    assert answer.ok, answer.message
    place.wait(lambda: place.get("StatefulSet", "chat")["spec"]["replicas"] == 3, "the number of replicas is followed")
    assert data(place)["MODEL_REVISION"] == other
