"""Models of the catalogue for tests, as the API server's JSON has them."""

from typing import Any

from llmservice_operator.api import CLUSTER_MODEL_KIND, GROUP, MODEL_KIND, VERSION

Json = dict[str, Any]


def a_model(name: str = "qwen", namespace: str = "team-a", **spec: Any) -> Json:
    """An LLMModel."""
    return _made(MODEL_KIND, {"name": name, "namespace": namespace}, spec)


def a_cluster_model(name: str = "qwen", **spec: Any) -> Json:
    """A ClusterLLMModel."""
    return _made(CLUSTER_MODEL_KIND, {"name": name}, spec)


def _made(kind: str, meta: Json, spec: Json) -> Json:
    uid = f"uid-{kind}-{meta.get('namespace', '')}-{meta['name']}".lower()
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "metadata": {**meta, "uid": uid, "generation": 1, "resourceVersion": "1"},
        "spec": {"source": "hf://org/qwen", **spec},
    }
