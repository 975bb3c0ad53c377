"""What holds for every spec and every state of the pods, searched for exceptions."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.observed import Scene, a_scene, condition
from builders.pods import PodBuilder, a_pod
from builders.services import ServiceBuilder, a_service
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.planner.report import reasons

sources = st.sampled_from(
    ["pvc://models/chat", "hf://org/model-8B", "s3://bucket/model", "https://hub.example.com/org/model", "hf://o/x"]
)
facts = st.one_of(
    st.none(),
    st.fixed_dictionaries({"attentionHeads": st.integers(1, 64), "keyValueHeads": st.integers(1, 8)}),
)


limits = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["Enforce", "Disabled"]),
        "default": st.fixed_dictionaries({}, optional={"requestsPerMinute": st.integers(1, 10**9)}),
        "tiers": st.just([{"name": "gold"}]),
        "store": st.just({"address": "redis:6379", "credentialsRef": {"name": "login"}}),
    },
)
caps = st.fixed_dictionaries(
    {},
    optional={
        "bodyBytes": st.sampled_from(["1Ki", "8M", 4096]),
        "choices": st.integers(1, 64),
        "stop": st.integers(0, 9),
    },
)
keys = st.just({"secretRef": {"name": "keys"}})
accesses = st.one_of(
    st.none(),
    st.fixed_dictionaries({}, optional={"caps": caps}),
    st.fixed_dictionaries({"apiKeys": keys}, optional={"caps": caps, "rateLimits": limits}),
)


@st.composite
def services(draw: st.DrawFn) -> ServiceBuilder:
    """Services that the CRD takes, sensible or not."""
    source = draw(sources)
    spec: dict[str, Any] = {
        "parallelism": {"tensor": draw(st.integers(1, 4)), "pipeline": draw(st.integers(1, 4))},
        "quantization": {"method": draw(st.sampled_from(["auto", "none", "fp8", "int4", "awq"]))},
        "accelerator": {"type": draw(st.sampled_from(["nvidia", "amd", "cpu"]))},
    }
    access = draw(accesses)
    if access is not None:
        spec["access"] = access
    replicas = draw(st.one_of(st.none(), st.integers(0, 4)))
    if replicas is not None:
        spec["replicas"] = replicas
    service = a_service().from_source(source).with_spec(**spec)
    known = draw(facts)
    return service.with_status({"model": {"source": source, **known}}) if known else service


@st.composite
def pods(draw: st.DrawFn) -> tuple[PodBuilder, ...]:
    """Pods in any state that the API server shows."""

    def one(number: int) -> PodBuilder:
        pod = a_pod(f"chat-{number}").of_revision(draw(st.sampled_from(["r1", "r2"])))
        states = [
            pod,
            pod.unschedulable(),
            pod.waiting("ErrImagePull", "x" * 5000),
            pod.waiting("ContainerCreating"),
            pod.loading(),
            pod.loading().ended_before(1, "boom"),
            pod.ended(137, reason="OOMKilled"),
            pod.evicted(),
            pod.ready(),
            pod.silent(),
            pod.ready().going(),
        ]
        return draw(st.sampled_from(states))

    return tuple(one(number) for number in range(draw(st.integers(0, 3))))


scenes = st.builds(lambda service, some: a_scene(service).with_pods(*some), services(), pods())


def content(scene: Scene) -> list[Any]:
    made = scene.plan()
    return [made.objects, made.deletions, made.status, made.replicas, made.events]


def templates(scene: Scene) -> list[Any]:
    return [obj["spec"]["template"] for obj in scene.plan().objects if obj["kind"] == "StatefulSet"]


@settings(max_examples=50)
@given(scenes)
def test_the_same_observation_gives_the_same_plan_and_stays_as_it_was(scene: Scene) -> None:
    before = copy.deepcopy(scene)
    assert content(scene) == content(scene)
    assert scene == before


@settings(max_examples=50)
@given(scenes)
def test_a_plan_carried_out_a_few_times_asks_for_nothing_more(scene: Scene) -> None:
    # A step for each of up to three pods to give up its revision, and one to see it gone.
    for _ in range(8):
        scene = scene.settled()
    made = scene.plan()
    assert made.status == scene.service["status"]
    assert made.deletions == made.events == ()
    for obj in made.objects:
        assert not differs(obj, scene.child(obj["kind"], obj["metadata"]["name"]))


@settings(max_examples=50)
@given(scenes)
def test_what_is_not_accepted_writes_no_child_and_deletes_none(scene: Scene) -> None:
    made = scene.plan()
    if condition(made, "Accepted")["status"] != "True":
        assert {obj["kind"] for obj in made.objects} <= {"Job"}
        assert {gone.kind for gone in made.deletions} <= {"Job"}
        assert made.replicas is None


@settings(max_examples=50)
@given(services(), pods(), st.integers(0, 10**6))
def test_a_template_depends_on_the_spec_alone(service: ServiceBuilder, some: tuple[PodBuilder, ...], now: int) -> None:
    fresh = a_scene(service)
    later = fresh.settled().with_pods(*some).at(now)
    assert templates(fresh) == templates(later)


@settings(max_examples=50)
@given(scenes)
def test_conditions_are_as_kubernetes_and_kstatus_want_them(scene: Scene) -> None:
    made = scene.plan()
    assert made.status is not None
    found = {item["type"]: item for item in made.status["conditions"]}
    assert list(found)[:4] == ["Ready", "Accepted", "Scheduled", "Serving"]
    assert not {"Reconciling", "Stalled"} <= set(found)
    for item in found.values():
        assert item["reason"] and item["message"] and len(item["message"]) <= 2048
        assert item["observedGeneration"] == 1
    if found["Ready"]["status"] == "True":
        assert all(found[kind]["status"] == "True" for kind in ("Accepted", "Scheduled", "Serving"))
    elif found["Ready"]["reason"] != "ScaledToZero":
        assert {"Reconciling", "Stalled"} & set(found)


@settings(max_examples=50)
@given(scenes)
def test_the_first_finding_is_the_reason_of_ready_and_none_is_there_where_all_is_well(scene: Scene) -> None:
    made = scene.plan()
    assert made.status is not None
    ready, found = condition(made, "Ready"), made.status["findings"]
    assert len(found) <= 8 and all(each["message"] and len(each["message"]) <= 2048 for each in found)
    if ready["status"] == "True":
        assert not found
    elif not reasons.of(ready["reason"]).expected:
        assert found[0]["reason"] == ready["reason"]
