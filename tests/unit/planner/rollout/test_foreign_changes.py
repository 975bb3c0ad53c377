"""Admission policies and other clients that change the operator's children, on a simulated cluster."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from builders.rolling import BAD, NEW, OLD
from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome
from llmservice_operator.controller.client.trim import stub
from llmservice_operator.planner.model.foreign_changes import MOST_CORRECTIONS
from llmservice_operator.planner.model.replicas_owner import OPERATOR
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Network, Platform

Json = dict[str, Any]
Policy = Callable[[Json], None]


def to_pods(change: Policy) -> Policy:
    """A policy that changes the pod template of StatefulSets."""

    def policy(child: Json) -> None:
        if child["kind"] == "StatefulSet":
            change(child["spec"]["template"])

    return policy


def engine(template: Json) -> Json:
    found: Json = template["spec"]["containers"][0]
    return found


def pull_always(template: Json) -> None:
    engine(template)["imagePullPolicy"] = "Always"


def other_registry(template: Json) -> None:
    engine(template)["image"] = "mirror.example.com/" + engine(template)["image"].removeprefix("mirror.example.com/")


def more_cpu(template: Json) -> None:
    engine(template)["resources"]["requests"]["cpu"] = "7"


def no_requests(template: Json) -> None:
    engine(template)["resources"].pop("requests", None)


def tolerates(template: Json) -> None:
    template["spec"]["tolerations"] = [{"key": "pool", "operator": "Exists"}]


def tolerates_more(template: Json) -> None:
    template["spec"].setdefault("tolerations", []).append({"key": "pool", "operator": "Exists"})


def on_pool(template: Json) -> None:
    template["spec"]["nodeSelector"] = {**template["spec"].get("nodeSelector", {}), "pool": "gpu"}


def renamed_label(template: Json) -> None:
    template["metadata"]["labels"]["app.kubernetes.io/component"] += "x"


def no_security_context(template: Json) -> None:
    engine(template).pop("securityContext", None)


def with_sidecar(template: Json) -> None:
    if len(template["spec"]["containers"]) == 1:
        template["spec"]["containers"].insert(1, {"name": "proxy", "image": "proxy"})


CHANGES = [
    pull_always,
    other_registry,
    more_cpu,
    no_requests,
    tolerates,
    tolerates_more,
    on_pool,
    no_security_context,
    with_sidecar,
]


def serving(*policies: Policy, replicas: int = 2, gpus: int = 2) -> World:
    """A service under these policies, which has become ready."""
    spec = {
        "model": {"maxContextLength": OLD},
        "scheduling": {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    }
    service = a_service().from_source("pvc://m/chat").read().with_replicas(replicas).with_spec(**spec)
    world = World(service, gpus)
    world.policies = [to_pods(each) for each in policies]
    world.until_quiet()
    assert (world.answering, world.contexts()) == (replicas, [OLD] * replicas)
    return world


def assert_ready(world: World) -> None:
    """Ready, and at rest."""
    assert world.condition("Ready")["status"] == "True", world.condition("Ready")
    assert world.condition("RolledOut")["reason"] == "RolledOut"
    before = len(world.child_writes)
    world.run(60)
    assert world.child_writes[before:] == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_service_becomes_ready_under_a_policy_and_its_changes_roll_out(change: Policy) -> None:
    world = serving(change)
    assert_ready(world)
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW, NEW]
    assert_ready(world)


@pytest.mark.parametrize("change", CHANGES)
def test_a_failed_revision_is_rolled_back_under_a_policy(change: Policy) -> None:
    world = serving(change)
    world.change(BAD, Outcome(crashes=True))
    world.until_quiet()
    assert world.contexts() == [OLD, OLD]
    assert world.condition("RolledOut")["reason"] == "RolledBack"


def stamped() -> Policy:
    """A policy that sets another value each time."""
    count = itertools.count()

    def change(template: Json) -> None:
        template["metadata"].setdefault("annotations", {})["policy.example.com/at"] = str(next(count))

    return change


@pytest.mark.parametrize("gpus", [3, 4])
def test_under_a_policy_that_sets_another_value_with_each_write_a_change_rolls_out_and_the_writes_end(
    gpus: int,
) -> None:
    world = serving(stamped(), replicas=3, gpus=gpus)
    before = len(world.child_writes)
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert len(world.child_writes) - before <= 12
    assert_ready(world)
    (found,) = findings(world)
    assert "policy.example.com/at" in found["message"] and "each write" in found["message"]
    stopped = len(world.taken_down)
    world.change(OLD)
    world.until_quiet()
    assert world.contexts() == [OLD] * 3
    assert len(world.taken_down) - stopped == 3, "each replica once"
    assert_ready(world)


def test_a_broken_change_under_such_a_policy_can_be_corrected() -> None:
    world = serving(stamped(), replicas=2)
    world.change(NEW)
    world.until_quiet()
    world.change(BAD, Outcome(crashes=True))
    world.run(200)
    assert world.answering >= 1
    world.change(OLD)
    world.until_quiet()
    assert world.contexts() == [OLD] * 2
    assert_ready(world)


def ordered(child: Json) -> None:
    """A policy that starts pods one after the other."""
    if child["kind"] == "StatefulSet":
        child["spec"]["podManagementPolicy"] = "OrderedReady"


def other_disks(child: Json) -> None:
    """A policy that sets the class and size of volumes."""
    for claim in child["spec"].get("volumeClaimTemplates") or () if child["kind"] == "StatefulSet" else ():
        claim["spec"] |= {"storageClassName": "encrypted", "resources": {"requests": {"storage": "200Gi"}}}


@pytest.mark.parametrize("only_created", [False, True])
@pytest.mark.parametrize("policy", [ordered, other_disks])
def test_a_policy_on_an_immutable_field_has_the_statefulset_made_once(policy: Policy, only_created: bool) -> None:
    service = a_service().from_source("pvc://m/chat").read().with_replicas(2)
    world = World(service.with_spec(model={"maxContextLength": OLD}, cache={"size": "100Gi"}), 2)

    def admission(child: Json) -> None:
        if not only_created or ("StatefulSet", "chat") not in world.children:
            policy(child)

    world.policies = [admission]
    world.until_quiet()
    assert world.releases == 0
    assert_ready(world)
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW, NEW]
    assert_ready(world)
    assert world.releases == 0
    world.edit(cache={"size": "300Gi"})
    world.until_quiet()
    assert world.releases == 1, "the spec has changed"
    assert_ready(world)


def findings(world: World) -> list[Json]:
    return [each for each in world.service["status"]["findings"] if each["reason"] == "FieldsChangedElsewhere"]


def test_a_finding_names_the_field_its_values_and_that_admission_changed_it() -> None:
    (found,) = findings(serving(pull_always))
    assert "StatefulSet chat" in found["message"]
    assert "spec.template.spec.containers[engine].imagePullPolicy from IfNotPresent to Always" in found["message"]
    assert "admission webhook or policy" in found["message"]


def test_what_a_person_edits_is_set_back_and_reported_by_nobody() -> None:
    world = serving()
    world.edit_child("StatefulSet", "chat", lambda child: pull_always(child["spec"]["template"]))
    world.until_quiet()
    assert engine(world.statefulset["spec"]["template"])["imagePullPolicy"] == "IfNotPresent"
    assert_ready(world)
    assert findings(world) == []


def test_what_a_person_edits_is_set_back_under_a_policy_too() -> None:
    world = serving(tolerates_more)
    world.edit_child("StatefulSet", "chat", lambda child: pull_always(child["spec"]["template"]))
    world.until_quiet()
    assert engine(world.statefulset["spec"]["template"])["imagePullPolicy"] == "IfNotPresent"
    assert_ready(world)


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("StatefulSet", "chat", to_pods(pull_always)),
        ("Service", "chat", lambda child: child["spec"].update(ports=[])),
        ("PodDisruptionBudget", "chat", lambda child: child["spec"].update(maxUnavailable="100%")),
    ],
)
def test_a_controller_that_sets_its_value_again_and_again_is_named_and_the_writes_end(
    kind: str, name: str, change: Policy
) -> None:
    world = serving()
    before = len(world.child_writes)
    for _ in range(120):
        world.edit_child(kind, name, change, "other-controller")
        world.tick()
    written = [key for key in world.child_writes[before:] if key == (kind, name)]
    assert 0 < len(written) <= 20, "corrections, and the steps of their rollouts"
    (found,) = findings(world)
    assert "field manager other-controller" in found["message"] and f"{kind} {name}" in found["message"]
    assert world.condition("Ready")["status"] == "True"
    quiet = len(world.child_writes)
    world.run(60)
    assert world.child_writes[quiet:] == []
    world.now += 24 * 3600
    world.run(3)
    assert (kind, name) in world.child_writes[quiet:], "it is tried again later"


def let_all_in(policy: Json) -> None:
    policy["spec"]["ingress"] = [{}]


def no_limits(settings: Json) -> None:
    kept = "MODEL_MAX_CONTEXT_LENGTH"
    settings["data"] = {key: value if key == kept else "{}" for key, value in settings["data"].items()}


@pytest.mark.parametrize("manager", ["other-controller", OPERATOR])
@pytest.mark.parametrize(("kind", "change"), [("NetworkPolicy", let_all_in), ("ConfigMap", no_limits)])
def test_who_reaches_a_service_is_set_back_however_often_it_is_changed(kind: str, change: Policy, manager: str) -> None:
    """Anyone may call themselves as the operator's field manager."""
    world = serving()
    world.platform = dataclasses.replace(world.platform, network=Network())
    world.until_quiet()
    names_ = [name for of, name in world.children if of == kind]
    assert names_
    for name in names_:
        wanted = copy.deepcopy(world.children[kind, name])
        for _ in range(MOST_CORRECTIONS + 3):
            world.edit_child(kind, name, change, manager)
            world.until_quiet()
            live = world.children[kind, name]
            assert (live.get("spec"), live.get("data")) == (wanted.get("spec"), wanted.get("data"))
    assert findings(world) == []


def test_a_change_rolls_out_although_another_controller_keeps_its_value() -> None:
    world = serving()
    for second in range(300):
        world.edit_child("StatefulSet", "chat", to_pods(pull_always), "other-controller")
        world.tick()
        if second == 120:
            assert findings(world)
            world.change(NEW)
    assert world.contexts() == [NEW, NEW]
    assert world.condition("Ready")["status"] == "True"


def test_an_object_that_is_cached_without_its_content_is_not_reported_as_changed() -> None:
    world = serving()
    for key, child in world.children.items():
        if key[0] not in ("StatefulSet", "ConfigMap"):
            world.children[key] = stub(child)
    made = plan(world.observe(None))
    assert made.foreign_changes == () and made.accepted == frozenset()
    assert made.status is not None and made.status["findings"] == []


def test_edits_of_many_fields_are_each_set_back() -> None:
    """A person who edits one field after the other is no controller that sets one value again and again."""
    world = serving()
    wanted = world.statefulset["spec"]["template"]["spec"]
    numbers = [name for name, value in wanted.items() if type(value) is int]
    flags = [name for name, value in wanted.items() if type(value) is bool]
    assert len(numbers + flags) * 3 > MOST_CORRECTIONS
    for _, name in itertools.product(range(3), (*numbers, *flags)):
        edited = not wanted[name] if name in flags else wanted[name] + 1

        def edit(child: Json, name: str = name, value: Any = edited) -> None:
            child["spec"]["template"]["spec"][name] = value

        world.edit_child("StatefulSet", "chat", edit)
        world.until_quiet()
        assert world.statefulset["spec"]["template"]["spec"] == wanted
    assert findings(world) == []


def test_a_field_that_another_controller_keeps_does_not_keep_the_edits_of_others() -> None:
    world = serving()
    for _ in range(120):
        world.edit_child(
            "StatefulSet", "chat", lambda child: pull_always(child["spec"]["template"]), "other-controller"
        )
        world.tick()
    wanted = world.statefulset["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    def hurry(child: dict[str, Any]) -> None:
        child["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1

    world.edit_child("StatefulSet", "chat", hurry)
    world.until_quiet()
    pod = world.statefulset["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == wanted
    assert engine(world.statefulset["spec"]["template"])["imagePullPolicy"] == "Always"


def test_an_upgrade_of_the_operator_under_a_policy_restarts_nothing_before_its_approval() -> None:
    before = Platform(runtime_image="registry.example.com/runtime:1")
    service = a_service().from_source("pvc://m/chat").read().with_replicas(2)
    world = World(service.with_spec(model={"maxContextLength": OLD}), 2)
    world.platform, world.policies = before, [to_pods(pull_always), to_pods(tolerates)]
    world.until_quiet()
    pods = sorted(pod.uid for pod in world.pods.values())
    world.platform = dataclasses.replace(before, runtime_image="registry.example.com/runtime:2")
    world.until_quiet()
    assert sorted(pod.uid for pod in world.pods.values()) == pods
    assert world.condition("Ready")["status"] == "True"
    digest = world.service["status"]["upgrade"]["digest"]
    world.service["metadata"]["annotations"] = {"llmservice.dev/upgrade": digest}
    world.until_quiet()
    assert {engine(pod.template)["image"] for pod in world.pods.values()} == {"registry.example.com/runtime:2"}
    assert_ready(world)


def test_a_policy_that_ends_restarts_nothing_before_the_next_change() -> None:
    world = serving(pull_always)
    pods = sorted(pod.uid for pod in world.pods.values())
    world.policies = []
    world.run(120)
    assert sorted(pod.uid for pod in world.pods.values()) == pods
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW, NEW]
    assert {engine(pod.template)["imagePullPolicy"] for pod in world.pods.values()} == {"IfNotPresent"}
    assert_ready(world)


def test_several_nodes_roll_out_under_a_policy() -> None:
    spec = {"model": {"maxContextLength": OLD}, "parallelism": {"pipeline": 2, "nodesPerReplica": 2}}
    world = World(a_service().read().with_replicas(1).with_spec(**spec), 4)
    world.policies = [to_pods(pull_always), to_pods(tolerates)]
    world.until_quiet()
    assert_ready(world)
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW]
    assert_ready(world)


def test_a_removed_annotation_of_the_immutable_fields_is_set_again() -> None:
    world = serving()
    wanted = world.statefulset["metadata"]["annotations"][names.IMMUTABLE_ANNOTATION]
    world.edit_child(
        "StatefulSet", "chat", lambda child: child["metadata"]["annotations"].pop(names.IMMUTABLE_ANNOTATION)
    )
    world.until_quiet()
    assert world.statefulset["metadata"]["annotations"].get(names.IMMUTABLE_ANNOTATION) == wanted
