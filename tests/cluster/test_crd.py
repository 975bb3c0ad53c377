"""The CRD as a whole on a real API server: what users type, see and script against."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import FIVE_LINES, a_service
from llmservice_operator.api.service import LLMServiceSpec
from support.cluster import APPLY, MERGE, ROOT, Answer, Cluster, wait_until
from support.schema import nodes

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
READY = {
    "type": "Ready",
    "status": "False",
    "reason": "Unschedulable",
    "message": "needs 2 nvidia.com/gpu on one node",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def chat(cluster: Cluster, namespace: str) -> str:
    """Path of a service that exists."""
    made = cluster.create(namespace, a_service("chat").build())
    assert made.ok, made.message
    return cluster.services(namespace, "chat")


def merge(cluster: Cluster, path: str, patch: dict[str, Any]) -> Answer:
    return cluster.request("PATCH", path, patch, content_type=MERGE, fieldValidation="Strict")


def test_five_lines_are_a_service_and_stay_as_they_were_written(cluster: Cluster, namespace: str) -> None:
    written = yaml.safe_load(FIVE_LINES)
    assert len(FIVE_LINES.splitlines()) == 5
    made = cluster.create(namespace, written)
    assert made.ok, made.message
    assert made.body["spec"] == written["spec"]
    LLMServiceSpec.model_validate(made.body["spec"])


def test_every_field_at_once(cluster: Cluster, namespace: str) -> None:
    full = a_service().with_spec(
        model={
            "source": "hf://org/Model-8B",
            "revision": "0e9e39f249a16976918f6564b8830bc894c89659",
            "digest": f"sha256:{'0' * 64}",
            "format": "hf",
            "servedNames": ["model", "org/model:8b"],
            "credentialsRef": {"name": "hf-token"},
            "maxContextLength": 8192,
            "size": "16Gi",
        },
        quantization={"method": "fp8", "kvCacheDtype": "fp8"},
        parallelism={
            "tensor": 2,
            "pipeline": 1,
            "data": 1,
            "nodesPerReplica": 2,
            "secretRef": {"name": "group"},
            "expertParallel": True,
        },
        rollout={
            "strategy": "Auto",
            "maxUnavailable": 1,
            "onFailure": "Rollback",
            "paused": False,
            "canary": {"weight": 5},
        },
        cache={"size": "200Gi", "storageClassName": "fast", "keep": 2},
        accelerator={"type": "nvidia", "products": ["NVIDIA-H100-80GB-HBM3"], "resourceName": "nvidia.com/gpu"},
        engine={
            "gpuMemoryUtilization": "0.92",
            "maxNumSeqs": 256,
            "maxNumBatchedTokens": 8192,
            "prefixCaching": True,
            "chunkedPrefill": True,
            "speculative": {"method": "ngram", "tokens": 8},
            "batchTimeout": "20ms",
            "stepTimeoutSeconds": 300,
            "attention": "flash",
            "toolCallParser": "hermes",
            "reasoningParser": "none",
            "chatTemplate": {"configMapRef": {"name": "templates", "key": "chat.jinja"}},
            "dtype": "bfloat16",
            "loadFormat": "fastsafetensors",
            "runner": "generate",
            "convert": "none",
            "multimodalLimits": {"image": 2, "video": 0, "audio": 1},
            "structuredOutputsBackend": "xgrammar",
            "seed": 7,
            "kvOffloadMemory": "64Gi",
            "hfOverrides": '{"rope_theta": 1000000.0}',
            "extraArgs": {"block-size": 32, "enable-dbo": "true"},
            "env": {"NCCL_IB_HCA": "mlx5_0"},
        },
        replicas=2,
        scaling={
            "algorithm": "Latency",
            "minReplicas": 0,
            "maxReplicas": 8,
            "targets": {"timeToFirstToken": {"p50": "50ms", "p99": "0.2s"}, "requestLatency": {"p90": "30s"}},
            "behavior": {
                "scaleUp": {"selectPolicy": "Min"},
                "scaleDown": {"policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
            },
        },
        access={
            "apiKeys": {"secretRef": {"name": "keys"}},
            "rateLimits": {
                "mode": "Enforce",
                "default": {"requestsPerMinute": 60},
                "premium": {"tokensPerMinute": 1_000_000},
                "tiers": [{"name": "gold", "requestsPerMinute": 5000, "tokensPerMinute": 5_000_000}],
                "store": {
                    "address": "redis:6379",
                    "tls": True,
                    "credentialsRef": {"name": "login"},
                    "budget": "chat",
                    "onFailure": "Closed",
                },
            },
            "caps": {"bodyBytes": "8Mi", "maxTokens": 4096, "deadlineSeconds": 300, "concurrencyPerKey": 64},
            "mediaDomains": ["images.example.com"],
            "allowedOrigins": ["https://chat.example.com"],
            "prefixCache": "PerKey",
            "fairSharing": {"tiers": [{"name": "gold", "weight": 4, "maxQueueSeconds": 30}]},
        },
        tracing={"endpoint": "http://jaeger:4317", "samplingPercent": 10},
        shutdown={"drainSeconds": 300, "lameDuckSeconds": 5},
        resources={
            "cpu": 8,
            "memory": "64Gi",
            "ephemeralStorage": "100Gi",
            "sharedMemory": "8Gi",
            "cpuLimit": "16",
            "devices": {"rdma/hca": 1},
        },
        scheduling={
            "groupWithin": "example.com/block",
            "nodeSelector": {"topology.kubernetes.io/zone": "a"},
            "tolerations": [{"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"}],
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "schedulerName": "default-scheduler",
            "spreadOver": "topology.kubernetes.io/zone",
            "maxNodeProvisionSeconds": 1800,
        },
        pod={
            "labels": {"example.com/team": "a"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "image": "registry.example.com/llm/runtime:1",
            "imagePullSecrets": ["registry"],
        },
    )
    made = cluster.create(namespace, full.build())
    assert made.ok, made.message
    given = {
        str(node)
        for node in nodes()
        if node.path[:1] == ("spec",)
        and len(node.path) == 3
        and node.path[2] in made.body["spec"].get(node.path[1], {})
    }
    every = {str(node) for node in nodes() if node.path[:1] == ("spec",) and len(node.path) == 3}
    not_beside_these = {  # on one node; instead of a source; for CPUs; instead of resourceName
        "spec.adapters[]",
        "spec.engine.maxLoraRank",
        "spec.engine.maxLoras",
        "spec.model.ref",
        "spec.engine.kvCacheMemory",
        "spec.accelerator.deviceClassName",
        "spec.accelerator.deviceSelectors",
    }
    assert every - given == not_beside_these, "name every other field above"
    assert LLMServiceSpec.model_validate(made.body["spec"]).resources.cpu == "8"


SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))


def test_there_are_samples() -> None:
    assert SAMPLES


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_accepted(cluster: Cluster, namespace: str, sample: Path) -> None:
    services = [each for each in yaml.safe_load_all(sample.read_text()) if each and each["kind"] == "LLMService"]
    assert services
    for service in services:
        service["metadata"].pop("namespace", None)
        made = cluster.create(namespace, service, dry_run=True)
        assert made.ok, made.message


def test_a_service_without_a_spec_is_refused(cluster: Cluster, namespace: str) -> None:
    service = a_service().build()
    del service["spec"]
    refused = cluster.create(namespace, service)
    assert refused.status == 422
    assert "spec: Required value" in refused.message


@pytest.mark.parametrize("place", [str(node) for node in nodes() if "properties" in node.schema and len(node.path) < 3])
def test_an_unknown_field_is_refused_by_name(cluster: Cluster, namespace: str, place: str) -> None:
    service = a_service().build()
    below = service
    for step in filter(None, place.split(".")):
        below = below.setdefault(step, {})
    below["scalling"] = 1
    refused = cluster.create(namespace, service)
    assert refused.status == 400
    assert f'unknown field "{place}.scalling"'.replace('".', '"') in refused.message


def test_a_client_that_does_not_ask_for_strictness_is_warned(cluster: Cluster, namespace: str) -> None:
    service = a_service().with_spec(scalling={"maxReplicas": 8}).build()
    made = cluster.request("POST", cluster.services(namespace), service)
    assert made.ok
    assert any('unknown field \\"spec.scalling\\"' in warning for warning in made.warnings), made.warnings


def test_server_side_apply_refuses_an_unknown_field(cluster: Cluster, namespace: str) -> None:
    service = a_service().with_spec(scalling={"maxReplicas": 8}).build()
    path = cluster.services(namespace, "chat")
    refused = cluster.request("PATCH", path, service, content_type=APPLY, fieldManager="a-user")
    assert not refused.ok
    assert "scalling" in refused.message


def test_an_empty_section_counts_as_absent(cluster: Cluster, namespace: str) -> None:
    """A template whose section renders to nothing leaves `engine:` behind, which is null."""
    made = cluster.create(namespace, a_service().with_spec(engine=None, scheduling={}).build())
    assert made.ok, made.message
    assert "engine" not in made.body["spec"]
    LLMServiceSpec.model_validate(made.body["spec"])


def test_a_wrong_change_is_refused_and_what_was_stays(cluster: Cluster, chat: str) -> None:
    assert merge(cluster, chat, {"spec": {"parallelism": {"tensor": 4}}}).ok
    refused = merge(cluster, chat, {"spec": {"parallelism": {"pipeline": 5}}})
    assert refused.status == 422
    assert "must be at most 16 for each node" in refused.message
    assert cluster.request("GET", chat).body["spec"]["parallelism"] == {"tensor": 4}


def test_a_change_of_the_spec_counts_as_a_generation_and_a_status_does_not(cluster: Cluster, chat: str) -> None:
    assert cluster.request("GET", chat).body["metadata"]["generation"] == 1
    assert merge(cluster, f"{chat}/status", {"status": {"replicas": 1}}).body["metadata"]["generation"] == 1
    assert merge(cluster, chat, {"spec": {"replicas": 2}}).body["metadata"]["generation"] == 2


def test_status_and_spec_are_written_apart(cluster: Cluster, chat: str) -> None:
    assert "status" not in merge(cluster, chat, {"status": {"replicas": 7}}).body
    answer = merge(cluster, f"{chat}/status", {"spec": {"replicas": 7}, "status": {"conditions": [READY]}})
    assert answer.ok, answer.message
    assert answer.body["spec"] == {"model": {"source": "pvc://models/chat"}}
    assert answer.body["status"] == {"conditions": [READY]}


def test_two_managers_hold_a_condition_each(cluster: Cluster, chat: str) -> None:
    """Conditions are a list by type: one writer's apply leaves another's condition alone."""
    for manager, kind in (("one", "Ready"), ("two", "Audited")):
        body = {
            "apiVersion": "llmservice.dev/v1alpha1",
            "kind": "LLMService",
            "status": {"conditions": [{**READY, "type": kind}]},
        }
        answer = cluster.request("PATCH", f"{chat}/status", body, content_type=APPLY, fieldManager=manager)
        assert answer.ok, answer.message
    conditions = cluster.request("GET", chat).body["status"]["conditions"]
    assert sorted(each["type"] for each in conditions) == ["Audited", "Ready"]


def test_scale_reads_and_writes_replicas(cluster: Cluster, chat: str) -> None:
    assert merge(cluster, chat, {"spec": {"replicas": 1}}).ok
    assert merge(cluster, f"{chat}/status", {"status": {"replicas": 1, "selector": "app=chat"}}).ok
    scale = cluster.request("GET", f"{chat}/scale").body
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 1, "selector": "app=chat"})

    scale["spec"]["replicas"] = 3
    assert cluster.request("PUT", f"{chat}/scale", scale).ok
    assert cluster.request("GET", chat).body["spec"]["replicas"] == 3


def test_scale_works_where_the_spec_has_no_replicas(cluster: Cluster, chat: str) -> None:
    answer = merge(cluster, f"{chat}/scale", {"spec": {"replicas": 2}})
    assert answer.ok, answer.message
    assert cluster.request("GET", chat).body["spec"]["replicas"] == 2


def test_scale_is_held_to_the_bounds(cluster: Cluster, chat: str) -> None:
    assert not merge(cluster, f"{chat}/scale", {"spec": {"replicas": 1001}}).ok


def test_the_table_that_kubectl_get_prints(cluster: Cluster, namespace: str, chat: str) -> None:
    status = {"conditions": [READY], "replicas": 2, "gpus": 4, "address": f"http://chat.{namespace}.svc"}
    assert merge(cluster, f"{chat}/status", {"status": status}).ok
    assert merge(cluster, chat, {"spec": {"accelerator": {"type": "amd"}}}).ok
    table = cluster.request("GET", cluster.services(namespace), accept=TABLE).body
    names = [column["name"] for column in table["columnDefinitions"]]
    assert [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0] == [
        "Name",
        "Ready",
        "Reason",
        "Model",
        "Replicas",
        "GPUs",
        "Age",
    ]
    (row,) = table["rows"]
    shown = dict(zip(names, row["cells"], strict=True))
    del shown["Age"]
    assert shown == {
        "Name": "chat",
        "Ready": "False",
        "Reason": "Unschedulable",
        "Model": "pvc://models/chat",
        "Replicas": 2,
        "GPUs": 4,
        "Address": f"http://chat.{namespace}.svc",
        "Accelerator": "amd",
        "Ref": None,
        "Message": "needs 2 nvidia.com/gpu on one node",
    }


def test_names_by_which_kubectl_finds_it(cluster: Cluster) -> None:
    found = cluster.request("GET", "/apis/llmservice.dev/v1alpha1").body["resources"]
    resources = {each["name"]: each for each in found}
    models = {"llmmodels", "clusterllmmodels"}
    assert set(resources) == {"llmservices", "llmservices/status", "llmservices/scale", *models}
    service = resources["llmservices"]
    assert service["namespaced"]
    assert (service["singularName"], service["shortNames"], service["categories"]) == ("llmservice", ["llms"], ["llm"])


def test_kubectl_explain_has_a_text_for_every_field(cluster: Cluster) -> None:
    """It reads the published OpenAPI, in which each field of the CRD must have arrived with its description."""

    def published() -> Any:
        schemas = cluster.request("GET", "/openapi/v3/apis/llmservice.dev/v1alpha1").body["components"]["schemas"]
        return schemas.get("dev.llmservice.v1alpha1.LLMService")

    root = wait_until(published, "the schema is published")
    silent = [
        str(node)
        for node in nodes({"properties": {part: root["properties"][part] for part in ("spec", "status")}})
        if node.path and node.path[-1][0].isalpha() and not node.schema.get("description")
    ]
    assert not silent
