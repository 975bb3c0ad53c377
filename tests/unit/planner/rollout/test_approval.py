"""What another version of the operator would render restarts nothing by itself."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome
from llmservice_contract.engine_settings import BY_VARIABLE, SETTINGS
from llmservice_operator.api.engine import Engine
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.rollout.approval import operator_digest, spec_digest
from llmservice_operator.planner.rollout.template_diff import changes
from llmservice_operator.resources import environment as rendered
from llmservice_operator.resources.platform import Allowed, Platform, Proxy, Upgrades, Window

OLD, NEW = 1024, 2048
BEFORE = Platform(runtime_image="registry.example.com/runtime:1")
AFTER = Platform(runtime_image="registry.example.com/runtime:2")
SATURDAY_NIGHT = Window(frozenset({5}), datetime.time(22), datetime.time(2))


def serving(replicas: int = 2, gpus: int = 2, **spec: object) -> World:
    """A service that runs what the operator before rendered."""
    world = World(a_service().with_replicas(replicas).with_spec(model={"maxContextLength": OLD}, **spec), gpus)
    world.platform = BEFORE
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:1"}
    return world


def images(world: World) -> set[str]:
    return {pod.template["spec"]["containers"][0]["image"] for pod in world.pods.values()}


def uids(world: World) -> list[str]:
    return sorted(pod.uid for pod in world.pods.values())


def offer(world: World) -> dict[str, Any]:
    return dict(world.service["status"]["upgrade"])


def test_an_upgrade_restarts_nothing_and_says_what_it_would_change() -> None:
    world = serving()
    pods = uids(world)
    world.platform = AFTER
    world.until_quiet()
    assert uids(world) == pods
    assert world.condition("Ready")["status"] == "True"
    reported = world.condition("RolledOut")
    assert reported["status"] == "True" and "kubectl llm upgrade-check" in reported["message"]
    image = "containers[engine].image: registry.example.com/runtime:1 -> registry.example.com/runtime:2"
    assert [line for line in offer(world)["changes"] if "image" in line] == [f"spec.{image}"]


def test_going_back_to_the_version_before_restarts_nothing_either() -> None:
    world = serving()
    pods = uids(world)
    for platform in (AFTER, BEFORE):
        world.platform = platform
        world.until_quiet()
    assert uids(world) == pods
    assert "upgrade" not in world.service["status"]
    assert "upgrade-check" not in world.condition("RolledOut")["message"]


def test_consent_to_just_this_change_rolls_it_out() -> None:
    world = serving(3, gpus=3)
    world.platform = AFTER
    world.until_quiet()
    world.service["metadata"]["annotations"] = {"llmservice.dev/upgrade": offer(world)["digest"]}
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"}
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]
    world.platform = dataclasses.replace(AFTER, runtime_image="registry.example.com/runtime:3")
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"}, "that is another change"


def test_a_change_of_the_spec_takes_the_upgrade_with_it() -> None:
    world = serving()
    world.platform = AFTER
    world.until_quiet()
    world.change(NEW)
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"} and world.contexts() == [NEW] * 2


@pytest.mark.parametrize(
    "fragment", [{"replicas": 3}, {"rollout": {"maxUnavailable": 2}}, {"access": {"caps": {"choices": 3}}}]
)
def test_changes_that_concern_no_pod_restart_none_while_an_upgrade_waits(fragment: dict[str, Any]) -> None:
    world = serving(2, gpus=3)
    pods = set(uids(world))
    world.platform = AFTER
    world.until_quiet()
    world.edit(**fragment)
    world.until_quiet()
    assert pods <= set(uids(world))
    assert images(world) == {"registry.example.com/runtime:1"}, "an added replica runs what the others run"


def test_an_upgrade_while_scaled_down_to_none_keeps_the_environment_that_its_pods_need() -> None:
    world = serving()
    world.edit(replicas=0)
    world.until_quiet()
    world.platform = AFTER
    world.until_quiet()
    world.edit(replicas=1)
    world.until_quiet()
    assert world.answering == 1 and images(world) == {"registry.example.com/runtime:1"}


def test_an_upgrade_in_the_middle_of_a_rollout_lets_it_end_as_it_began() -> None:
    world = serving(3, gpus=3)
    world.change(NEW, Outcome(loads_in=20))
    world.run(10)
    world.platform = AFTER
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert images(world) == {"registry.example.com/runtime:1"}
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]


def test_an_upgrade_after_a_spec_was_given_up_tries_it_again_no_sooner() -> None:
    world = serving()
    world.change(NEW, Outcome(crashes=True))
    world.until_quiet()
    pods = uids(world)
    world.platform = AFTER
    world.until_quiet()
    assert uids(world) == pods
    assert world.condition("RolledOut")["reason"] == "RolledBack"


def test_a_set_of_before_records_were_kept_is_left_as_it_is() -> None:
    world = serving()
    annotations = world.statefulset["metadata"]["annotations"]
    del annotations["llmservice.dev/rollout"]
    pods = uids(world)
    world.platform = AFTER
    world.until_quiet()
    assert uids(world) == pods
    assert any("image" in line for line in offer(world)["changes"])
    world.edit(replicas=1)
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:1"}
    world.change(NEW)
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"}


def test_a_platform_that_asks_nobody_rolls_at_once() -> None:
    world = serving()
    world.platform = dataclasses.replace(AFTER, upgrades=Upgrades.AUTOMATIC)
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"}


def test_it_rolls_by_itself_once_the_window_opens() -> None:
    world = serving()  # on a Thursday at noon
    world.platform = dataclasses.replace(AFTER, upgrade_window=SATURDAY_NIGHT)
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:1"}
    world.now += (2 * 24 + 10) * 3600 + 1
    world.until_quiet()
    assert images(world) == {"registry.example.com/runtime:2"}


@pytest.mark.parametrize(
    ("day", "hour", "inside"),
    [(3, 21, False), (3, 22, True), (4, 1, True), (4, 2, False), (4, 23, False), (2, 23, False)],
)
def test_a_window_over_midnight(day: int, hour: int, inside: bool) -> None:
    """2026-01-03 is a Saturday."""
    assert SATURDAY_NIGHT.holds(datetime.datetime(2026, 1, day, hour, tzinfo=datetime.UTC)) is inside


def test_a_window_opens_next_on_its_day() -> None:
    now = datetime.datetime(2026, 1, 3, 23, tzinfo=datetime.UTC)
    assert SATURDAY_NIGHT.next_begin(now) == datetime.datetime(2026, 1, 10, 22, tzinfo=datetime.UTC)


def test_a_domain_that_the_platform_lists_restarts_nothing_either() -> None:
    world = serving()
    pods = uids(world)
    world.platform = dataclasses.replace(BEFORE, allowed=Allowed(media_domains=("images.example.com",)))
    world.until_quiet()
    assert uids(world) == pods
    assert any("PLATFORM_MEDIA_DOMAINS" in line for line in offer(world)["changes"])


def test_labels_that_the_platform_adds_restart_nothing_either_and_those_of_the_spec_roll_out() -> None:
    world = serving()
    pods = uids(world)
    world.platform = dataclasses.replace(BEFORE, pod_labels={"cost-center": "42"}, pod_annotations={"a": "b"})
    world.until_quiet()
    assert uids(world) == pods
    said = offer(world)["changes"]
    assert any("cost-center" in line and "42" in line for line in said), said
    world.edit(pod={"labels": {"sidecar.istio.io/inject": "false"}})
    world.until_quiet()
    assert not set(uids(world)) & set(pods)
    for pod in world.pods.values():
        labels = pod.template["metadata"]["labels"]
        assert {"cost-center": "42", "sidecar.istio.io/inject": "false"}.items() <= labels.items()


def test_a_platform_that_adds_nothing_is_the_same_operator_as_before() -> None:
    added = {"pod_labels": {"a": "b"}, "pod_annotations": {"a": "b"}}
    digests = {operator_digest(dataclasses.replace(BEFORE, **{name: value})) for name, value in added.items()}
    assert len(digests | {operator_digest(BEFORE)}) == 3


def test_whether_clients_decide_about_traces_restarts_nothing_either() -> None:
    world = serving(tracing={"endpoint": "http://jaeger:4317"})
    pods = uids(world)
    world.platform = dataclasses.replace(BEFORE, allowed=Allowed(trace_flags=True))
    world.until_quiet()
    assert uids(world) == pods
    assert any("TRUST_TRACE_FLAGS" in line for line in offer(world)["changes"])


class NewerEngine(Engine):
    """The engine of a later version of the API, with one field more."""

    later: str | None = None
    """A field. Absent: nothing."""

    later_default: int = 3
    """A field with a default."""


class NewerSpec(LLMServiceSpec):
    """The spec of a later version of the API."""

    engine: NewerEngine = NewerEngine()
    """Settings of vLLM."""


def test_a_field_that_a_later_version_adds_changes_no_spec_that_does_not_set_it() -> None:
    """The digest decides whether a changed template is the user's doing: it would restart all pods at an upgrade."""
    written = a_service("chat").from_source("hf://org/chat").with_spec(engine={"maxNumSeqs": 8}).build()["spec"]
    now, later = LLMServiceSpec.model_validate(written), NewerSpec.model_validate(written)
    assert spec_digest(now) == spec_digest(later)
    other = LLMServiceSpec.model_validate({**written, "engine": {"maxNumSeqs": 9}})
    assert spec_digest(now) != spec_digest(other)


FIXTURES = Path(__file__).parents[3] / "fixtures"
OF_OTHER_PROGRAMS = {"HOME", "HF_HOME", "HF_ENDPOINT", "OMP_NUM_THREADS", "VLLM_CACHE_ROOT", "OTEL_SERVICE_NAME"}
GOLDEN = Path(__file__).parents[2] / "golden"


def environment_in(file: Path) -> dict[str, str] | None:
    """The engine's environment among kept children; None if there is none, as the model is read first."""
    children = yaml.safe_load_all(file.read_text())
    found = (child["data"] for child in children if child["kind"] == "ConfigMap" and child.get("immutable"))
    return next(found, None)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_offer_of_an_upgrade_tells_new_values_and_not_new_names(version: str) -> None:
    compared = 0
    for file in sorted((FIXTURES / version / "children").iterdir()):
        before, after = environment_in(file), environment_in(GOLDEN / file.name)
        if before is None or after is None:
            continue
        reported = changes({}, {}, before, after)
        assert not [line for line in reported if line.endswith("-> nothing")]
        names = [line.partition(":")[0] for line in reported]
        renamed = {row.name for row in SETTINGS if any(alias in before for alias in row.aliases)}
        assert not renamed & {name for name in names if f"{name}: nothing -> " in "\n".join(reported)}
        compared += 1
    assert compared > 5


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_an_engine_of_today_reads_the_environment_of_an_earlier_version(version: str) -> None:
    """An image whose tag moves gets the ConfigMap that its pods were made with."""
    for file in sorted((FIXTURES / version / "children").iterdir()):
        for name, text in (environment_in(file) or {}).items():
            if name in BY_VARIABLE:
                BY_VARIABLE[name].parse(text)
            else:
                assert name in {
                    "HOME",
                    "HF_HOME",
                    "HF_ENDPOINT",
                    "OMP_NUM_THREADS",
                    "VLLM_CACHE_ROOT",
                    "OTEL_SERVICE_NAME",
                }


def test_what_an_operator_of_before_named_otherwise_runs_on_and_is_approved_as_one_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = {row.name: row.aliases[0] for row in SETTINGS if row.aliases}
    today = rendered.engine
    with monkeypatch.context() as before:
        before.setattr(
            rendered,
            "engine",
            lambda *given: {old.get(name, name): text for name, text in today(*given).items()},
        )
        world = serving()
    pods = uids(world)
    world.platform = AFTER
    world.until_quiet()
    assert uids(world) == pods
    changed = [line.partition(":")[0] for line in offer(world)["changes"]]
    assert changed == ["spec.containers[engine].image"]


@pytest.mark.parametrize(
    "changed",
    [
        {"fixed_user": False},
        {"proxy": Proxy(https="http://proxy:3128")},
        {"ca_bundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
    ],
)
def test_what_the_platform_says_of_users_proxy_and_cas_restarts_nothing_by_itself(changed: dict[str, Any]) -> None:
    world = serving()
    pods = uids(world)
    world.platform = dataclasses.replace(BEFORE, **changed)
    world.until_quiet()
    assert uids(world) == pods
    assert offer(world)["changes"]


def test_other_cas_need_no_approval() -> None:
    world = serving()
    world.platform = dataclasses.replace(BEFORE, ca_bundle="one", upgrades=Upgrades.AUTOMATIC)
    world.until_quiet()
    pods = uids(world)
    world.platform = dataclasses.replace(BEFORE, ca_bundle="two")
    world.until_quiet()
    assert uids(world) == pods
    assert "upgrade" not in world.service["status"] or not world.service["status"]["upgrade"]
