"""Specs that pass the CRD and make no sense: what the user reads, and that nothing is written."""

import dataclasses
from typing import Any

import pytest

from builders.observed import Scene, a_scene, condition, leader
from builders.pods import a_pod
from builders.services import ServiceBuilder, a_service
from llmservice_operator.api.engine import Engine
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.conditions.accepted import engine_settings
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources.platform import Allowed, Platform

CHAT = a_service()


def verdict(scene: Scene) -> tuple[str, str, str]:
    accepted = condition(scene.plan(), "Accepted")
    return accepted["status"], accepted["reason"], accepted["message"]


def test_every_value_that_the_resource_takes_the_engine_takes_too() -> None:
    bounds = ({"maxNumSeqs": 1, "maxNumBatchedTokens": 16}, {"maxNumSeqs": 65_536, "maxNumBatchedTokens": 16_777_216})
    for engine in bounds:
        for utilization in ("0.001", "1"):
            engine["gpuMemoryUtilization"] = utilization  # type: ignore[assignment]
            service = CHAT.with_spec(engine=engine, model={"maxContextLength": 16, "servedNames": ["n" * 128] * 8})
            assert verdict(a_scene(service))[0] == "True"


def test_a_value_that_the_engine_would_not_take_is_refused_with_what_it_takes() -> None:
    spec = LLMServiceSpec.model_validate(CHAT.build()["spec"])
    wrong = spec.model_copy(update={"engine": Engine.model_construct(max_num_seqs=70_000)})
    state = dataclasses.replace(ServiceState.of(a_scene(CHAT).build()), spec=wrong)
    found = engine_settings(state, wrong)
    assert found is not None
    assert (found.status, found.reason) == ("False", "InvalidSetting")
    assert found.message == (
        "spec.engine.maxNumSeqs is 70000: the engine accepts only a whole number from 1 to 65536 sequences"
    )


def writes(made: Plan) -> list[Any]:
    return [*made.objects, *made.deletions, *([made.replicas] if made.replicas is not None else [])]


def with_model(service: ServiceBuilder, **facts: Any) -> Scene:
    """A service whose model's facts are known."""
    built = service.build()
    return a_scene(service.with_status({"model": {"source": built["spec"]["model"]["source"], **facts}}))


REFUSED = {
    "a field of a later version": (
        CHAT.with_spec(gateway={"type": "NGINX"}),
        "InvalidSpec",
        "spec.gateway is not a field that this version of the operator supports",
    ),
    "a value out of bounds": (
        CHAT.spread_over(tensor=99),
        "InvalidSpec",
        "spec.parallelism.tensor is 99: input should be less than or equal to 16",
    ),
    "an unknown choice": (
        CHAT.with_spec(quantization={"method": "int3"}),
        "InvalidSpec",
        "spec.quantization.method is \"int3\": input should be 'auto', 'none', 'fp8', 'int8', 'int4', 'awq' or 'gptq'",
    ),
    "a name too long": (
        a_service("n" * 51),
        "InvalidSpec",
        "metadata.name has 51 characters; the maximum is 50, because the names of pods are longer",
    ),
    "an address that is no repository": (
        CHAT.from_source("https://example.com/model.safetensors"),
        "UnsupportedSource",
        "spec.model.source is 'https://example.com/model.safetensors': an https source must be https://HOST/ORG/NAME, "
        "a repository of the hub at that host",
    ),
    "a draft model at an address that is no repository": (
        CHAT.from_source("https://example.com/org/name", "main").with_spec(
            engine={"speculative": {"method": "draft", "model": "https://example.com/draft"}}
        ),
        "UnsupportedSource",
        "spec.engine.speculative.model is 'https://example.com/draft': an https source must be https://HOST/ORG/NAME, "
        "a repository of the hub at that host",
    ),
    "a cache larger than the memory": (
        CHAT.on_cpu().with_spec(engine={"kvCacheMemory": "8Gi"}, resources={"memory": "8Gi"}),
        "TooLittleMemory",
        "spec.resources.memory 8Gi is too small: the KV cache takes engine.kvCacheMemory 8Gi x tensor 1 = 8Gi, and "
        "the engine and the weights need memory too; request 12Gi or more, or a smaller cache",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_spec_that_makes_no_sense_is_refused_and_nothing_written(name: str) -> None:
    service, reason, message = REFUSED[name]
    scene = a_scene(service)
    assert verdict(scene) == ("False", reason, message)
    made = scene.plan()
    assert writes(made) == []
    assert condition(made, "Ready")["reason"] == condition(made, "Stalled")["reason"] == reason
    assert condition(made, "Reconciling") == {}


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "a name too long"])
def test_what_runs_goes_on_and_a_corrected_spec_too(name: str) -> None:
    service, *_ = REFUSED[name]
    before = a_scene(a_service().with_replicas(1)).settled().with_pods(a_pod().ready()).settled()
    wrong = before.with_spec(**service.build()["spec"])
    made = wrong.plan()
    assert writes(made) == []
    assert condition(made, "Accepted")["status"] == "False"
    assert condition(made, "Serving")["status"] == "True"
    assert made.status is not None and made.status["gpus"] == 1
    right = wrong.applied().with_spec()
    right.service["spec"] = before.service["spec"]
    assert condition(right.plan(), "Ready")["status"] == "True"


FOUR_HEADS = {"attentionHeads": 4, "keyValueHeads": 2, "layers": 4}


@pytest.mark.parametrize(
    ("tensor", "facts", "message"),
    [
        (3, FOUR_HEADS, "4 attention heads can't be divided by tensor: 3 (4 / 3 is not an integer); use 1, 2 or 4"),
        (8, FOUR_HEADS, "4 attention heads can't be divided by tensor: 8 (4 / 8 is not an integer); use 1, 2 or 4"),
        (
            4,
            {"attentionHeads": 12, "keyValueHeads": 6},
            "6 key and value heads can be neither divided by tensor: 4 nor copied to each "
            "(6 / 4 and 4 / 6 are not integers); use 1, 2, 3, 6 or 12",
        ),
        (
            2,
            {"attentionHeads": 7, "keyValueHeads": 1},
            "7 attention heads can't be divided by tensor: 2 (7 / 2 is not an integer); use 1 or 7",
        ),
    ],
)
def test_heads_are_shared_with_the_arithmetic(tensor: int, facts: dict[str, int], message: str) -> None:
    scene = with_model(CHAT.spread_over(tensor=tensor), **facts)
    assert verdict(scene) == ("False", "HeadsNotDivisible", message)
    assert writes(scene.plan()) == []


@pytest.mark.parametrize("tensor", [1, 2, 4])
def test_heads_that_can_be_shared_are(tensor: int) -> None:
    assert verdict(with_model(CHAT.spread_over(tensor=tensor), **FOUR_HEADS))[0] == "True"


def test_one_key_value_head_is_copied_to_every_device() -> None:
    assert verdict(with_model(CHAT.spread_over(tensor=8), attention_heads=32, key_value_heads=1))[0] == "True"


def test_a_pipeline_needs_a_layer_for_each_stage() -> None:
    assert verdict(with_model(CHAT.spread_over(pipeline=5), **FOUR_HEADS))[1:] == (
        "TooFewLayers",
        "4 layers can't be split into pipeline: 5 stages; use at most 4",
    )
    assert verdict(with_model(CHAT.spread_over(pipeline=4), **FOUR_HEADS))[0] == "True"


@pytest.mark.parametrize(
    ("method", "stored", "fits"),
    [
        ("auto", "awq", True),
        ("none", None, True),
        ("none", "awq", False),
        ("fp8", None, True),
        ("fp8", "fp8", True),
        ("fp8", "gptq", False),
        ("int8", "compressed-tensors", True),
        ("int8", None, False),
        ("int4", "awq", False),
        ("awq", "awq", True),
        ("awq", "gptq", False),
        ("gptq", "gptq", True),
    ],
)
def test_a_method_must_go_with_the_checkpoint(method: str, stored: str | None, fits: bool) -> None:
    facts = {} if stored is None else {"quantization": stored}
    status, reason, message = verdict(with_model(CHAT.with_spec(quantization={"method": method}), **facts))
    assert (status == "True") is fits
    if not fits:
        assert reason == "QuantizationMismatch"
        assert (stored or "16 bits") in message


@pytest.mark.parametrize(("kind", "name"), [("Service", "chat"), ("StatefulSet", "chat"), ("Service", "chat-headless")])
def test_an_object_of_somebody_else_is_never_touched(kind: str, name: str) -> None:
    owner = {"kind": "Website", "name": "shop", "uid": "w1", "controller": True}
    there = {"kind": kind, "metadata": {"name": name, "namespace": "team-a", "uid": "f", "ownerReferences": [owner]}}
    scene = a_scene().with_children(there)
    assert verdict(scene) == (
        "False",
        "NameTaken",
        f"{kind} {name} already exists and is owned by Website shop; the operator does not change it; "
        "delete or rename it, or give this LLMService another name",
    )
    assert writes(scene.plan()) == []


def test_an_object_of_nobody_is_not_touched_either() -> None:
    there = {"kind": "Service", "metadata": {"name": "chat", "namespace": "team-a", "uid": "f"}}
    assert verdict(a_scene().with_children(there))[1] == "NameTaken"


def test_an_own_object_that_lost_its_owner_is_taken_back() -> None:
    scene = a_scene().settled()
    scene.child("StatefulSet")["metadata"].pop("ownerReferences")
    made = scene.plan()
    assert condition(made, "Accepted")["status"] == "True"
    assert leader(made)["metadata"]["ownerReferences"][0]["uid"] == "uid-chat"


def test_children_of_a_deleted_service_of_the_same_name_are_waited_for() -> None:
    old = a_scene().settled()
    new = a_scene(a_service(uid="uid-new")).with_children(*old.children)
    status, reason, _ = verdict(new)
    assert (status, reason) == ("Unknown", "WaitingForCleanup")
    made = new.plan()
    assert writes(made) == []
    assert condition(made, "Reconciling")["reason"] == "WaitingForCleanup"


def test_a_service_account_needs_the_platforms_leave() -> None:
    service = CHAT.with_spec(serviceAccountName="reader")
    scene = a_scene(service)
    status, reason, message = verdict(scene)
    assert (status, reason) == ("False", "ServiceAccountNotAllowed")
    assert "team-a/reader" in message
    assert writes(scene.plan()) == []
    elsewhere = Platform(allowed=Allowed(service_accounts=("team-b/reader", "team-a/reader2")))
    assert verdict(a_scene(service).on(elsewhere))[1] == "ServiceAccountNotAllowed"
    assert verdict(a_scene(service).on(Platform(allowed=Allowed(service_accounts=("team-a/reader",)))))[0] == "True"


SOURCES = Allowed(sources=("hf://meta/", "pvc://", "https://hub.example.com/"))


@pytest.mark.parametrize(
    "source", ["hf://meta/a", "pvc://models/chat", "https://hub.example.com/org/a", "https://HUB.example.com/o/a"]
)
def test_a_source_that_the_platform_lists_is_read(source: str) -> None:
    found = verdict(a_scene(CHAT.from_source(source)).on(Platform(allowed=SOURCES)))
    assert found[1] != "SourceNotAllowed"


@pytest.mark.parametrize(
    "source",
    [
        "hf://other/a",
        "hf://metaphor/a",
        "s3://bucket/a",
        "https://attacker.example/a/b",
        "https://hub.example.com:8443/org/a",
        "https://hub.example.com.attacker.example/a/b",
    ],
)
def test_no_job_is_made_for_another_source(source: str) -> None:
    scene = a_scene(CHAT.from_source(source).spread_over(tensor=2)).on(Platform(allowed=SOURCES))
    status, reason, message = verdict(scene)
    assert (status, reason) == ("False", "SourceNotAllowed")
    assert source in message
    assert writes(scene.plan()) == []


def test_a_store_that_the_platform_does_not_list_is_not_used() -> None:
    service = CHAT.with_keys(rateLimits={"store": {"address": "Valkey.store:6379", "credentialsRef": {"name": "any"}}})
    for stores, reason in (
        (None, "Accepted"),
        (("valkey.store:6379",), "Accepted"),
        (("valkey.store:63790",), "StoreNotAllowed"),
    ):
        assert verdict(a_scene(service).on(Platform(allowed=Allowed(stores=stores))))[1] == reason


def test_an_argument_of_vllm_that_may_not_be_set_is_refused_with_the_field_to_set() -> None:
    found = condition(a_scene(CHAT.with_spec(engine={"extraArgs": {"max-model-length": 4096}})).plan(), "Accepted")
    assert (found["status"], found["reason"]) == ("False", "InvalidSetting")
    assert "spec.engine.extraArgs" in found["message"] and "spec.model.maxContextLength" in found["message"]


def test_a_variable_that_may_not_be_set_is_refused() -> None:
    refused = a_scene(CHAT.with_spec(engine={"env": {"LD_PRELOAD": "x"}}))
    assert verdict(refused)[:2] == ("False", "InvalidSetting")
    assert writes(refused.plan()) == []
    assert verdict(a_scene(CHAT.with_spec(engine={"env": {"NCCL_DEBUG": "INFO"}})))[0] == "True"


@pytest.mark.parametrize(
    ("allowed", "reason"),
    [
        (Allowed(), "Accepted"),
        (Allowed(extra_args=("block-size",), engine_env=("NCCL_DEBUG",)), "Accepted"),
        (Allowed(extra_args=()), "EngineArgumentNotAllowed"),
        (Allowed(extra_args=("enable-dbo",)), "EngineArgumentNotAllowed"),
        (Allowed(extra_args_except=("block-size",)), "EngineArgumentNotAllowed"),
        (Allowed(engine_env=()), "EngineArgumentNotAllowed"),
        (Allowed(engine_env_except=("NCCL_DEBUG",)), "EngineArgumentNotAllowed"),
    ],
)
def test_a_platform_shortens_the_lists(allowed: Allowed, reason: str) -> None:
    service = CHAT.with_spec(engine={"extraArgs": {"block-size": 32}, "env": {"NCCL_DEBUG": "INFO"}})
    found = verdict(a_scene(service).on(Platform(allowed=allowed)))
    assert (found[0] == "True") is (reason == "Accepted")
    assert reason == "Accepted" or found[1] == reason


@pytest.mark.parametrize(
    ("engine", "field", "expected"),
    [
        ({"toolCallParser": "hermez"}, "spec.engine.toolCallParser", "hermes"),
        ({"reasoningParser": "qwen33"}, "spec.engine.reasoningParser", "qwen3"),
        (
            {"chatTemplate": {"builtin": "template_chat.jinja"}},
            "spec.engine.chatTemplate.builtin",
            "template_chatml.jinja",
        ),
        ({"hfOverrides": '{"auto_map": {}}'}, "spec.engine.hfOverrides", "auto_map"),
        ({"hfOverrides": "{a}"}, "spec.engine.hfOverrides", "JSON object"),
    ],
)
def test_what_vllm_does_not_know_is_refused(engine: dict[str, Any], field: str, expected: str) -> None:
    found = condition(a_scene(CHAT.with_spec(engine=engine)).plan(), "Accepted")
    assert (found["status"], found["reason"]) == ("False", "InvalidSetting")
    assert field in found["message"] and expected in found["message"]


@pytest.mark.parametrize(
    "engine", [{"toolCallParser": "none", "reasoningParser": "none"}, {"toolCallParser": "hermes"}]
)
def test_a_parser_of_vllm_or_none_is_accepted(engine: dict[str, Any]) -> None:
    assert verdict(a_scene(CHAT.with_spec(engine=engine)))[0] == "True"


def test_offloaded_keys_and_values_fit_into_shared_memory() -> None:
    spec = {"engine": {"kvOffloadMemory": "64Gi"}}
    assert verdict(a_scene(CHAT.with_spec(**spec)))[0] == "True"
    assert verdict(a_scene(CHAT.with_spec(**spec, resources={"sharedMemory": "32Gi"})))[1] == "TooLittleMemory"
    assert verdict(a_scene(CHAT.with_spec(**spec, resources={"sharedMemory": "70Gi"})))[0] == "True"


CLAIMING = CHAT.with_spec(accelerator={"deviceClassName": "gpu.example.com"})
WITH_CLAIMS = Platform(device_claims=True)


def test_devices_are_claimed_only_where_the_api_server_has_claims() -> None:
    older = a_scene(CLAIMING).on(Platform(device_claims=False))
    status, reason, message = verdict(older)
    assert (status, reason) == ("False", "DeviceClaimsUnsupported")
    assert "gpu.example.com" in message and "1.34" in message
    assert writes(older.plan()) == []
    assert verdict(a_scene(CLAIMING).on(WITH_CLAIMS))[0] == "True"


@pytest.mark.parametrize(
    ("classes", "reason"), [((), "DeviceClassNotAllowed"), (("gpu.nvidia.com",), "DeviceClassNotAllowed")]
)
def test_a_device_class_that_the_platform_does_not_list_is_refused(classes: tuple[str, ...], reason: str) -> None:
    platform = Platform(device_claims=True, allowed=Allowed(device_classes=classes))
    found = verdict(a_scene(CLAIMING).on(platform))
    assert found[:2] == ("False", reason)
    assert "gpu.example.com" in found[2] and (not classes or classes[0] in found[2])
    assert verdict(a_scene(CHAT).on(platform))[0] == "True"
    listed = Platform(device_claims=True, allowed=Allowed(device_classes=("gpu.example.com",)))
    assert verdict(a_scene(CLAIMING).on(listed))[0] == "True"


def test_selectors_of_devices_need_the_platforms_leave() -> None:
    selecting = CLAIMING.with_spec(accelerator={"deviceSelectors": ["true"]})
    assert verdict(a_scene(selecting).on(WITH_CLAIMS))[1] == "DeviceClassNotAllowed"
    allowing = Platform(device_claims=True, allowed=Allowed(device_selectors=True))
    assert verdict(a_scene(selecting).on(allowing))[0] == "True"
