"""The manifests that `kubectl llm plan` is given: how they would be applied, and those that are none."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from support.fake_api import refusal
from unit.cli.person import FAILED, FAILS, LONGER, NOTHING, Person


def test_what_kubectl_apply_takes_out_goes_and_what_others_have_set_stays(person: Person) -> None:
    person.runs(3, 3, model={"maxContextLength": 1024}, engine={"maxNumSeqs": 16})
    applied = {"spec": {"model": {"source": "s3://models/chat", "maxContextLength": 1024}}}
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    person.api.objects["LLMService", "team-a", "chat"]["metadata"]["annotations"] = annotation
    manifest = person.manifest()
    manifest["spec"] = {"model": {"source": "s3://models/chat"}}
    reported = person.plan(manifest, options="-o json").json["services"][0]
    assert [(each["path"], each["after"]) for each in reported["spec"]] == [("spec.model.maxContextLength", None)]


def test_it_is_applied_by_who_applied_it_last(person: Person) -> None:
    entry = {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:model": {}}}}
    person.api.objects["LLMService", "team-a", "chat"]["metadata"]["managedFields"] = [entry]
    person.plan(person.manifest(LONGER))
    assert "fieldManager=argocd-controller" in person.api.dry_runs[0][1]
    person.plan(person.manifest(LONGER), options="--field-manager flux")
    assert any("fieldManager=flux" in target for _, target, _ in person.api.dry_runs)


def test_a_conflict_is_kubectl_s_to_refuse_and_others_force_it(person: Person) -> None:
    said = 'Apply failed with 1 conflict: conflict with "kubectl-scale": .spec.replicas'
    person.api.says = lambda call, body: (
        refusal(409, said, "Conflict")
        if call.startswith("PATCH") and "/llmservices/" in call and "force=true" not in person.api.dry_runs[-1][1]
        else None
    )
    assert person.json(LONGER, options="--field-manager kubectl")["refusals"][0]["message"] == said
    assert person.json(LONGER, options="--field-manager argocd-controller")["refusals"] == []


def test_each_service_of_a_pipe_is_planned_and_the_gravest_outcome_counts(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "else"}}
    items = {"apiVersion": "v1", "kind": "List", "items": [person.manifest({"replicas": 9}, name="code")]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump_all([person.manifest(), other, None, items])))
    done = person.run("-f -")
    assert done.status == FAILS
    assert ("team-a/chat: " in done.out, "team-a/code: " in done.out) == (True, True)


def test_the_same_service_twice_is_an_error(person: Person) -> None:
    done = person.plan(person.manifest(), person.manifest({"replicas": 9}, namespace="team-a"))
    assert (done.status, "has 2 LLMServices team-a/chat" in done.err) == (FAILED, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: ConfigMap\napiVersion: v1", "holds 1 object, and none is an LLMService"),
        ("", "holds nothing, so none is an LLMService"),
        ("a: [", "is not YAML"),
        (
            "apiVersion: llmservice.dev/v1\nkind: LLMService\nmetadata: {name: chat}\nspec: {}",
            "has apiVersion llmservice.dev/v1",
        ),
        ("apiVersion: llmservice.dev/v1alpha1\nkind: LLMService\nmetadata: {generateName: x}", "has no metadata.name"),
    ],
)
def test_a_manifest_that_is_none_is_a_sentence_and_status_1(
    person: Person, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    done = person.run(f"-f {tmp_path}/bad.yaml")
    assert (done.status, done.out) == (FAILED, "")
    assert says in done.err


def test_two_namespaces_are_one_too_many(person: Person) -> None:
    done = person.plan(person.manifest(namespace="team-a"), options="-n team-b")
    assert done.status == FAILED
    assert "is in namespace team-a, but --namespace is team-b" in done.err


def test_what_looks_like_a_date_is_text(person: Person, tmp_path: Path) -> None:
    lines = "apiVersion: llmservice.dev/v1alpha1\nkind: LLMService\nmetadata: {name: chat}\nspec:\n"
    (tmp_path / "new.yaml").write_text(f"{lines}  model: {{source: 's3://models/chat', revision: 2024-01-01}}\n")
    person.run(f"-f {tmp_path}/new.yaml")
    assert person.api.dry_runs[0][2]["spec"]["model"]["revision"] == "2024-01-01"


@pytest.mark.parametrize("line", ["", "-f x.yaml --typo", "-f x.yaml -o yaml", "-f x.yaml --spare few"])
def test_a_line_that_makes_no_sense_is_no_change(person: Person, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        person.run(line)
    assert left.value.code == FAILED


def test_against_a_manifest_no_cluster_is_asked(person: Person, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(person.manifest()))
    done = person.plan(person.manifest(LONGER), options=f"--against {tmp_path}/old.yaml --spare 1 -o json")
    (reported,) = done.json["services"]
    assert not person.api.calls and not person.api.dry_runs
    assert (reported["leastReady"], reported["peakDevices"], reported["end"]) == (3, 4, "Done")
    wrong = person.plan(person.manifest({"engine": {"kvCacheMemory": "4Gi"}}), options=f"--against {tmp_path}/old.yaml")
    assert (wrong.status, "would refuse the LLMService chat" in wrong.out) == (FAILS, True)
    same = person.plan(person.manifest(), options=f"--against {tmp_path}/old.yaml")
    assert (same.status, same.out) == (NOTHING, "default/chat: nothing changes.\n")
