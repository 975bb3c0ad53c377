"""What a pod may take of its node: bounds of memory and disk, far above what the engine takes, whatever the spec."""

from typing import Any

import pytest

from builders.cases import CASES
from builders.observed import a_scene
from builders.services import COMMIT, ServiceBuilder, a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import quantity
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform

Json = dict[str, Any]
EIGHT_B = a_service().from_source("hf://meta-llama/Llama-3.1-8B-Instruct")
PLATFORM = Platform()


def pods(service: ServiceBuilder, platform: Platform = PLATFORM) -> list[Json]:
    """Pod specs of all StatefulSets and Jobs of a service."""
    made = a_scene(service.read()).on(platform).plan().objects
    return [dict(each["spec"]["template"]["spec"]) for each in made if each["kind"] in ("StatefulSet", "Job")]


def engine(service: ServiceBuilder, platform: Platform = PLATFORM) -> Json:
    """The engine's pod spec."""
    return pods(service, platform)[-1]


def limits(pod: Json) -> dict[str, str]:
    found: dict[str, str] = pod["containers"][0]["resources"].get("limits", {})
    return found


def gib(amount: str) -> float:
    return float(quantity.parse(amount) / quantity.GIB)


def sizes(pod: Json) -> dict[str, str | None]:
    """Sizes of the volumes that a pod writes on its node."""
    return {each["name"]: each["emptyDir"].get("sizeLimit") for each in pod["volumes"] if "emptyDir" in each}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_bounded_in_memory_and_disk(case: str) -> None:
    found = pods(CASES[case])
    assert found
    for pod in found:
        assert {"memory", "ephemeral-storage"} <= set(limits(pod))
        assert all(sizes(pod).values()), sizes(pod)
        requests = pod["containers"][0]["resources"]["requests"]
        for name in ("memory", "ephemeral-storage"):
            assert quantity.parse(requests[name]) <= quantity.parse(limits(pod)[name])


def test_a_download_has_room_for_the_weights_twice_and_no_more_than_that_and_some() -> None:
    weights = 8e9 * 2 / quantity.GIB
    pod = engine(EIGHT_B)
    assert 2 * weights <= gib(sizes(pod)["cache"] or "0") <= 2 * weights + 40
    assert gib(limits(pod)["ephemeral-storage"]) <= 2 * weights + 60
    assert 2 * weights <= gib(limits(pod)["memory"]) <= 2 * weights + 40


def test_a_stated_size_counts() -> None:
    stated = engine(EIGHT_B.with_spec(model={"size": "100Gi"}))
    assert 200 <= gib(sizes(stated)["cache"] or "0") <= 240
    assert 200 <= gib(limits(stated)["memory"]) <= 240


@pytest.mark.parametrize("size", ["1Pi", None])
def test_even_where_the_weights_are_huge_or_unknown_there_is_a_bound(size: str | None) -> None:
    service = a_service().from_source("hf://org/unnamed").with_spec(model={"size": size} if size else {})
    assert gib(sizes(engine(service))["cache"] or "0") == 2048


def test_weights_that_are_not_downloaded_need_no_disk() -> None:
    for source in ("pvc://models/llama-405b", "s3://models/llama-405b"):
        assert gib(limits(engine(a_service().from_source(source)))["ephemeral-storage"]) <= 50
    with_volume = engine(EIGHT_B.with_spec(cache={"size": "200Gi"}))
    assert "cache" not in sizes(with_volume)
    assert gib(limits(with_volume)["ephemeral-storage"]) <= 18


def test_a_draft_model_is_downloaded_too() -> None:
    draft = {"speculative": {"method": "draft", "model": "hf://org/draft-4B", "revision": COMMIT, "tokens": 4}}
    alone, both = (engine(each) for each in (EIGHT_B, EIGHT_B.with_spec(engine=draft)))
    assert gib(sizes(both)["cache"] or "0") >= gib(sizes(alone)["cache"] or "0") + 2 * 4e9 * 2 / quantity.GIB - 1


def test_all_adapters_of_a_replica_have_room() -> None:
    for source in ("hf://meta-llama/Llama-3.1-8B-Instruct", "pvc://models/llama-405b"):
        service = a_service().from_source(source)
        alone, both = (engine(each) for each in (service, service.with_spec(engine={"maxLoras": 2})))
        assert gib(sizes(both)["cache"] or "0") == gib(sizes(alone)["cache"] or "0") + 16
        assert gib(limits(both)["ephemeral-storage"]) == gib(limits(alone)["ephemeral-storage"]) + 16


def test_what_is_streamed_from_s3_has_room_for_the_streamers_buffers() -> None:
    claimed, streamed = (
        gib(limits(engine(a_service().from_source(f"{kind}://models/70B").spread_over(tensor=8)))["memory"])
        for kind in ("pvc", "s3")
    )
    assert streamed - claimed >= 8 * 40e9 / quantity.GIB


def test_a_spec_that_states_an_amount_gets_it_as_request_and_limit() -> None:
    service = EIGHT_B.with_spec(resources={"memory": "20Gi", "ephemeralStorage": "70Gi"})
    for platform in (PLATFORM, Platform(memory_limit="None", ephemeral_storage_limit="None")):
        resources = engine(service, platform)["containers"][0]["resources"]
        for each in (resources["requests"], resources["limits"]):
            assert (each["memory"], each["ephemeral-storage"]) == ("20Gi", "70Gi")
        assert sizes(engine(service, platform))["cache"] == "70Gi"


def test_the_platform_can_state_limits_or_have_none() -> None:
    none = engine(EIGHT_B, Platform(memory_limit="None", ephemeral_storage_limit="None"))
    assert not {"memory", "ephemeral-storage"} & set(limits(none))
    assert {name: size for name, size in sizes(none).items() if size} == {"shared-memory": "2Gi"}
    own = engine(EIGHT_B, Platform(memory_limit="64Gi", ephemeral_storage_limit="300Gi"))
    assert (limits(own)["memory"], limits(own)["ephemeral-storage"]) == ("64Gi", "300Gi")
    assert sizes(own)["cache"] == "300Gi"


def test_a_platforms_limit_is_never_below_what_is_requested() -> None:
    resources = engine(EIGHT_B, Platform(memory_limit="1Gi"))["containers"][0]["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"]


def test_a_request_that_nobody_stated_keeps_no_pod_from_a_node() -> None:
    """Kubernetes would request the limit where a request is absent."""
    assert engine(EIGHT_B)["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "0"


def test_no_pod_has_a_cpu_limit_unless_spec_or_platform_states_one() -> None:
    for pod in pods(EIGHT_B.spread_over(tensor=2)):
        assert "cpu" not in limits(pod)


@pytest.mark.parametrize(
    ("resources", "platform", "expected"),
    [
        ({"cpuLimit": "16"}, "None", ("2", "16")),
        ({"cpu": "4", "cpuLimit": 8}, "None", ("4", "8")),
        ({"cpuLimit": "1500m"}, "None", ("1500m", "1500m")),
        ({}, "Request", ("2", "2")),
        ({"cpu": "4"}, "Request", ("4", "4")),
        ({}, "16", ("2", "16")),
        ({"cpu": "32"}, "16", ("32", "32")),
        ({"cpuLimit": "6"}, "16", ("2", "6")),
    ],
)
def test_a_cpu_limit_is_never_below_what_is_requested(
    resources: Json, platform: str, expected: tuple[str, str]
) -> None:
    service = EIGHT_B.spread_over(tensor=2).with_spec(resources=resources)
    found = engine(service, Platform(cpu_limit=platform))["containers"][0]["resources"]
    assert (found["requests"]["cpu"], found["limits"]["cpu"]) == expected


def inspection(service: ServiceBuilder, platform: Platform) -> Json:
    """Resources of the inspection's container."""
    spec = LLMServiceSpec.model_validate(service.build()["spec"])
    found = make_inspection(Owner("chat", "team-a", "uid"), spec, platform)
    resources: Json = found["spec"]["template"]["spec"]["containers"][0]["resources"]
    return resources


@pytest.mark.parametrize(("limit", "expected"), [("16", "1"), ("500m", "500m"), ("20m", "20m")])
def test_an_inspection_has_a_cpu_limit_if_the_engine_has_one(limit: str, expected: str) -> None:
    for service, platform in (
        (EIGHT_B.with_spec(resources={"cpuLimit": limit, "cpu": "10m"}), Platform()),
        (EIGHT_B.with_spec(resources={"cpu": "10m"}), Platform(cpu_limit=limit)),
    ):
        found = inspection(service, platform)
        assert found["limits"]["cpu"] == expected
        assert quantity.parse(found["requests"]["cpu"]) <= quantity.parse(expected)


def test_the_platform_states_what_an_inspection_requests() -> None:
    stated = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "400m"}}
    found = inspection(EIGHT_B, Platform(inspection_resources=stated))
    assert found["requests"] == {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "0"}
    assert found["limits"] == {"cpu": "400m", "memory": "1Gi", "ephemeral-storage": "2Gi"}
    small = inspection(EIGHT_B, Platform(inspection_resources={"limits": {"memory": "64Mi"}}))
    assert small["requests"]["memory"] == "64Mi"
