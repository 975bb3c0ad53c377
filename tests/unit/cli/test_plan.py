"""`kubectl llm plan` as a person meets it: what it reads, what it says, and its exit status."""

from __future__ import annotations

import copy
import datetime
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import a_service, merged
from builders.world import World
from llmservice_operator.cli.main import main
from llmservice_operator.cli.outside import Outside
from unit.cli.conftest import Done, write_kubeconfig
from unit.cli.fake_api import refusal, serving
from unit.cli.planning import PlanningAPI, forbidden

ROOT = Path(__file__).parents[3]
NOW = datetime.datetime(2026, 1, 1, 13, tzinfo=datetime.UTC)
LONGER = {"model": {"maxContextLength": 2048}}
NOTHING, FAILED, CHANGE, FAILS = 0, 1, 2, 3


class Person:
    """Somebody with a manifest of the service chat in team-a, which runs 3 replicas on a node with 3 GPUs."""

    def __init__(self, api: PlanningAPI, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self._folder = folder
        self._capfd = capfd
        self.runs(3, 3)

    def runs(self, replicas: int, gpus: int, **spec: Any) -> None:
        """So many replicas on so many GPUs."""
        service = a_service().from_source("s3://models/chat").with_replicas(replicas).with_spec(**spec)
        world = World(service, gpus)
        world.until_quiet()
        self.api.shows(world)

    def manifest(self, change: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        """What they would apply: the service as it is, with this change."""
        live = self.api.service()
        spec = merged(live["spec"], change or {})
        meta = {"name": "chat", **metadata}
        return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta, "spec": spec}

    def plan(self, *documents: dict[str, Any], options: str = "") -> Done:
        """`kubectl llm plan -f` of these documents."""
        file = self._folder / "new.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        return self.run(f"-f {file} {options}")

    def json(self, change: dict[str, Any], options: str = "") -> dict[str, Any]:
        """The plan of a change, as JSON."""
        done = self.plan(self.manifest(change), options=f"-o json {options}")
        return dict(json.loads(done.out)["services"][0])

    def run(self, line: str) -> Done:
        """`kubectl llm plan ...`"""
        status = main(["plan", *line.split()], Outside(now=lambda: NOW))
        return Done(status, *self._capfd.readouterr())


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Person]:
    api = PlanningAPI()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(api) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield Person(api, tmp_path, capfd)


def test_the_first_line_says_the_outcome_and_steps_and_differences_follow(person: Person) -> None:
    done = person.plan(person.manifest(LONGER))
    assert done.status == CHANGE
    lines = done.out.splitlines()
    assert lines[0] == (
        "team-a/chat: all 3 replicas are replaced one after the other; never fewer than 2 of 3 ready; "
        "no further GPU needed."
    )
    assert [line.split() for line in lines if "is replaced" in line] == [
        [f"{step}.", f"chat-{3 - step}", "is", "replaced", "2", "3"] for step in (1, 2, 3)
    ]
    assert "  in place, as no node has 1 nvidia.com/gpu to spare" in lines
    assert "  spec.model.maxContextLength: nothing -> 2048   replaces pods" in lines
    assert "      data.MAX_CONTEXT_LENGTH: nothing -> 2048" in lines


def test_what_runs_already_changes_nothing(person: Person) -> None:
    done = person.plan(person.manifest())
    assert (done.status, done.out) == (NOTHING, "team-a/chat: nothing changes.\n")


def test_nothing_is_written(person: Person) -> None:
    before = copy.deepcopy(person.api.objects)
    person.plan(person.manifest(LONGER | {"replicas": 2}))
    assert person.api.objects == before
    assert person.api.dry_runs and all("dryRun=All" in target for _, target, _ in person.api.dry_runs)
    assert not [call for call in person.api.calls if not call.startswith(("get", "list"))]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replicas": 2}, "1 replica stops; 1 GPU becomes free."),
        ({"access": {"caps": {"maxTokens": 7}}}, "nothing restarts: 1 child changes."),
        ({"rollout": {"onFailure": "Pause"}}, "nothing restarts: the spec alone is another."),
        (LONGER | {"rollout": {"paused": True}}, "nothing restarts: spec.rollout.paused keeps replicas as they are."),
        (LONGER | {"replicas": 2}, "1 replica stops and 2 of 3 replicas are replaced one after the other;"),
    ],
)
def test_each_outcome_is_a_sentence(person: Person, change: dict[str, Any], says: str) -> None:
    done = person.plan(person.manifest(change))
    assert done.status == CHANGE
    assert done.out.startswith(f"team-a/chat: {says}")


def test_more_replicas_than_gpus_can_t_succeed(person: Person) -> None:
    done = person.plan(person.manifest({"replicas": 5}))
    assert done.status == FAILS
    assert done.out.startswith("team-a/chat: can't succeed: it comes to a halt on the way.\n")
    assert "gpu-0 has 0 of 3 free" in done.out


def test_a_quota_is_read_and_told(person: Person) -> None:
    person.runs(2, 3)
    hard = {"requests.nvidia.com/gpu": "2"}
    quota = {"metadata": {"name": "team", "namespace": "team-a"}, "status": {"hard": hard, "used": hard}}
    person.api.around["resourcequotas"] = [quota]  # type: ignore[index]
    told = person.json(LONGER)
    assert (told["end"], told["leastReady"]) == ("Stuck", 2)
    assert "ResourceQuota team allows 2 of requests.nvidia.com/gpu" in told["why"]


def test_what_the_api_server_refuses_is_told_in_its_own_words(person: Person) -> None:
    said = 'LLMService.llmservice.dev "chat" is invalid: spec.engine: Invalid value: "object": take it out'
    person.api.says = lambda call, body: refusal(422, said, "Invalid") if "/llmservices/" in call else None
    done = person.plan(person.manifest(LONGER))
    assert done.status == FAILS
    assert done.out.splitlines()[0] == "team-a/chat: can't succeed: the API server would refuse the LLMService chat."
    assert f"  LLMService chat: {said}" in done.out.splitlines()


def test_so_is_what_admission_says_of_a_pod(person: Person) -> None:
    said = 'pods "chat-plan" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    person.api.says = lambda call, body: refusal(403, said, "Forbidden") if call.endswith("/pods") else None
    told = person.json(LONGER)
    assert told["refusals"] == [{"by": "API server", "object": "a pod of chat", "message": said}]
    assert told["outcome"] == "CannotSucceed"
    assert person.json({"access": {"caps": {"maxTokens": 7}}})["refusals"] == [], "no pod is made for it"


def test_a_pod_is_tried_under_a_name_that_none_has_and_without_an_owner(person: Person) -> None:
    person.plan(person.manifest(LONGER))
    (pod,) = (body for method, target, body in person.api.dry_runs if method == "POST")
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "chat-plan")
    assert "ownerReferences" not in pod["metadata"]


def test_without_a_right_to_nodes_both_ways_are_told(person: Person) -> None:
    person.api.around["nodes"] = forbidden("nodes")  # type: ignore[index]
    told = person.json(LONGER)
    assert (told["leastReady"], told["peakDevices"], told["ways"]) == (2, 3, ["in place, as the nodes can't be seen"])
    assert any("at least 3 go on answering, and 4 devices are held at most" in note for note in told["notes"])
    spared = person.json(LONGER, options="--spare 1")
    assert (spared["leastReady"], spared["peakDevices"]) == (3, 4)
    assert person.json({"replicas": 9})["outcome"] == "Change", "what nobody knows is no obstacle"
    assert person.json({"replicas": 9}, options="--spare 2")["outcome"] == "CannotSucceed"


def test_without_a_right_to_see_what_runs_a_service_at_rest_is_assumed(person: Person) -> None:
    for plural in ("statefulsets", "pods"):
        person.api.around[plural] = forbidden(plural)  # type: ignore[index]
    told = person.json(LONGER)
    assert [step["pods"] for step in told["steps"]] == [["chat-2"], ["chat-1"], ["chat-0"]]
    assert any("a service at rest is assumed" in note for note in told["notes"])


def test_without_a_right_to_change_it_the_plan_is_the_same_and_says_so(person: Person) -> None:
    said = 'llmservices.llmservice.dev "chat" is forbidden: User "me" cannot patch resource "llmservices"'
    person.api.says = lambda call, body: refusal(403, said, "Forbidden")
    told = person.json(LONGER)
    assert (told["outcome"], len(told["steps"])) == ("Change", 3)
    assert any("you may not patch the LLMService chat" in note for note in told["notes"])
    assert any("you may not write" in note and "statefulsets" in note for note in told["notes"])
    wrong = person.json({"engine": {"kvCacheMemory": "4Gi"}})
    assert [each["by"] for each in wrong["refusals"]] == ["rules"]


def test_a_new_service(person: Person) -> None:
    manifest = person.manifest({"replicas": 2}) | {"metadata": {"name": "other"}}
    person.runs(1, 3)
    done = person.plan(manifest)
    assert done.status == CHANGE
    assert done.out.startswith("team-a/other: a new service: 2 replicas start; 2 more GPUs needed.\n")
    assert "  + StatefulSet other" in done.out.splitlines()
    assert person.plan(manifest | {"spec": {**manifest["spec"], "replicas": 3}}).status == FAILS


def test_an_object_of_others_in_the_way(person: Person) -> None:
    taken = {"metadata": {"name": "other", "namespace": "team-a", "uid": "x"}, "spec": {}}
    person.api.around["services"].append(taken)  # type: ignore[index, union-attr]
    told = person.plan(person.manifest() | {"metadata": {"name": "other"}}, options="-o json").json["services"][0]
    assert (told["outcome"], told["end"]) == ("CannotSucceed", "NotAccepted")
    assert "Service other is there already" in told["why"]


def test_the_images_are_those_that_run(person: Person) -> None:
    for child in person.api.around["statefulsets"]:  # type: ignore[index, union-attr]
        child["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/runtime:9"
    told = person.json({"rollout": {"onFailure": "Pause"}})
    assert (told["steps"], told["children"], told["waitsForConsent"]) == ([], [], [])


def test_an_operator_that_makes_pods_otherwise_is_told_of(person: Person) -> None:
    for child in person.api.around["statefulsets"]:  # type: ignore[index, union-attr]
        child["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 7
        notes = child["metadata"]["annotations"]
        notes["llmservice.dev/rollout"] = json.dumps(
            {**json.loads(notes["llmservice.dev/rollout"]), "by": "another", "template": "another"}
        )
    told = person.json({"rollout": {"onFailure": "Pause"}})
    assert told["steps"] == []
    assert "the operator makes pods otherwise than this program: another version, or set otherwise" in told["notes"]
    assert person.json(LONGER)["steps"], "what this program would make of them comes with the change"


def test_whoever_may_read_the_operator_is_told_what_waits_for_consent(person: Person) -> None:
    environment = [{"name": "LLMSERVICE_RUNTIME_IMAGE", "value": "registry.example.com/runtime:9"}]
    container = {"name": "operator", "env": [*environment, {"name": "POD", "valueFrom": {}}]}
    labels = {"app.kubernetes.io/name": "llmservice-operator", "app.kubernetes.io/version": "9.9.9"}
    meta = {"name": "llmservice-operator", "namespace": "llmservice-system", "labels": labels}
    deployment = {"metadata": meta, "spec": {"template": {"spec": {"containers": [container]}}}}
    person.api.around["deployments"] = [deployment]  # type: ignore[index]
    told = person.json({"rollout": {"onFailure": "Pause"}})
    assert told["steps"] == []
    assert any("registry.example.com/runtime:9" in line for line in told["waitsForConsent"])
    assert any("the operator is of version 9.9.9" in note for note in told["notes"])
    changed = person.json(LONGER)
    paths = [field["path"] for child in changed["children"] for field in child["fields"]]
    assert "spec.template.spec.containers[engine].image" in paths


def test_whoever_may_not_is_told_what_the_service_says_of_it(person: Person) -> None:
    offer = {"digest": "0a1b2c3d4e", "version": "0.3.1", "changes": ["spec.containers[engine].image: a:1 -> a:2"]}
    person.api.objects["LLMService", "team-a", "chat"]["status"]["upgrade"] = offer
    assert person.json({"rollout": {"onFailure": "Pause"}})["waitsForConsent"] == offer["changes"]
    told = person.json(LONGER)
    assert told["waitsForConsent"] == []
    assert f"what waits for consent comes with it: {offer['changes'][0]}" in told["notes"]


def test_what_is_under_way_goes_on(person: Person) -> None:
    world = World(a_service().from_source("s3://models/chat").with_replicas(3), 3)
    world.until_quiet()
    world.edit(**LONGER)
    world.run(4)
    person.api.shows(world)
    done = person.plan(person.manifest())
    assert done.status == NOTHING
    assert done.out.startswith("team-a/chat: nothing changes; what is under way goes on.\n")
    assert "is replaced" in done.out


def test_a_service_that_is_being_deleted_is_not_planned(person: Person) -> None:
    person.api.objects["LLMService", "team-a", "chat"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    done = person.plan(person.manifest(LONGER))
    assert (done.status, "is being deleted" in done.err) == (FAILED, True)


def test_what_kubectl_apply_takes_out_goes_and_what_others_have_set_stays(person: Person) -> None:
    person.runs(3, 3, model={"maxContextLength": 1024}, engine={"maxNumSeqs": 16})
    applied = {"spec": {"model": {"source": "s3://models/chat", "maxContextLength": 1024}}}
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    person.api.objects["LLMService", "team-a", "chat"]["metadata"]["annotations"] = annotation
    manifest = person.manifest()
    manifest["spec"] = {"model": {"source": "s3://models/chat"}}
    told = person.plan(manifest, options="-o json").json["services"][0]
    assert [(each["path"], each["after"]) for each in told["spec"]] == [("spec.model.maxContextLength", None)]


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
    items = {"apiVersion": "v1", "kind": "List", "items": [person.manifest({"replicas": 9})]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump_all([person.manifest(), other, None, items])))
    done = person.run("-f -")
    assert done.status == FAILS
    assert done.out.count("team-a/chat: ") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: ConfigMap\napiVersion: v1", "holds 1 object, and none is an LLMService"),
        ("", "holds nothing, so none is an LLMService"),
        ("a: [", "is not YAML"),
        (
            "apiVersion: llmservice.dev/v1\nkind: LLMService\nmetadata: {name: chat}\nspec: {}",
            "is of llmservice.dev/v1",
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
    assert "is of namespace team-a, and --namespace says team-b" in done.err


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
    (told,) = done.json["services"]
    assert not person.api.calls and not person.api.dry_runs
    assert (told["leastReady"], told["peakDevices"], told["end"]) == (3, 4, "Done")
    wrong = person.plan(person.manifest({"engine": {"kvCacheMemory": "4Gi"}}), options=f"--against {tmp_path}/old.yaml")
    assert (wrong.status, "would refuse the LLMService chat" in wrong.out) == (FAILS, True)
    same = person.plan(person.manifest(), options=f"--against {tmp_path}/old.yaml")
    assert (same.status, same.out) == (NOTHING, "default/chat: nothing changes.\n")


def test_a_comment_for_a_pull_request(person: Person) -> None:
    done = person.plan(person.manifest(LONGER), options="-o markdown")
    assert done.out.startswith("### 🟢 `team-a/chat`: all 3 replicas are replaced one after the other")
    assert "| 1 | chat-2 is replaced | 2 | 3 |" in done.out.splitlines()
    assert "| `spec.model.maxContextLength` | `nothing` | `2048` | replaces pods |" in done.out.splitlines()
    assert "+   data.MAX_CONTEXT_LENGTH: 2048" in done.out.splitlines()
    assert done.out.count("```") == 2


def test_every_field_of_the_json_is_documented(person: Person) -> None:
    person.runs(2, 3, cache={"size": "1Gi"})
    told = [person.json(LONGER | {"replicas": 9}), person.json({"cache": {"size": "2Gi"}})]
    documented = set(re.findall(r"`([A-Za-z]+)`", (ROOT / "docs" / "plan.md").read_text()))
    assert _names(told) <= documented, _names(told) - documented


def test_other_commands_don_t_pay_for_it() -> None:
    code = "import sys; from llmservice_operator.cli import main, plan; print([m for m in sys.modules if 'core.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _names(of: Any) -> set[str]:
    """All keys, but for those below values of a spec and children."""
    if isinstance(of, list):
        return set().union(*map(_names, of))
    if isinstance(of, dict):
        return set(of).union(
            *(_names(value) for key, value in of.items() if key not in ("before", "after") or "path" not in of)
        )
    return set()
