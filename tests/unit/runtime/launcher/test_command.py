"""What vLLM is started with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders.engine_values import ELSEWHERE, EVERY
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.engine_arguments import ARGUMENTS, Handling, ruling
from llmservice_contract.engine_settings import MODEL_REVISION, SETTINGS
from llmservice_contract.metrics import BUCKETS
from llmservice_contract.setting import Setting, Target
from llmservice_runtime.launcher.command import Command, make_command
from llmservice_runtime.launcher.settings import Parsers, WrongSettings, read_settings


def command(quantization: str | None = None, inherited: dict[str, str] | None = None, **environ: str) -> Command:
    settings = read_settings(({} if "MODEL_SOURCE" in environ else {"MODEL_NAME": "/models/tiny"}) | environ)
    return make_command(settings, quantization, "safetensors", inherited or {})


def flag(made: Command, name: str) -> str | None:
    return made.arguments[made.arguments.index(name) + 1] if name in made.arguments else None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"AWS_ACCESS_KEY_ID": "id"}, None),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, "0"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, "0"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ACCESS_KEY_ID": "id"}, None),
    ],
)
def test_weights_are_streamed_with_the_role_by_the_client_that_the_inspection_uses(
    variables: dict[str, str], expected: str | None
) -> None:
    assert command(inherited=variables).environment.get("RUNAI_STREAMER_NO_BOTO3_SESSION") == expected


def test_what_is_absent_gets_no_flag() -> None:
    assert command().arguments == (
        *("serve", "/models/tiny", "--port", "8000"),
        *("--middleware", "llmservice_runtime.gateway.Gateway", "--api-server-count", "1"),
        *("--disable-fastapi-docs", "--disable-uvicorn-access-log"),
        *("--h11-max-incomplete-event-size", "65536", "--h11-max-header-count", "128"),
        *("--allowed-origins", "[]", "--allowed-media-domains", "none.invalid"),
        *("--tensor-parallel-size", "1", "--pipeline-parallel-size", "1"),
        *("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":"))),
        *("--load-format", "safetensors"),
    )


PASSED = [row for row in SETTINGS if row.passing.target in (Target.ENGINE, Target.SERVER, Target.VARIABLE)]


@pytest.mark.parametrize("row", PASSED, ids=lambda row: row.name)
def test_vllm_gets_each_setting_whose_row_names_a_flag_or_variable(row: Setting[Any]) -> None:
    """By the table alone: for whatever row is added."""
    text, value = (EVERY | ELSEWHERE)[row.name]
    environ = {row.name: text}
    if AcceleratorType.NVIDIA not in row.devices:
        environ["ACCELERATOR_TYPE"] = "cpu"
    if row is MODEL_REVISION:
        environ["MODEL_SOURCE"] = "org/name"
    made = command(**environ)
    if row.passing.target is Target.VARIABLE:
        assert [made.environment[name] for name in row.passing.names] == [text]
    else:
        assert row.arguments(value)
        assert " ".join(row.arguments(value)) in " ".join(made.arguments)


@pytest.mark.parametrize(
    ("variable", "value", "argument", "given"),
    [
        ("MAX_CONTEXT_LENGTH", "8192", "--max-model-len", "8192"),
        ("MAX_BATCH_SIZE", "64", "--max-num-seqs", "64"),
        ("MAX_NUM_BATCHED_TOKENS", "4096", "--max-num-batched-tokens", "4096"),
        ("GPU_MEMORY_UTILIZATION", "0.90", "--gpu-memory-utilization", "0.9"),
        ("KV_CACHE_DTYPE", "fp8", "--kv-cache-dtype", "fp8"),
        ("TENSOR_PARALLEL_SIZE", "4", "--tensor-parallel-size", "4"),
        ("PIPELINE_PARALLEL_SIZE", "2", "--pipeline-parallel-size", "2"),
        ("ATTENTION_BACKEND", "flash", "--attention-backend", "FLASH_ATTN"),
        ("ATTENTION_BACKEND", "flashinfer", "--attention-backend", "FLASHINFER"),
        ("ENABLE_FLASH_ATTENTION", "false", "--attention-backend", "TRITON_ATTN"),
        ("PORT", "9000", "--port", "9000"),
        ("OTLP_TRACES_ENDPOINT", "http://jaeger:4317", "--otlp-traces-endpoint", "http://jaeger:4317"),
    ],
)
def test_each_variable_has_its_flag(variable: str, value: str, argument: str, given: str) -> None:
    assert flag(command(**{variable: value}), argument) == given


def test_the_buckets_are_the_same_whatever_is_served() -> None:
    given = {
        flag(command(**environ), "--custom-histogram-buckets")
        for environ in ({}, {"ACCELERATOR": "cpu"}, {"MODEL_NAME": "s3://bucket/tiny"}, {"MAX_BATCH_SIZE": "64"})
    }
    assert len(given) == 1


def test_automatic_attention_gets_no_flag() -> None:
    assert flag(command(ATTENTION_BACKEND="auto", ENABLE_FLASH_ATTENTION="true"), "--attention-backend") is None


def test_prefix_caching_is_switched_only_when_asked() -> None:
    assert "--enable-prefix-caching" in command(ENABLE_PREFIX_CACHING="true").arguments
    assert "--no-enable-prefix-caching" in command(ENABLE_PREFIX_CACHING="false").arguments


def test_chunked_prefill_is_switched_both_ways() -> None:
    assert "--enable-chunked-prefill" in command(ENABLE_CHUNKED_PREFILL="true").arguments
    assert "--no-enable-chunked-prefill" in command(ENABLE_CHUNKED_PREFILL="false").arguments


def speculative(**environ: str) -> object:
    given = flag(command(**environ), "--speculative-config")
    return given and json.loads(given)


def test_speculative_decoding_becomes_vllms_config() -> None:
    assert speculative() is None
    assert speculative(SPECULATIVE_METHOD="ngram") == {"method": "ngram", "num_speculative_tokens": 4}
    draft = {"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "/models/draft", "NUM_SPECULATIVE_TOKENS": "3"}
    hub = {"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "org/small", "MODEL_NAME": "org/large"}
    assert speculative(**hub, ENGINE_SPECULATIVE_REVISION="a" * 40)["revision"] == "a" * 40
    assert "revision" not in speculative(**hub)
    assert speculative(**draft, TENSOR_PARALLEL_SIZE="2") == {
        "method": "draft_model",
        "model": "/models/draft",
        "num_speculative_tokens": 3,
        "draft_tensor_parallel_size": 2,
    }


def test_the_runtimes_plugins_are_loaded_and_what_was_named_before() -> None:
    assert command().environment["VLLM_PLUGINS"] == "llmservice"
    assert command(inherited={"VLLM_PLUGINS": ""}).environment["VLLM_PLUGINS"] == "llmservice"
    inherited = {"VLLM_PLUGINS": "lora_filesystem_resolver,llmservice"}
    assert command(inherited=inherited).environment["VLLM_PLUGINS"] == "lora_filesystem_resolver,llmservice"


def tracing(inherited: dict[str, str] | None = None, **environ: str) -> dict[str, str]:
    environment = command(inherited=inherited, **environ).environment
    return {name: value for name, value in environment.items() if name.startswith("OTEL_")}


def test_traces_go_where_they_should_at_the_asked_rate() -> None:
    assert tracing() == {}
    assert tracing(
        OTLP_TRACES_ENDPOINT="http://jaeger:4317", SERVED_MODEL_NAMES="chat,chat-8b", TRACE_SAMPLING="0.1"
    ) == {
        "OTEL_SERVICE_NAME": "chat",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    }
    by_http = tracing({"OTEL_SERVICE_NAME": "mine"}, OTLP_TRACES_ENDPOINT="https://otel.example/v1/traces")
    assert (by_http["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"], by_http["OTEL_SERVICE_NAME"]) == ("http/protobuf", "mine")
    assert by_http["OTEL_TRACES_SAMPLER_ARG"] == "1.0"


def test_all_served_names_are_given() -> None:
    arguments = command(SERVED_MODEL_NAMES="chat,chat-8b").arguments
    at = arguments.index("--served-model-name")
    assert arguments[at + 1 : at + 3] == ("chat", "chat-8b")


def test_a_revision_holds_for_weights_and_tokenizer() -> None:
    made = command(MODEL_NAME="Qwen/Qwen3-8B", MODEL_REVISION="0e9e39f2")
    assert (flag(made, "--revision"), flag(made, "--tokenizer-revision")) == ("0e9e39f2", "0e9e39f2")


def test_a_directory_is_served_without_a_hub() -> None:
    assert command().environment["HF_HUB_OFFLINE"] == "1"
    assert command(MODEL_NAME="s3://bucket/llms/tiny").environment["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in command(MODEL_NAME="Qwen/Qwen3-8B").environment


def test_another_hub_is_asked_at_its_own_address() -> None:
    made = command(MODEL_NAME="https://hub.example/Qwen/Qwen3-8B")
    assert made.arguments[1] == "Qwen/Qwen3-8B"
    assert made.environment["HF_ENDPOINT"] == "https://hub.example"


def test_a_form_of_the_weights_is_always_named() -> None:
    settings = read_settings({"MODEL_NAME": "s3://bucket/tiny"})
    made = make_command(settings, None, "runai_streamer", {})
    assert (made.arguments[1], flag(made, "--load-format")) == ("s3://bucket/tiny", "runai_streamer")


def test_a_cpu_gets_a_cache_of_known_size_and_no_compilation() -> None:
    made = command(ACCELERATOR="cpu")
    assert "--enforce-eager" in made.arguments
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert made.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert made.environment["TORCH_COMPILE_DISABLE"] == "1", "the image has no C++ compiler"
    assert command(ACCELERATOR="cpu", CPU_KV_CACHE_GIB="4").environment["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert "VLLM_CPU_KVCACHE_SPACE" not in command().environment


def test_vllm_waits_for_its_engine_as_long_as_the_startup_budget() -> None:
    assert command(STARTUP_BUDGET_SECONDS="900").environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "900"


def test_development_routes_and_by_passes_never_reach_vllm() -> None:
    inherited = {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_USE_RUST_FRONTEND": "1",
        "VLLM_PORT": "tcp://10.0.0.1:80",
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "1",
        "KEPT": "1",
    }
    environment = command(inherited=inherited).environment
    assert environment.keys() & inherited.keys() == {"KEPT"}
    assert environment["KEPT"] == "1"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert not any("trust" in argument for argument in command(inherited=inherited).arguments)


NODES = {"TENSOR_PARALLEL_SIZE": "4", "NODES_PER_REPLICA": "2", "MASTER_ADDRESS": "chat-0-0.chat"}


def test_rank_0_of_several_nodes_has_the_server() -> None:
    plain, first = command(TENSOR_PARALLEL_SIZE="4").arguments, command(**NODES).arguments
    meeting = ("--nnodes", "2", "--master-addr", "chat-0-0.chat", "--master-port", "29501", "--node-rank", "0")
    assert first == plain + meeting


def test_the_other_ranks_compute_alone() -> None:
    second = command(**NODES, NODE_RANK="1", SERVED_MODEL_NAMES="chat", ACCELERATOR="cpu")
    assert second.arguments == (
        *("serve", "/models/tiny", "--served-model-name", "chat", "--tensor-parallel-size", "4"),
        *("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":")), "--load-format", "safetensors"),
        *("--nnodes", "2", "--master-addr", "chat-0-0.chat", "--master-port", "29501", "--enforce-eager"),
        *("--node-rank", "1", "--headless"),
    )


def test_all_ranks_share_all_but_the_server_and_their_number() -> None:
    first, second = command(**NODES), command(**NODES, NODE_RANK="1")
    assert first.shared == second.shared
    assert second.arguments == (*second.shared, "--node-rank", "1", "--headless")
    assert first.environment == second.environment


def test_media_are_fetched_from_listed_domains_alone() -> None:
    made = command(MEDIA_DOMAINS="a.example,b.example", PLATFORM_MEDIA_DOMAINS="c.example")
    at = made.arguments.index("--allowed-media-domains")
    assert made.arguments[at + 1 : at + 4] == ("a.example", "b.example", "c.example")
    assert made.arguments[at + 4].startswith("--")
    assert made.environment["VLLM_MEDIA_CONNECTOR"] == "llmservice"
    assert "VLLM_MEDIA_CONNECTOR" not in command(inherited={"VLLM_MEDIA_CONNECTOR": "other"}).environment
    assert not {"--allowed-local-media-path", "--trust-request-mm-kwargs"} & {*made.arguments}
    assert made.environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_the_role_of_the_node_stays_unused_whatever_is_inherited() -> None:
    made = command(inherited={"AWS_EC2_METADATA_DISABLED": "false", "GCE_METADATA_HOST": "169.254.169.254"})
    assert made.environment["AWS_EC2_METADATA_DISABLED"] == "true"
    assert made.environment["NO_GCE_CHECK"] == "true"
    assert made.environment["GCE_METADATA_HOST"] == "none.invalid"


def test_extra_arguments_are_given_to_the_ranks_that_need_them() -> None:
    extra = json.dumps({"block-size": "32", "enable-dbo": "true", "response-role": "bot"})
    first = command(ENGINE_EXTRA_ARGS=extra)
    assert "--block-size 32 --enable-dbo" in " ".join(first.arguments)
    assert flag(first, "--response-role") == "bot"
    nodes = {"PARALLELISM_NODES_PER_REPLICA": "2", "PARALLELISM_TENSOR": "2", "MASTER_ADDRESS": "a", "NODE_RANK": "1"}
    second = command(ENGINE_EXTRA_ARGS=extra, **nodes)
    assert flag(second, "--block-size") == "32" and flag(second, "--response-role") is None
    assert first.shared == command(ENGINE_EXTRA_ARGS=extra).shared


def test_a_cpu_engine_stays_eager_unless_it_is_said() -> None:
    assert "--enforce-eager" in command(ACCELERATOR="cpu").arguments
    switched = command(ACCELERATOR="cpu", ENGINE_EXTRA_ARGS='{"enforce-eager":"false"}').arguments
    assert "--no-enforce-eager" in switched and "--enforce-eager" not in switched


def test_the_runtime_refuses_arguments_by_itself() -> None:
    for name in ("trust-remote-code", "middleware", "max-num-seqs", "no-such"):
        with pytest.raises(WrongSettings, match=name):
            command(ENGINE_EXTRA_ARGS=json.dumps({name: "1"}))


def test_the_number_of_extra_arguments_and_their_lengths_are_bounded() -> None:
    switches = [
        name
        for name, argument in sorted(ARGUMENTS.items())
        if argument.kind == "switch" and (found := ruling(name)) is not None and found.handling is Handling.EXTRA
    ]
    command(ENGINE_EXTRA_ARGS=json.dumps(dict.fromkeys(switches[:32], "true")))
    for beyond in (dict.fromkeys(switches[:33], "true"), {"x" * 65: "1"}, {"response-role": "x" * 1025}):
        with pytest.raises(WrongSettings, match="32 names of at most 64 characters, each with a text of at most 1024"):
            command(ENGINE_EXTRA_ARGS=json.dumps(beyond))


def test_parsers_are_given_to_the_server_alone() -> None:
    settings = read_settings({"MODEL_NAME": "/models/tiny"})
    made = make_command(settings, None, "safetensors", {}, Parsers("hermes", "qwen3"))
    assert flag(made, "--tool-call-parser") == "hermes" and "--enable-auto-tool-choice" in made.arguments
    assert flag(made, "--reasoning-parser") == "qwen3"
    assert "hermes" not in made.shared
    without = make_command(settings, None, "safetensors", {}, Parsers(None, "qwen3"))
    assert "--enable-auto-tool-choice" not in without.arguments


@pytest.mark.parametrize(
    ("environ", "arguments"),
    [
        ({"MODEL_FORMAT": "mistral"}, "--config-format mistral --tokenizer-mode mistral"),
        ({"MODEL_FORMAT": "hf"}, "--config-format hf"),
        (
            {"ENGINE_MULTIMODAL_LIMITS_IMAGE": "2", "ENGINE_MULTIMODAL_LIMITS_VIDEO": "0"},
            '--limit-mm-per-prompt {"image":2,"video":0}',
        ),
        ({"ENGINE_STRUCTURED_OUTPUTS_BACKEND": "guidance"}, '--structured-outputs-config {"backend":"guidance"}'),
        ({"ENGINE_HF_OVERRIDES": '{"a":\n {"b": 1}}'}, '--hf-overrides {"a":{"b":1}}'),
        ({"KV_OFFLOAD_GIB": "64"}, "--kv-offloading-size 64"),
        ({"KV_OFFLOAD_GIB": "30", "PARALLELISM_DATA": "4"}, "--kv-offloading-size 7.5"),
        ({"PARALLELISM_DATA": "4"}, "--data-parallel-size 4"),
        ({"PARALLELISM_EXPERT_PARALLEL": "true"}, "--enable-expert-parallel"),
        ({"CHAT_TEMPLATE": "/chat-template/x.jinja"}, "--chat-template /chat-template/x.jinja"),
    ],
)
def test_settings_that_are_composed_have_their_flags(environ: dict[str, str], arguments: str) -> None:
    assert arguments in " ".join(command(**environ).arguments)


@pytest.mark.parametrize(
    "text",
    [
        '{"auto_map": {}}',
        '{"text_config": [{"trust_remote_code": true}]}',
        '{"speculators_config": {}}',
        '{"_name_or_path": "a/b"}',
        '{"name_or_path": "a/b"}',
        '{"attribute_map": {"x": "_name_or_path"}, "x": "a/b"}',
        '{"text_model_id": "a/b"}',
        '{"thinker": {"audio_model_id": "/elsewhere"}}',
        '{"quantization_config_file": "/etc/passwd"}',
        '{"vision_config": {"use_pretrained_backbone": true}}',
        '{"__class__": "x"}',
        '{"a": {"custom_pipelines": {}}}',
        json.dumps({"a": "x" * 4096}),
        '{"a":' * 9 + "1" + "}" * 9,
        "[]",
        "{",
        "1",
    ],
)
def test_overrides_name_neither_code_nor_other_models(text: str) -> None:
    with pytest.raises(WrongSettings, match="ENGINE_HF_OVERRIDES"):
        command(ENGINE_HF_OVERRIDES=text)


@pytest.mark.parametrize(
    "text",
    [
        '{"rope_parameters":{"rope_type":"yarn","factor":4.0}}',
        '{"architectures":["Qwen2ForCausalLM"],"drop_path_rate":0.1,"pad_token_id":0,"model_type":"llama"}',
        '{"quantization_config":{"quant_method":"fp8"}}',
    ],
)
def test_overrides_of_other_values_are_taken(text: str) -> None:
    assert f"--hf-overrides {text}" in " ".join(command(ENGINE_HF_OVERRIDES=text).arguments)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ENGINE_TOOL_CALL_PARSER", "hermez", "hermes"),
        ("ENGINE_REASONING_PARSER", "qwen33", "qwen3"),
        ("CHAT_TEMPLATE", "template_chat.jinja", "template_chatml.jinja"),
    ],
)
def test_a_name_that_vllm_does_not_know_is_refused_with_the_nearest(variable: str, value: str, expected: str) -> None:
    with pytest.raises(WrongSettings, match=expected):
        command(**{variable: value})


def test_heads_and_layers_for_speculation_become_vllms_config() -> None:
    assert speculative(SPECULATIVE_METHOD="mtp", NUM_SPECULATIVE_TOKENS="1") == {
        "method": "mtp",
        "num_speculative_tokens": 1,
    }
    head = {"SPECULATIVE_METHOD": "eagle3", "SPECULATIVE_MODEL": "/models/head"}
    assert speculative(**head)["method"] == "eagle3"
    assert speculative(**head)["model"] == "/models/head"
    for wrong in ({"SPECULATIVE_METHOD": "eagle"}, head | {"SPECULATIVE_METHOD": "mtp"}):
        with pytest.raises(WrongSettings):
            command(**wrong)
