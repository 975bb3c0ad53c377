"""`kubectl llm plan` says what it does not know, and what a change does beside pods and objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.cli.main import main
from support.documents import valid

FAILED, CHANGE = 1, 2
H100 = "NVIDIA-H100-80GB-HBM3"
SCALING = {"minReplicas": 2, "maxReplicas": 4, "targets": {"timeToFirstToken": {"p90": "1s"}}}
KEYS = {"access": {"apiKeys": {"secretRef": {"name": "chat-keys"}}}}


def service(**spec: Any) -> dict[str, Any]:
    body = {"model": {"source": "s3://models/chat"}, "replicas": 2, **spec}
    body = {key: value for key, value in body.items() if value is not None}
    meta = {"name": "chat", "namespace": "team-a"}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": body}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def planned(
    capsys: pytest.CaptureFixture[str], old: dict[str, Any] | None, new: dict[str, Any], *options: str
) -> dict[str, Any]:
    Path("old.yaml").write_text(yaml.safe_dump(old) if old else "")
    Path("new.yaml").write_text(yaml.safe_dump(new))
    main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", "json", *options])
    return dict(valid(json.loads(capsys.readouterr().out))["services"][0])


def notes(capsys: pytest.CaptureFixture[str], old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    return " ".join(planned(capsys, old, new)["notes"])


@pytest.mark.parametrize("way", ["added", "removed"])
def test_scaling_that_comes_or_goes_replaces_no_pods_by_itself(capsys: pytest.CaptureFixture[str], way: str) -> None:
    sides = service(), service(replicas=None, scaling=SCALING)
    shown = planned(capsys, *(sides if way == "added" else sides[::-1]))
    fields = {each["path"]: each for each in shown["spec"]}
    assert "spec.scaling.maxReplicas" in fields
    assert not any(each["restarts"] for each in shown["spec"])
    assert "HorizontalPodAutoscaler" in fields["spec.scaling.maxReplicas"]["children"]


def test_a_part_that_comes_as_a_whole_and_replaces_pods_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    shown = planned(capsys, service(), service(engine={"speculative": {"method": "ngram", "tokens": 3}}))
    assert {each["restarts"] for each in shown["spec"]} == {True}


def test_a_scaled_service_is_taken_to_run_at_its_minimum_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    scaled = service(replicas=None, scaling=SCALING)
    assert "assuming 2 replicas" in notes(
        capsys, scaled, {**scaled, "spec": {**scaled["spec"], "cache": {"size": "1Gi"}}}
    )
    assert "assuming" not in notes(capsys, service(), service(replicas=3)).replace("assuming that each pod", "")


def test_no_node_is_said_to_be_full_that_was_never_seen(capsys: pytest.CaptureFixture[str]) -> None:
    changed = service(model={"source": "s3://models/chat", "maxContextLength": 2048}, rollout={"maxUnavailable": 0})
    shown = planned(capsys, service(rollout={"maxUnavailable": 0}), changed)
    reasons = [each["reason"] for each in shown["strategies"]]
    assert reasons and not any("no node" in each for each in reasons)


def test_a_fit_that_is_not_known_says_how_to_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--model-config" in notes(capsys, None, service())
    other = service(model={"source": "s3://models/other"})
    assert "--model-config" in notes(capsys, service(), other)
    assert "--model-config" not in notes(capsys, service(), service(replicas=3)), "nothing about memory changes"
    assert "--model-config" not in notes(capsys, None, service(accelerator={"type": "cpu"}))


def test_a_known_model_without_a_known_gpu_asks_for_the_product(capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    shown = planned(capsys, None, service(), "--model-config", "config.json")
    assert any("spec.accelerator.products" in note for note in shown["notes"])
    named = planned(capsys, None, service(accelerator={"products": [H100]}), "--model-config", "config.json")
    assert not any("is not known" in note for note in named["notes"])


def test_arguments_that_the_estimate_does_not_count_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    spec = {"accelerator": {"products": [H100]}, "engine": {"extraArgs": {"block-size": 32}}}
    shown = planned(capsys, None, service(**spec), "--model-config", "config.json")
    assert any("spec.engine.extraArgs (block-size)" in note for note in shown["notes"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (service(**KEYS), service(), "every client that can connect may use the service"),
        (service(), service(**KEYS), "every request needs an API key from the Secret chat-keys"),
        (
            service(**KEYS),
            service(access={"apiKeys": {"secretRef": {"name": "others"}}}),
            "the keys in the Secret chat-keys become invalid",
        ),
        (service(cache={"size": "1Gi"}), service(cache={"size": "2Gi"}), "keep their size of 1Gi"),
    ],
)
def test_what_a_change_does_beside_pods_is_said(
    capsys: pytest.CaptureFixture[str], old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    assert said in notes(capsys, old, new)
    assert said not in notes(capsys, old, old)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--against", "new.yaml", "--model-index", "index.json"), "--model-config"),
        (("--prices", "prices.yaml"), "--prices is for --against"),
        (("--against", "new.yaml", "--field-manager", "argocd-controller"), "--field-manager is for a cluster"),
        (("--against", "new.yaml", "--prices", "prices.yaml"), "has no gpuHours"),
    ],
)
def test_an_option_that_would_be_ignored_is_an_error(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    Path("new.yaml").write_text(yaml.safe_dump(service()))
    Path("prices.yaml").write_text("H100: 2.49\n")
    Path("index.json").write_text(json.dumps({"metadata": {"total_size": 1}}))
    assert main(["plan", "-f", "new.yaml", *options]) == FAILED
    assert said in capsys.readouterr().err
