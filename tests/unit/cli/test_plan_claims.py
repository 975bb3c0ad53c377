"""`kubectl llm plan` with a model in a volume claim: its access modes, from the cluster or from the manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.cli.main import main
from support.documents import valid
from unit.cli.person import Person
from unit.cli.planning import forbidden

CHANGE = 2


def service(**spec: Any) -> dict[str, Any]:
    body = {
        "model": {"source": "pvc://models/chat", **spec},
        "replicas": 1,
        "accelerator": {"type": "cpu"},
        "resources": {"cpu": "2", "memory": "8Gi"},
    }
    meta = {"name": "chat", "namespace": "team-a"}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": body}


def claim(*modes: Any, name: str = "models", namespace: str | None = "team-a") -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": {"accessModes": list(modes)}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def planned(capsys: pytest.CaptureFixture[str], *objects: dict[str, Any], old: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The plan of another context length for the service, with these objects beside it."""
    Path("old.yaml").write_text(yaml.safe_dump_all([service(), *old]))
    Path("new.yaml").write_text(yaml.safe_dump_all([service(maxContextLength=2048), *objects]))
    assert main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", "json"]) == CHANGE
    shown: dict[str, Any] = valid(json.loads(capsys.readouterr().out))["services"][0]
    return shown


def strategies(shown: dict[str, Any]) -> list[str]:
    return [each["strategy"] for each in shown["strategies"]]


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
def test_a_claim_among_the_manifests_that_one_node_can_mount_is_replaced_in_place(
    capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    shown = planned(capsys, claim(mode))
    assert strategies(shown) == ["InPlace"]
    assert f"PersistentVolumeClaim models is {mode}" in shown["strategies"][0]["reason"]
    assert not any("models" in note for note in shown["notes"])


def test_a_claim_of_the_old_manifests_counts_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert strategies(planned(capsys, old=(claim("ReadWriteOnce"),))) == ["InPlace"]


def test_a_claim_of_many_nodes_is_replaced_by_a_surge(capsys: pytest.CaptureFixture[str]) -> None:
    assert strategies(planned(capsys, claim("ReadWriteMany"))) == ["Surge"]


@pytest.mark.parametrize(
    "other", [claim("ReadWriteOnce", name="weights"), claim("ReadWriteOnce", namespace="team-b"), {"kind": "List"}]
)
def test_a_claim_that_is_not_known_is_noted(capsys: pytest.CaptureFixture[str], other: dict[str, Any]) -> None:
    shown = planned(capsys, other)
    assert strategies(shown) == ["Surge"]
    assert any("PersistentVolumeClaim models" in note for note in shown["notes"])


@pytest.mark.parametrize("spec", [None, [], {"accessModes": "ReadWriteOnce"}, {"accessModes": [{"a": 1}]}])
def test_a_claim_with_any_spec_is_read(capsys: pytest.CaptureFixture[str], spec: Any) -> None:
    assert strategies(planned(capsys, {**claim(), "spec": spec})) == ["Surge"]


def test_the_claim_in_the_cluster_counts(person: Person) -> None:
    person.runs(1, 2, model={"source": "pvc://models/chat"})
    person.api.around["persistentvolumeclaims"] = [claim("ReadWriteOncePod")]  # type: ignore[index]
    shown = person.json({"model": {"maxContextLength": 2048}})
    assert strategies(shown) == ["InPlace"]
    assert "models is ReadWriteOncePod" in shown["strategies"][0]["reason"]


def test_a_claim_that_can_t_be_read_is_taken_from_the_manifests_and_otherwise_noted(person: Person) -> None:
    person.runs(1, 2, model={"source": "pvc://models/chat"})
    person.api.around["persistentvolumeclaims"] = forbidden("persistentvolumeclaims")  # type: ignore[index]
    changed = person.manifest({"model": {"maxContextLength": 2048}})
    noted = person.plan(changed, options="-o json").json["services"][0]
    assert strategies(noted) == ["Surge"]
    assert any("PersistentVolumeClaim models can't be read" in note for note in noted["notes"])
    stated = person.plan(changed, claim("ReadWriteOncePod"), options="-o json").json["services"][0]
    assert strategies(stated) == ["InPlace"]
