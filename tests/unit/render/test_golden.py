"""The rendered children, case by case, as kept under tests/unit/golden and as Kubernetes' own schemas have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from builders.cases import CASES
from builders.services import ServiceBuilder
from llmservice_operator.api import LLMServiceSpec
from llmservice_operator.render.children import make_children
from llmservice_operator.render.inspection import make_inspection
from llmservice_operator.render.objects import Owner
from llmservice_operator.render.platform import Platform

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMA = "1.37"


def rendered(builder: ServiceBuilder, platform: Platform | None = None) -> list[dict[str, Any]]:
    """All objects of a service, the inspection's Job last."""
    service = builder.build()
    owner = Owner(service["metadata"]["name"], service["metadata"]["namespace"], service["metadata"]["uid"])
    spec = LLMServiceSpec.model_validate(service["spec"])
    chosen = platform or Platform()
    children = make_children(owner, spec, chosen, spec.replicas if spec.replicas is not None else 1)
    return [*children, make_inspection(owner, spec, chosen)]


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


@pytest.mark.parametrize("name", [*CASES, "platform"])
def test_golden_files_are_valid_for_kubernetes(name: str) -> None:
    documents = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert len(documents) == 6
    for document in documents:
        kubernetes_validate.validate(document, SCHEMA, strict=True)


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {*CASES, "platform"}


def test_the_validation_finds_a_misspelt_field() -> None:
    statefulset = rendered(CASES["five-lines"])[4]
    statefulset["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePulPolicy"):
        kubernetes_validate.validate(statefulset, SCHEMA, strict=True)
