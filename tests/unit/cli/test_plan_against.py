"""`kubectl llm plan --against`: which service of the old manifests each new one is compared with."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.cli.main import main
from support.documents import valid

NOTHING, FAILED, CHANGE = 0, 1, 2


def service(name: str = "chat", namespace: str | None = "team-a", replicas: int = 2, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    body = {"model": {"source": "s3://models/chat"}, "replicas": replicas, **spec}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": body}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def planned(
    capsys: pytest.CaptureFixture[str], old: list[dict], new: list[dict], *options: str
) -> tuple[int, dict[str, dict]]:
    """Exit status, and the plan of each service by NAMESPACE/NAME."""
    Path("old.yaml").write_text(yaml.safe_dump_all(old))
    Path("new.yaml").write_text(yaml.safe_dump_all(new))
    status = main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", "json", *options])
    services = valid(json.loads(capsys.readouterr().out))["services"]
    return status, {f"{each['namespace']}/{each['name']}": each for each in services}


def test_one_name_in_two_namespaces_is_two_services(capsys: pytest.CaptureFixture[str]) -> None:
    both = [service(replicas=1), service(namespace="team-b", replicas=5)]
    status, shown = planned(capsys, both, both)
    assert status == NOTHING
    assert {key: each["before"]["replicas"] for key, each in shown.items()} == {"team-a/chat": 1, "team-b/chat": 5}


def test_another_namespace_is_a_new_service_and_the_old_one_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = planned(capsys, [service()], [service(namespace="team-b")])
    assert status == CHANGE
    assert (shown["team-b/chat"]["created"], shown["team-b/chat"]["removed"]) == (True, False)
    assert shown["team-a/chat"]["removed"] is True


def test_a_renamed_service_shows_the_new_one_and_the_old_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = planned(capsys, [service()], [service("talk")])
    assert (status, shown["team-a/talk"]["created"], shown["team-a/chat"]["removed"]) == (CHANGE, True, True)


def test_a_removed_service_is_a_change_with_what_its_deletion_frees(capsys: pytest.CaptureFixture[str]) -> None:
    gone = service("code", replicas=3, cache={"size": "1Gi"})
    status, shown = planned(capsys, [service(), gone], [service()])
    assert (status, shown["team-a/chat"]["outcome"], shown["team-a/code"]["outcome"]) == (CHANGE, "NoChange", "Change")
    removed = shown["team-a/code"]
    assert removed["before"] == {"replicas": 3, "ready": 3, "devices": 3}
    assert removed["after"] == {"replicas": 0, "ready": 0, "devices": 0}
    assert len(removed["volumeClaims"]["deleted"]) == 3


@pytest.mark.parametrize("output", ["text", "markdown"])
def test_people_read_that_it_is_removed(capsys: pytest.CaptureFixture[str], output: str) -> None:
    Path("old.yaml").write_text(yaml.safe_dump_all([service(), service("code", cache={"size": "1Gi"})]))
    Path("new.yaml").write_text(yaml.safe_dump(service()))
    assert main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", output]) == CHANGE
    said = capsys.readouterr().out
    assert all(word in said for word in ("team-a/code", "removed", "kubectl delete", "2 GPUs", "with their data"))


def test_a_first_manifest_has_nothing_to_be_compared_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("new.yaml").write_text(yaml.safe_dump(service()))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["plan", "-f", "new.yaml", "--against", "-", "-o", "json"]) == CHANGE
    assert json.loads(capsys.readouterr().out)["services"][0]["created"] is True


@pytest.mark.parametrize("empty", [None, "", "apiVersion: v1\nkind: ConfigMap\n"])
def test_a_deleted_manifest_removes_its_services(empty: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text(yaml.safe_dump(service()))
    if empty is not None:
        Path("new.yaml").write_text(empty)
    assert main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-o", "json"]) == CHANGE
    (shown,) = json.loads(capsys.readouterr().out)["services"]
    assert shown["removed"] is True
    assert ("new.yaml does not exist" in " ".join(shown["notes"])) is (empty is None)


@pytest.mark.parametrize("paths", [("absent.yaml", "old.yaml"), ("empty.yaml", "absent.yaml")])
def test_without_any_service_there_is_no_plan(paths: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text("")
    Path("empty.yaml").write_text("")
    assert main(["plan", "-f", paths[0], "--against", paths[1]]) == FAILED
    assert "absent.yaml" in capsys.readouterr().err


def test_old_manifests_that_are_missing_are_an_error_and_not_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.yaml").write_text(yaml.safe_dump(service()))
    assert main(["plan", "-f", "new.yaml", "--against", "absent.yaml"]) == FAILED
    assert "absent.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["old", "new"])
def test_the_same_service_twice_is_an_error(side: str, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"old": [service()], "new": [service()]}
    sides[side] = [service(), service(replicas=5)]
    for name, documents in sides.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump_all(documents))
    assert main(["plan", "-f", "new.yaml", "--against", "old.yaml"]) == FAILED
    assert f"{side}.yaml has 2 LLMServices team-a/chat" in capsys.readouterr().err


def test_a_namespace_on_the_command_line_is_that_of_manifests_without_one_and_contradicts_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, shown = planned(capsys, [service()], [service(namespace=None)], "-n", "team-a")
    assert (status, list(shown)) == (NOTHING, ["team-a/chat"])
    assert main(["plan", "-f", "new.yaml", "--against", "old.yaml", "-n", "team-b"]) == FAILED
    assert "--namespace is team-b" in capsys.readouterr().err


def test_a_manifest_without_a_namespace_beside_one_with_it_asks_for_the_namespace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As `helm template` against `kubectl get -o yaml`."""
    status, shown = planned(capsys, [service()], [service(namespace=None)])
    assert (status, set(shown)) == (CHANGE, {"default/chat", "team-a/chat"})
    assert any("--namespace team-a" in note for note in shown["default/chat"]["notes"])


def test_a_terminal_without_unicode_gets_the_plan_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("new.yaml").write_text(yaml.safe_dump(service()))
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["plan", "-f", "new.yaml", "--against", "new.yaml", "-o", "markdown"]) == NOTHING
    assert b"team-a/chat" in screen.buffer.getvalue()  # type: ignore[attr-defined]
