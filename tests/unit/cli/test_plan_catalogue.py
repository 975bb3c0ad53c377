"""`kubectl llm plan` of services that name a model of the catalogue: the plan is that of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.models import a_cluster_model, a_model
from builders.services import COMMIT
from llmservice_operator.cli.main import main
from support.documents import valid
from unit.cli.person import CHANGE, Person

NOTHING, FAILED = 0, 1
OTHER = COMMIT[::-1]
REF = {"model": {"ref": {"name": "qwen"}}}


def service(**model: Any) -> dict[str, Any]:
    meta = {"name": "chat", "namespace": "team-a"}
    spec = {"model": model or REF["model"], "replicas": 1, "accelerator": {"type": "cpu"}}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": spec}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def planned(old: list[Any], new: list[Any]) -> int:
    Path("old.yaml").write_text(yaml.safe_dump_all(old))
    Path("new.yaml").write_text(yaml.safe_dump_all(new))
    return main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", "json"])


@pytest.mark.usefixtures("folder")
def test_a_service_that_takes_its_model_from_the_catalogue_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = a_model(source="hf://org/qwen", revision=COMMIT)
    assert planned([service(source="hf://org/qwen", revision=COMMIT)], [service(), model]) == NOTHING
    assert valid(json.loads(capsys.readouterr().out))["services"][0]["outcome"] == "NoChange"


@pytest.mark.usefixtures("folder")
def test_a_changed_model_replaces_the_pods_of_its_services(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (a_model(source="hf://org/qwen", revision=revision) for revision in (COMMIT, OTHER))
    assert planned([service(), old], [service(), new]) == CHANGE
    (shown,) = valid(json.loads(capsys.readouterr().out))["services"]
    assert "Replace" in [each["action"] for each in shown["steps"]]
    assert "spec.model.revision" in json.dumps(shown)


@pytest.mark.usefixtures("folder")
def test_without_a_cluster_a_model_must_be_among_the_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    assert planned([service(source="hf://org/qwen")], [service(), a_cluster_model()]) == FAILED
    assert "LLMService chat names LLMModel qwen, which is not among the manifests" in capsys.readouterr().err


def test_on_a_cluster_its_models_are_read(person: Person) -> None:
    around = person.api.around
    assert around is not None
    source = person.api.objects["LLMService", "team-a", "chat"]["spec"]["model"]["source"]
    around["llmmodels"] = [a_model(source=source)]
    around["clusterllmmodels"] = []
    manifest = person.manifest()
    manifest["spec"] = {**manifest["spec"], **REF}
    assert "nothing changes" in person.plan(manifest).out
    around["llmmodels"] = []
    done = person.plan(manifest)
    assert "which does not exist" in done.out
