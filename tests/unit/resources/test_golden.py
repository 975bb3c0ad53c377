"""The rendered children, case by case, as kept under tests/unit/golden and as Kubernetes' own schemas have them."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from builders.cases import CASES
from builders.services import ServiceBuilder
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, Network, Platform

GOLDEN = Path(__file__).parents[1] / "golden"
PLACES = {"ConfigMap": 0, "Job": 2}
"""What a reader wants first and last; all else is in the order of apply."""
SCHEMA = "1.37"
CHART = Path(__file__).parents[3] / "charts" / "llmservice-operator" / "Chart.yaml"
OLDEST_SCHEMA = yaml.safe_load(CHART.read_text())["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
"""The oldest supported Kubernetes, such as 1.33."""
MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
# Each validation would read the same files of some megabytes anew.
utils.schema_contents = functools.cache(utils.schema_contents)


def rendered(builder: ServiceBuilder, platform: Platform | None = None) -> list[dict[str, Any]]:
    """All objects of a service, the inspection's Job last."""
    service = builder.build()
    owner = Owner(service["metadata"]["name"], service["metadata"]["namespace"], service["metadata"]["uid"])
    spec = LLMServiceSpec.model_validate(service["spec"])
    network = Network(prometheus=(MONITORING,), api_server=("10.96.0.1/32", "172.18.0.2/32"))
    chosen = platform or Platform(adapter=Adapter.OWN, tolerance_is_settable=True, scales_to_zero=True, network=network)
    children = make_children(owner, spec, chosen, spec.replicas if spec.replicas is not None else 1)
    inspected = dataclasses.replace(children, inspections=(make_inspection(owner, spec, chosen),))
    return sorted(inspected, key=lambda child: PLACES.get(child["kind"], 1))


def as_yaml(objects: list[dict[str, Any]]) -> str:
    """The objects as one file, without anchors."""
    return yaml.safe_dump_all(json.loads(json.dumps(objects)), sort_keys=False, width=120)


@pytest.mark.parametrize("name", CASES)
def test_children_are_as_kept(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.yaml", as_yaml(rendered(CASES[name])))


def test_children_on_a_platform_of_ones_own_are_as_kept(golden: Callable[[str, str], None]) -> None:
    platform = Platform(
        runtime_image="registry.example.com/runtime@sha256:" + "0" * 64,
        image_pull_policy="Always",
        image_pull_secrets=("registry", "mirror"),
        cluster_domain="example.internal",
    )
    golden("platform.yaml", as_yaml(rendered(CASES["five-lines"], platform)))


def test_the_scaled_object_for_keda_is_as_kept(golden: Callable[[str, str], None]) -> None:
    platform = Platform(
        adapter=Adapter.KEDA,
        prometheus_url="https://prometheus.monitoring:9090",
        prometheus_matchers='namespace="llmservice-system",cluster="a"',
        keda_authentication="prometheus",
        keda_auth_modes="bearer",
        tolerance_is_settable=True,
    )
    (scaled,) = (child for child in rendered(CASES["scaled"], platform) if child["kind"] == "ScaledObject")
    golden("keda.yaml", as_yaml([scaled]))


@pytest.mark.parametrize("name", CASES)
def test_the_oldest_supported_kubernetes_takes_every_child(name: str) -> None:
    for child in rendered(CASES[name], Platform(adapter=Adapter.PROMETHEUS_ADAPTER)):
        if kinds.named(child["kind"]).optional:
            continue  # such a service is not accepted there
        kubernetes_validate.validate(json.loads(json.dumps(child)), OLDEST_SCHEMA, strict=True)


def test_an_older_cluster_gets_an_autoscaler_that_it_takes() -> None:
    platform = Platform(adapter=Adapter.PROMETHEUS_ADAPTER)
    (hpa,) = (c for c in rendered(CASES["scaled"], platform) if c["kind"] == "HorizontalPodAutoscaler")
    assert hpa["spec"]["minReplicas"] == 1
    assert "tolerance" not in json.dumps(hpa)


def test_without_an_adapter_there_is_no_autoscaler() -> None:
    kinds = {child["kind"] for child in rendered(CASES["scaled"], Platform())}
    assert not kinds & {"HorizontalPodAutoscaler", "ScaledObject"}


@pytest.mark.parametrize("name", [*CASES, "platform"])
def test_golden_files_are_valid_for_kubernetes(name: str) -> None:
    documents = list(yaml.load_all((GOLDEN / f"{name}.yaml").read_text(), yaml.CSafeLoader))
    more = {"scaled": 1, "adapters": 1, "two-nodes": 1 + 2, "four-nodes": 3 + 2, "device-class": 1, "platform": -1}
    assert len(documents) == 8 + more.get(name, 0)
    for document in documents:
        kubernetes_validate.validate(document, SCHEMA, strict=True)


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {*CASES, "platform", "keda", "gateway-api"}


def test_the_validation_finds_a_misspelt_field() -> None:
    statefulset = rendered(CASES["five-lines"])[-2]
    statefulset["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePulPolicy"):
        kubernetes_validate.validate(statefulset, SCHEMA, strict=True)
