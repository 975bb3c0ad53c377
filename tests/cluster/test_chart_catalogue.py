"""The chart's starter catalogue. No cluster is asked."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import HelmError, of_kind, render

ROOT = Path(__file__).parents[2]
KINDS = ("llmservice.dev/v1alpha1/ClusterLLMModel",)
MODELS = {
    each["metadata"]["name"]: each["spec"]
    for each in yaml.safe_load_all((ROOT / "manifests" / "catalogue.yaml").read_text())
    if each
}


def rendered(*, api_versions: tuple[str, ...] = KINDS, **catalogue: Any) -> dict[str, dict[str, Any]]:
    objects = render({"catalogue": catalogue}, api_versions=api_versions)
    return {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "ClusterLLMModel")}


def test_it_is_made_if_asked_for_and_if_the_cluster_has_its_kind() -> None:
    assert rendered() == {}
    assert rendered(enabled=True) == MODELS
    assert rendered(enabled=True, api_versions=()) == {}


def test_models_namespaces_and_the_secret_are_chosen() -> None:
    chosen = ["qwen3-8b", "gemma-3-4b-it"]
    found = rendered(enabled=True, models=chosen, namespaces=["team-a"], credentialsSecret="token")
    assert sorted(found) == sorted(chosen)
    assert all(each["namespaces"] == {"names": ["team-a"]} for each in found.values())
    assert found["gemma-3-4b-it"]["credentialsRef"] == {"name": "token"}
    assert "credentialsRef" not in found["qwen3-8b"]


def test_a_model_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(HelmError, match="the starter catalogue has no model qwen4; it has"):
        rendered(enabled=True, models=["qwen4"])
