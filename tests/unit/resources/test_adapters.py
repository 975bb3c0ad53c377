"""The list of adapters reaches pods without a change of their template."""

from typing import Any

import pytest

from builders.services import a_service
from llmservice_contract.adapters import Adapter, read_adapters
from llmservice_operator.api.adapters import in_place_of
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gateway.routes import read_service
from llmservice_operator.resources.children import Children, make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform

ONE = {"name": "legal", "source": "hf://team/legal", "revision": "a" * 40}
OTHER = {"name": "legal", "source": "hf://team/legal", "revision": "b" * 40}


def children(**spec: Any) -> Children:
    service = a_service().from_source("hf://Qwen/Qwen3-8B").with_spec(**spec).build()
    return make_children(Owner("chat", "a", "uid"), LLMServiceSpec.model_validate(service["spec"]), Platform(), 2)


def template(made: Children) -> Any:
    return made.leader["spec"]["template"]


def test_a_changed_list_changes_only_its_configmap() -> None:
    before, after = children(adapters=[ONE]), children(adapters=[OTHER, {**ONE, "name": "medical"}])
    assert template(before) == template(after) and before.environment == after.environment
    assert before.adapters is not None and after.adapters is not None
    assert before.adapters["metadata"]["name"] == after.adapters["metadata"]["name"] == "chat-adapters"
    (listed, _) = read_adapters(after.adapters["data"]["adapters.json"].encode())
    assert listed == Adapter("legal", "hf://team/legal", "b" * 40)


def test_the_first_adapter_restarts_pods_unless_there_is_memory_for_it() -> None:
    assert template(children()) != template(children(adapters=[ONE]))
    prepared = children(engine={"maxLoras": 2})
    assert template(prepared) == template(children(engine={"maxLoras": 2}, adapters=[ONE]))
    assert prepared.adapters is not None and children().adapters is None


@pytest.mark.parametrize(
    ("adapter", "model", "fits"),
    [
        ("hf://team/a", "hf://Qwen/Qwen3-8B", True),
        ("hf://team/a", "pvc://models/qwen", True),
        ("https://hub.example/team/a", "https://hub.example/team/qwen", True),
        ("https://hub.example/team/a", "https://other.example/team/qwen", False),
        ("https://hub.example/team/a", "hf://Qwen/Qwen3-8B", False),
        ("pvc://models/a", "pvc://models/qwen", True),
        ("pvc://others/a", "pvc://models/qwen", False),
        ("pvc://models/a", "hf://Qwen/Qwen3-8B", False),
        ("s3://bucket/a", "s3://models/qwen", True),
        ("s3://bucket/a", "hf://Qwen/Qwen3-8B", False),
    ],
)
def test_an_adapter_is_read_with_the_credentials_of_the_model(adapter: str, model: str, fits: bool) -> None:
    assert (in_place_of(adapter, model) is None) == fits


def test_the_gateway_finds_a_service_by_its_adapters() -> None:
    service = a_service("chat", "team").with_spec(adapters=[ONE, {"name": 5}, "x"]).build()
    found = read_service(service)
    assert found is not None and found.models == ("chat", "legal")
