"""`kubectl llm models`, as a person of team-a meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders.models import a_cluster_model, a_model
from support.fake_api import refusal
from support.published import measurements
from unit.cli.conftest import Terminal
from unit.cli.done import Done

CONFIGS = {each.row["model"]: each.config for each in measurements()}
STORED = {each.row["model"]: each.row.get("storedBytes") for each in measurements()}
H100 = "NVIDIA-H100-80GB-HBM3"
DEEP = '{"text_config":' * 200 + "1" + "}" * 200
Json = dict[str, Any]


def models(terminal: Terminal, line: str = "") -> Done:
    return terminal.run(f"models {line}", group=())


def listed(terminal: Terminal) -> dict[str, Json]:
    document = json.loads(models(terminal, "-o json").out)
    assert (document["kind"], document["namespace"]) == ("Models", "team-a")
    return {each["name"]: each for each in document["items"]}


def a_node(name: str, gpus: int = 8, product: str = H100) -> Json:
    labels = {"nvidia.com/gpu.product": product}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"allocatable": {"nvidia.com/gpu": str(gpus)}, "conditions": ready}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def a_taker(node: str, gpus: int) -> Json:
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"nvidia.com/gpu": str(gpus)}}
    spec = {"nodeName": node, "containers": [{"name": "c", "resources": limits}]}
    return {"metadata": {"name": f"taker-{node}", "namespace": "x"}, "spec": spec, "status": {"phase": "Running"}}


def known(model: str, **spec: Any) -> Json:
    return {"source": f"hf://{model}", "config": json.dumps(CONFIGS[model]), "size": str(STORED[model]), **spec}


def around(terminal: Terminal, *offered: Json, nodes: tuple[Json, ...] = (), pods: tuple[Json, ...] = ()) -> None:
    answer = terminal.api.answer

    def with_version(method: str, target: str, *rest: Any) -> Any:
        return (200, {"minor": "33"}) if target == "/version" else answer(method, target, *rest)

    terminal.api.answer = with_version  # type: ignore[method-assign, assignment]
    own = [each for each in offered if each["kind"] == "LLMModel"]
    platform = [each for each in offered if each["kind"] != "LLMModel"]
    terminal.api.around = {
        "llmmodels": own,
        "clusterllmmodels": platform,
        "nodes": list(nodes),
        "pods": list(pods),
        "resourcequotas": [],
        "deployments": [],
    }


def test_models_are_listed_with_the_fewest_gpus_that_are_free(terminal: Terminal) -> None:
    large = a_cluster_model("qwen3-32b", **known("Qwen/Qwen3-32B"), licence={"name": "Apache-2.0"})
    small = a_model("small", **known("Qwen/Qwen3-0.6B"))
    around(terminal, large, small, nodes=(a_node("a", 2, "NVIDIA-L4"), a_node("b")), pods=(a_taker("b", 7),))
    found = listed(terminal)
    assert found["small"]["fits"] == "Fits" and found["small"]["refKind"] == "LLMModel"
    assert found["small"]["placement"]["gpus"] == 1 and found["small"]["placement"]["free"] is True
    big = found["qwen3-32b"]
    assert (big["placement"]["gpus"], big["placement"]["product"], big["placement"]["free"]) == (2, H100, False)
    assert (big["factsFrom"], big["architecture"], big["layers"]) == ("Catalogue", "Qwen3ForCausalLM", 64)
    table = models(terminal).out
    (row,) = [line for line in table.splitlines() if line.startswith("qwen3-32b")]
    assert row.split() == [
        "qwen3-32b",
        "ClusterLLMModel",
        "Apache-2.0",
        "40960",
        "61.0",
        "GiB",
        "2",
        "x",
        H100,
        "no",
        "0",
    ]


def test_what_a_service_has_read_counts_and_services_are_counted(terminal: Terminal) -> None:
    from llmservice_contract.configuration import packed, relevant

    model = a_cluster_model("qwen", source="hf://Qwen/Qwen3-0.6B")
    facts = {
        "source": "hf://Qwen/Qwen3-0.6B",
        "architecture": "Qwen3ForCausalLM",
        "configuration": packed(relevant(CONFIGS["Qwen/Qwen3-0.6B"])),
        "weightBytes": 1_192_099_840,
    }
    cost = {"currency": "EUR", "perHour": "2.5", "gpus": [{"product": H100, "count": 1, "price": "2.5"}]}
    spec = {"model": {"ref": {"kind": "ClusterLLMModel", "name": "qwen"}}}
    terminal.api.place("LLMService", "team-a", "user", spec=spec, status={"model": facts, "cost": cost})
    around(terminal, model, nodes=(a_node("a"),))
    found = listed(terminal)["qwen"]
    assert (found["factsFrom"], found["services"], found["weightBytes"]) == ("Source", 1, 1_192_099_840)
    assert found["placement"] == {"gpus": 1, "product": H100, "free": True, "perHour": "2.50", "currency": "EUR"}
    assert "EUR 2.50" in models(terminal).out


def test_only_models_that_the_namespace_may_use_are_listed(terminal: Terminal) -> None:
    around(
        terminal,
        a_cluster_model("for-b", namespaces={"names": ["team-b"]}),
        a_cluster_model("for-a", namespaces={"names": ["team-a"]}),
        a_model("of-b", namespace="team-b"),
        a_model("of-a-later-version", adapters=[]),
    )
    assert listed(terminal).keys() == {"for-a"}


def test_a_model_that_can_not_be_used_is_named_with_the_reason(terminal: Terminal) -> None:
    around(terminal, a_model("of-a-later-version", gateway="x"))
    said = models(terminal).err
    assert "LLMModel of-a-later-version can't be used: spec.gateway is not a field that this version" in said


@pytest.mark.parametrize(
    ("model", "nodes", "says"),
    [
        (a_model("m"), (a_node("a"),), "no service of the namespace has read its configuration"),
        (a_model("m", config="{]}"), (a_node("a"),), "no service of the namespace has read its configuration"),
        (a_model("m", config=DEEP), (a_node("a"),), "no service of the namespace has read its configuration"),
        (a_model("m", **known("Qwen/Qwen3-0.6B")), (), "no node has a label with its GPU product"),
    ],
)
def test_what_is_not_known_is_said(terminal: Terminal, model: Json, nodes: tuple[Json, ...], says: str) -> None:
    around(terminal, model, nodes=nodes)
    found = listed(terminal)["m"]
    assert (found["fits"], found["placement"]) == ("Unknown", None)
    assert says in found["message"]


def test_a_model_that_is_too_large_does_not_fit(terminal: Terminal) -> None:
    around(terminal, a_model("m", **known("Qwen/Qwen3-32B")), nodes=(a_node("a", 2, "NVIDIA-L4"),))
    assert listed(terminal)["m"]["fits"] == "DoesNotFit"
    assert " no " in models(terminal).out


def test_a_cluster_without_the_catalogue_or_the_permission_to_read_nodes(terminal: Terminal) -> None:
    around(terminal, a_model("m", **known("Qwen/Qwen3-0.6B")))
    assert terminal.api.around is not None
    terminal.api.around |= {"clusterllmmodels": refusal(404, "not found", "NotFound")}
    terminal.api.around |= {"nodes": refusal(403, "nodes is forbidden", "Forbidden")}
    done = models(terminal, "-o json")
    assert [each["message"] for each in json.loads(done.out)["items"]] == ["nodes can't be read"]
    assert "Node: you lack the permission to read them" in done.err
    around(terminal)
    assert "There is no model that services of namespace team-a may name" in models(terminal).err
