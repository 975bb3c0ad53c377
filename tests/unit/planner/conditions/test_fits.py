"""The condition Fits: what is said of a model and the GPUs it may get, when it is read, and what waits for it."""

import dataclasses
from typing import Any

import msgspec
import pytest

from builders.devices import DRIVER, a_device, a_slice
from builders.nodes import H100, a_gpu_node, a_plain_node
from builders.observed import Scene, a_scene, condition
from builders.pods import a_pod, an_inspection_pod
from builders.services import ServiceBuilder, a_service
from llmservice_contract.configuration import packed, relevant
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts, failure_to_json
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory.gpus import MEMORY_LABEL
from llmservice_operator.planner.conditions.gpu_candidates import candidates, of_device
from llmservice_operator.planner.model.device_inventory import published, with_devices
from llmservice_operator.planner.model.fit_estimate import estimated, without_answer
from llmservice_operator.planner.model.observed import Input, NodeCapacity
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Allowed, FitPolicy, Platform
from support.published import measurements
from support.small_models import MODELS

WARN, DENY = Platform(fit_policy=FitPolicy.WARN), Platform(fit_policy=FitPolicy.DENY)
QWEN = next(each.config for each in measurements() if each.row["model"] == "Qwen/Qwen3-32B")
FACTS = ModelFacts("Qwen3ForCausalLM", 64, 8, 64, 40960, None, 65_524_246_528, packed(relevant(QWEN)))
SERVICE = a_service().from_source("hf://Qwen/Qwen3-32B", "a" * 40).on(H100)  # at a branch, pods wait for its commit
SHORT = SERVICE.with_spec(model={"source": "hf://Qwen/Qwen3-32B", "maxContextLength": 8192})


def known(service: ServiceBuilder = SHORT, platform: Platform = WARN, facts: ModelFacts = FACTS) -> Scene:
    """After the model was read."""
    scene = a_scene(service).on(platform).applied()
    return scene.with_pods(an_inspection_pod(scene.child("Job")).ended(0, facts.to_json(), reason="Completed"))


def kinds(made: Plan) -> list[str]:
    return [obj["kind"] for obj in made.objects]


def fits(made: Plan) -> tuple[str, str]:
    found = condition(made, "Fits")
    return found["status"], found["reason"]


def findings(made: Plan) -> list[dict[str, Any]]:
    assert made.status is not None
    return [each for each in made.status["findings"] if each["reason"] not in ("PodsMissing",)]


def test_a_model_is_read_beside_its_first_pods_and_nothing_waits_for_that():
    made = a_scene(SHORT).on(WARN).plan()
    assert {"Job", "StatefulSet"} <= set(kinds(made))
    assert fits(made) == ("Unknown", "InspectingModel")
    assert condition(made, "Accepted")["status"] == "True"


@pytest.mark.parametrize(
    ("service", "platform"),
    [
        (SHORT, Platform(fit_policy=FitPolicy.OFF)),
        (SHORT.on_cpu().with_spec(accelerator={"type": "cpu", "products": None}), WARN),
    ],
)
def test_nothing_is_read_where_it_is_switched_off_and_on_a_cpu(service: ServiceBuilder, platform: Platform):
    assert "Job" not in kinds(a_scene(service).on(platform).plan())


def test_what_fits_is_said_with_its_ledger():
    made = known().plan()
    assert fits(made) == ("True", "Fits")
    assert condition(made, "Fits")["message"].startswith(f"{H100}: of 72.8 GiB per GPU weights take 61.0 GiB")
    memory = made.status["memory"]
    assert (memory["gpu"], memory["weights"], memory["kvPerToken"]) == (H100, "61.0Gi", 262144)
    assert findings(made) == []


def test_what_does_not_fit_is_a_finding_with_the_field_and_remedies_and_pods_are_made():
    made = known(SERVICE).plan()
    assert fits(made) == ("False", "CacheTooSmall")
    (found,) = findings(made)
    assert (found["reason"], found["certainty"], found["field"]) == (
        "CacheTooSmall",
        "Likely",
        "spec.engine.gpuMemoryUtilization",
    )
    assert "model.maxContextLength 3" in found["fix"]
    numbers = {name: int(value) for name, value in found["numbers"].items()}
    assert numbers["weightsBytes"] < numbers["requestedBytes"] < numbers["gpuBytes"]
    assert numbers["maxContextLength"] < numbers["contextLength"]
    assert "StatefulSet" in kinds(made)
    assert condition(made, "Accepted")["status"] == "True"


def test_where_much_is_missing_it_is_certain():
    made = known(SHORT.on("NVIDIA-A10")).plan()
    assert fits(made) == ("False", "NoRoomForCache")
    assert findings(made)[0]["certainty"] == "Certain"
    assert made.status["memory"]["kvAvailable"].startswith("-")


def test_where_it_is_denied_no_pod_is_made_and_the_model_is_read_first():
    scene = a_scene(SHORT.on("NVIDIA-A10")).on(DENY)
    assert kinds(scene.plan()) == ["Job"]
    made = known(SHORT.on("NVIDIA-A10"), DENY).plan()
    assert "StatefulSet" not in kinds(made)
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NoRoomForCache")
    assert condition(made, "Ready")["reason"] == "NoRoomForCache"
    assert [each["reason"] for each in findings(made)] == ["NoRoomForCache"]


def test_what_fits_or_is_unknown_is_not_denied():
    assert "StatefulSet" in kinds(known(platform=DENY).plan())
    unknown = msgspec.structs.replace(FACTS, configuration=packed({"architectures": ["NewForCausalLM"]}))
    made = known(platform=DENY, facts=unknown).plan()
    assert fits(made) == ("Unknown", "NotModelled")
    assert "StatefulSet" in kinds(made)


def test_what_runs_fits_whatever_was_reckoned():
    scene = known(SERVICE).settled()
    scene = scene.with_pods(a_pod().ready()).settled().settled()
    made = scene.plan()
    assert condition(made, "Ready")["status"] == "True"
    assert fits(made) == ("True", "Fits")
    assert "Running, although the memory estimate says it does not fit" in condition(made, "Fits")["message"]
    assert findings(made) == []


def test_several_products_are_told_apart():
    made = known(SHORT.on(H100, "NVIDIA-A10"), DENY).plan()
    assert fits(made) == ("False", "FitsSomeGPUs")
    (found,) = findings(made)
    assert f"the model fits {H100} but not NVIDIA-A10" in found["message"]
    assert found["field"] == "spec.accelerator.products"
    assert "StatefulSet" in kinds(made), "its pods may get a GPU that it fits"


ANYWHERE = SHORT.with_spec(accelerator={"products": None})


def test_without_products_the_nodes_are_asked_once():
    scene = known(ANYWHERE)
    made = scene.plan()
    assert Input.NODES in made.requires
    assert fits(made) == ("Unknown", "GPUUnknown")
    seen = scene.with_nodes(a_gpu_node(), a_plain_node())
    assert fits(seen.plan()) == ("True", "Fits")
    reported = seen.settled()
    later = dataclasses.replace(reported, nodes=None).plan()
    assert Input.NODES not in later.requires
    assert fits(later) == ("True", "Fits")
    assert later.status["memory"] == reported.plan().status["memory"]


@pytest.mark.parametrize(
    ("node", "verdict"),
    [
        (a_gpu_node(product="NVIDIA-Unheard-Of", labels={MEMORY_LABEL: "81559"}), ("True", "Fits")),
        (a_gpu_node(product="NVIDIA-Unheard-Of", labels={MEMORY_LABEL: "24576"}), ("False", "NoRoomForCache")),
        (a_gpu_node(product="NVIDIA-Unheard-Of"), ("Unknown", "GPUUnknown")),
        (a_gpu_node(resource="amd.com/gpu"), ("Unknown", "GPUUnknown")),
        (a_plain_node(), ("Unknown", "GPUUnknown")),
    ],
)
def test_nodes_tell_their_gpus_by_label(node: Any, verdict: tuple[str, str]):
    assert fits(known(ANYWHERE).with_nodes(node).plan()) == verdict


def test_a_slice_of_a_gpu_tells_its_memory_by_its_name():
    service = ANYWHERE.with_spec(accelerator={"resourceName": "nvidia.com/mig-3g.40gb"})
    made = known(service).plan()
    assert Input.NODES not in made.requires
    assert fits(made) == ("False", "NoRoomForCache")


def test_a_model_that_can_t_be_read_is_unknown_and_is_read_again_after_a_while():
    scene = a_scene(SHORT).on(WARN).applied()
    failure = failure_to_json(Finding("HubRefused", "it is gated"))
    scene = scene.with_pods(an_inspection_pod(scene.child("Job")).ended(66, failure, finishedAt="2026-01-01T12:00:00Z"))
    for seconds, tried_again in ((0, False), (590, False), (600, True)):
        made = scene.at(seconds).plan()
        assert fits(made) == ("Unknown", "HubRefused")
        assert [each.kind for each in made.deletions] == ["Job"] * tried_again


def test_facts_of_an_operator_of_before_are_completed_while_what_runs_goes_on():
    old = ModelFacts("Qwen3ForCausalLM", 64, 8, 64, 40960, None, 65_524_246_528)
    before = a_scene(SHORT.spread_over(tensor=2)).applied()
    pod = an_inspection_pod(before.child("Job")).ended(0, old.to_json(), reason="Completed")
    before = before.with_pods(pod).settled()
    del before.service["status"]["model"]["configuration"]
    made = before.on(WARN).plan()
    assert {"Job", "StatefulSet"} <= set(kinds(made))
    assert made.status["model"]["attentionHeads"] == 64
    assert condition(made, "Accepted")["status"] == "True"


def test_the_weights_follow_from_config_json_where_the_files_are_not_known():
    facts = ModelFacts("LlamaForCausalLM", 8, 2, 4, 4096, None, None, packed(relevant(MODELS["llama"])))
    service = ANYWHERE.with_spec(model={"maxContextLength": None})
    assert fits(known(service, facts=facts).with_nodes(a_gpu_node()).plan()) == ("True", "Fits")


def awaiting(scene: Scene) -> Plan:
    """What is planned before there is an estimate."""
    return dataclasses.replace(scene, estimates=False).plan()


def test_a_plan_asks_for_the_estimate_and_says_so_meanwhile():
    made = awaiting(known())
    assert made.question is not None
    assert fits(made) == ("Unknown", "Estimating")
    assert condition(made, "Accepted")["status"] == "True"
    assert "StatefulSet" in kinds(made)
    assert known().plan().question is None


def test_what_was_said_stays_while_it_is_estimated_anew():
    scene = known(SERVICE).settled()
    before = scene.plan()
    made = awaiting(scene)
    assert made.question is not None
    assert condition(made, "Fits") == condition(before, "Fits")
    assert made.status["memory"] == before.status["memory"]
    assert findings(made) == findings(before)


def test_an_answer_to_another_question_is_none():
    first = awaiting(known())
    other = known(SHORT.with_spec(model={"source": "hf://Qwen/Qwen3-32B", "maxContextLength": 4096}))
    made = plan(dataclasses.replace(other.build(), estimate=estimated(first.question)))
    assert fits(made) == ("Unknown", "Estimating")
    assert made.question != first.question


def test_pods_wait_for_the_estimate_where_the_platform_denies():
    scene = known(platform=DENY)
    made = awaiting(scene)
    assert "StatefulSet" not in kinds(made)
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("Unknown", "Estimating")
    assert condition(made, "Reconciling")["status"] == "True"


def test_what_is_accepted_or_denied_stays_so_while_it_is_estimated_anew():
    running = known(platform=DENY).settled()
    assert condition(awaiting(running), "Accepted")["status"] == "True"
    assert "StatefulSet" in kinds(awaiting(running))
    denied = known(SHORT.on("NVIDIA-A10"), DENY).applied()
    made = awaiting(denied)
    assert condition(made, "Accepted") == condition(denied.plan(), "Accepted")
    assert "StatefulSet" not in kinds(made)


def test_an_estimate_without_an_answer_is_unknown_and_denies_nothing():
    question = awaiting(known(platform=DENY)).question
    answer = without_answer(question, "took more than 1 s")
    made = plan(dataclasses.replace(known(platform=DENY).build(), estimate=answer))
    assert fits(made) == ("Unknown", "EstimateFailed")
    assert "1 s" in condition(made, "Fits")["message"]
    assert made.question is None
    assert "StatefulSet" in kinds(made)


def test_a_ledger_of_another_version_is_left_out_while_it_is_estimated_anew():
    scene = known(SERVICE).settled()
    scene.service["status"]["memory"] = {**scene.service["status"]["memory"], "ofALaterVersion": 1}
    made = awaiting(scene)
    assert fits(made) == ("False", "CacheTooSmall")
    assert "memory" not in made.status


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"engine": {"extraArgs": {"cpu-offload-gb": 40}}}, "cpu-offload-gb"),
        ({"engine": {"hfOverrides": '{"num_hidden_layers": 2}'}}, "spec.engine.hfOverrides"),
        ({"engine": {"dtype": "float32"}}, "spec.engine.dtype"),
        ({"engine": {"runner": "pooling"}}, "spec.engine.runner"),
        ({"parallelism": {"expertParallel": True}}, "spec.parallelism.expertParallel"),
    ],
)
def test_a_setting_that_the_estimate_does_not_model_denies_nothing(spec: dict[str, Any], named: str) -> None:
    denied = known(SERVICE, DENY).plan()
    assert condition(denied, "Fits")["status"] == "False"
    made = known(SERVICE.with_spec(**spec), DENY).plan()
    assert fits(made) == ("Unknown", "NotModelled")
    assert named in condition(made, "Fits")["message"]
    assert condition(made, "Accepted")["status"] == "True"


@pytest.mark.parametrize("engine", [{"extraArgs": {"response-role": "bot"}}, {"dtype": "bfloat16"}])
def test_other_settings_leave_the_estimate_as_it_is(engine: dict[str, Any]) -> None:
    assert condition(known(SERVICE.with_spec(engine=engine), DENY).plan(), "Fits")["status"] == "False"


CLASS = names.DEVICE_CLASS_RESOURCE + DRIVER
CLAIMING = (
    a_service()
    .from_source("hf://Qwen/Qwen3-32B", "a" * 40)
    .with_spec(accelerator={"deviceClassName": DRIVER}, model={"maxContextLength": 8192})
)


def publishing(*devices: dict[str, Any]) -> NodeCapacity:
    nodes = with_devices([a_plain_node("node-a")], CLASS, published([a_slice("node-a", *devices)], set()))
    assert nodes is not None
    return nodes[0]


def claimed(*devices: dict[str, Any], **accelerator: Any) -> Plan:
    service = CLAIMING.with_spec(accelerator=accelerator)
    allowing = Platform(fit_policy=FitPolicy.WARN, device_claims=True, allowed=Allowed(device_selectors=True))
    return known(service, allowing).with_nodes(publishing(*devices)).plan()


def test_the_memory_of_published_devices_is_estimated_with() -> None:
    """As GPU feature discovery labels the same GPU; a known product has its measured memory."""
    made = claimed(a_device("gpu-0", memory="81559Mi"))
    assert fits(made) == ("True", "Fits")
    assert made.status is not None and made.status["memory"]["gpu"] == H100
    assert fits(claimed(a_device("gpu-0", memory="24564Mi", product="Made Up"))) == ("False", "NoRoomForCache")


def test_devices_of_several_products_are_told_apart() -> None:
    small = a_device("small", memory="24564Mi", product="Made Up")
    assert fits(claimed(small, a_device("large"))) == ("False", "FitsSomeGPUs")
    enough = f"device.capacity['{DRIVER}'].memory.compareTo(quantity('40Gi')) >= 0"
    assert fits(claimed(small, a_device("large"), deviceSelectors=[enough])) == ("True", "Fits")


def test_a_published_slice_of_a_gpu_is_one() -> None:
    slice_ = a_device("mig-0", memory="40192Mi", product="NVIDIA H100 80GB HBM3")
    slice_["attributes"] |= {"type": {"string": "mig"}, "profile": {"string": "3g.40gb"}}
    gpu = of_device(published([a_slice("node-a", slice_)], set())[0])
    assert gpu is not None and gpu.is_slice and gpu.capability == 9.0
    assert 37 << 30 < gpu.total < 40 << 30


def test_a_driver_that_publishes_no_memory_leaves_it_unknown() -> None:
    made = claimed({"name": "gpu-0"})
    assert fits(made) == ("Unknown", "GPUUnknown")
    assert "deviceClassName" in condition(made, "Fits")["message"]


def labelled(resource: str = names.NVIDIA_GPU, **labels: str) -> NodeCapacity:
    """A node with labels of GPU feature discovery for this resource; _ stands for -."""
    base = resource.removesuffix(".shared")
    given = {f"{base}.{name.replace('_', '-')}": value for name, value in labels.items()}
    return a_gpu_node("a", 8, resource=resource, labels=given)


def candidate(node: NodeCapacity, **accelerator: Any) -> tuple[int, bool, bool, int]:
    spec = LLMServiceSpec.model_validate(a_service().with_spec(accelerator=accelerator).build()["spec"])
    (gpu,) = candidates(spec, [node]) or [None]
    assert gpu is not None
    return gpu.replicas, gpu.limits_memory, gpu.is_slice, round(gpu.total / (1 << 30))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"memory": "81559"}, (1, False, False, 79)),
        ({"memory": "81559", "replicas": "1", "sharing_strategy": "none"}, (1, False, False, 79)),
        ({"memory": "81559", "replicas": "4", "sharing_strategy": "time-slicing"}, (4, False, False, 79)),
        ({"memory": "81559", "replicas": "4", "sharing_strategy": "mps"}, (4, True, False, 79)),
        ({"product": f"{H100}-SHARED", "memory": "81559"}, (2, False, False, 79)),
        ({"product": f"{H100}-SHARED", "replicas": "10"}, (10, False, False, 79)),
        ({"product": f"{H100}-MIG-1g.10gb", "memory": "9856"}, (1, False, True, 10)),
        ({"product": f"{H100}-MIG-1g.10gb-SHARED", "memory": "9856", "replicas": "2"}, (2, False, True, 10)),
        ({"replicas": "many"}, (1, False, False, 79)),
        ({"replicas": "99999999999999999999"}, (1, False, False, 79)),
    ],
)
def test_labels_say_what_of_a_gpu_a_pod_gets(labels: dict[str, str], expected: tuple[int, bool, bool, int]) -> None:
    assert candidate(labelled(**labels)) == expected


def test_renamed_resources_have_the_labels_of_the_original_one() -> None:
    node = labelled("nvidia.com/gpu.shared", memory="81559", replicas="4", sharing_strategy="time-slicing")
    assert candidate(node, resourceName="nvidia.com/gpu.shared") == (4, False, False, 79)


def test_slices_have_labels_of_their_own() -> None:
    """The labels of nvidia.com/gpu on such a node are those of its whole GPUs."""
    mig = {"product": f"{H100}-MIG-3g.40gb", "memory": "40448", "replicas": "2", "sharing_strategy": "time-slicing"}
    for resource in ("nvidia.com/mig-3g.40gb", "nvidia.com/mig-3g.40gb.shared"):
        assert candidate(labelled(resource, **mig), resourceName=resource) == (2, False, True, 38)
    assert candidate(labelled("nvidia.com/mig-3g.40gb"), resourceName="nvidia.com/mig-3g.40gb") == (1, False, True, 38)


def test_a_model_split_over_shared_gpus_does_not_fit() -> None:
    node = labelled(memory="81559", replicas="4", sharing_strategy="time-slicing")
    service = a_service().from_source("hf://Qwen/Qwen3-32B", "a" * 40).spread_over(tensor=2)
    made = known(service).with_nodes(node).plan()
    assert fits(made) == ("False", "PartsOfGPUs")
    (finding,) = (each for each in findings(made) if each["reason"] == "PartsOfGPUs")
    assert "time-slicing" in finding["message"]
