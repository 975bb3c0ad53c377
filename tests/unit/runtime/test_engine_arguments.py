"""What a service's author may say to vLLM beyond the fields."""

from __future__ import annotations

from collections import Counter

import pytest

from llmservice_contract import engine_arguments
from llmservice_contract.engine_arguments import (
    ARGUMENTS,
    LONGEST_VALUE,
    VARIABLES,
    Handling,
    check_argument,
    check_variable,
    ruled,
    ruling,
    vllm_arguments,
)
from llmservice_contract.engine_settings import BY_FIELD, SETTINGS
from llmservice_contract.setting import Target


def test_every_argument_of_vllm_has_one_ruling() -> None:
    rulings = Counter(ruled())
    assert set(ARGUMENTS) - set(rulings) == set(), "new arguments of vLLM: give each a ruling in engine_arguments.py"
    assert set(rulings) - set(ARGUMENTS) == set(), "vLLM has these no more"
    assert [name for name, count in rulings.items() if count > 1] == []


def test_an_argument_that_a_row_passes_is_ruled_to_be_of_its_field() -> None:
    wrong = {
        name: (row.field, ruling(name))
        for row in SETTINGS
        if row.passing.target in (Target.ENGINE, Target.SERVER)
        for name in (flag.removeprefix("--") for flag in row.passing.names)
        if (found := ruling(name)) is None
        or found.handling is Handling.EXTRA
        or (found.handling is Handling.FIELD and found.why != row.field)
    }
    assert wrong == {}


def test_a_ruling_names_fields_that_there_are() -> None:
    fields = {each.why for name in ARGUMENTS if (each := ruling(name)) and each.handling is Handling.FIELD}
    known = {
        *BY_FIELD,
        "spec.engine.speculative",
        "spec.engine.multimodalLimits",
        "spec.access.allowedOrigins",
        "spec.access.apiKeys",
        "spec.access.caps.logprobs",
    }
    assert fields - known == {"spec.model.credentialsRef"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blok-size", "block-size"),
        ("block_size", "block-size"),
        ("--block-size", "block-size"),
        ("no-enable-dbo", 'enable-dbo: "false"'),
        ("tp", "spec.parallelism.tensor"),
        ("max_num_seqs", "spec.engine.maxNumSeqs"),
        ("max-num-seqs", "spec.engine.maxNumSeqs"),
        ("max-model-length", "spec.model.maxContextLength"),
        ("trust-remote-code", "code"),
        ("middleware", "gateway"),
        ("port", "port"),
        ("zzzzzzzzzz", "remove"),
    ],
)
def test_a_name_that_may_not_be_set_is_refused_with_what_to_do(name: str, expected: str) -> None:
    refusal = check_argument(name, "32")
    assert refusal is not None
    assert expected in f"{refusal.message} {refusal.fix}"
    assert len(refusal.message) < 400


OPENS_HOLES = """
    trust-remote-code middleware tool-parser-plugin reasoning-parser-plugin io-processor-plugin logits-processors
    worker-cls worker-extension-cls scheduler-cls kv-transfer-config ec-transfer-config api-key host port uds
    ssl-keyfile config download-dir allowed-local-media-path hf-config-path tokenizer chat-template lora-modules
    enable-log-requests enable-log-outputs profiler-config compilation-config additional-config
    model-loader-extra-config enable-prompt-embeds trust-request-chat-template weight-transfer-config tool-server
    model-class-overrides hf-token root-path log-config-file logging-config code-revision load-format grpc
    data-parallel-size device-ids headless
"""


@pytest.mark.parametrize("name", OPENS_HOLES.split())
def test_what_would_open_a_hole_is_refused_whatever_its_value(name: str) -> None:
    for value in ("true", "1", "auto", "{}"):
        assert check_argument(name, value) is not None


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if "path" in name or "-cls" in name or "plugin" in name])
def test_nothing_that_is_called_a_path_class_or_plugin_can_be_set(name: str) -> None:
    found = ruling(name)
    assert found is not None and found.handling is not Handling.EXTRA


@pytest.mark.parametrize(
    ("name", "value", "arguments"),
    [
        ("block-size", "32", ("--block-size", "32")),
        ("enable-dbo", "true", ("--enable-dbo",)),
        ("enable-dbo", "false", ("--no-enable-dbo",)),
        ("aggregate-engine-logging", "true", ("--aggregate-engine-logging",)),
        ("mm-encoder-tp-mode", "data", ("--mm-encoder-tp-mode", "data")),
        ("cudagraph-capture-sizes", "1 2 4", ("--cudagraph-capture-sizes", "1", "2", "4")),
        ("mm-processor-kwargs", '{"max_pixels":9}', ("--mm-processor-kwargs", '{"max_pixels":9}')),
        ("cpu-offload-gb", "2.5", ("--cpu-offload-gb", "2.5")),
        (
            "reasoning-config",
            '{"reasoning_end_str":"</think>"}',
            ("--reasoning-config", '{"reasoning_end_str":"</think>"}'),
        ),
    ],
)
def test_a_value_that_is_taken_becomes_arguments(name: str, value: str, arguments: tuple[str, ...]) -> None:
    assert check_argument(name, value) is None
    extra = {name: value}
    assert vllm_arguments(extra, of_server=True) + vllm_arguments(extra, of_server=False) == arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block-size", "many"),
        ("block-size", "32 --trust-remote-code"),
        ("block-size", "1" * 40),
        ("enable-dbo", "True"),
        ("aggregate-engine-logging", "false"),
        ("mm-encoder-tp-mode", "weight"),
        ("generation-config", "/etc"),
        ("kv-cache-dtype-skip-layers", "a --middleware"),
        ("kv-cache-dtype-skip-layers", "a  b"),
        ("tokenizer-mode", "-x"),
        ("tokenizer-mode", "../x"),
        ("mm-processor-kwargs", '{"trust_remote_code": true}'),
        ("mm-processor-kwargs", '{"a": {"cache_DIR": 1}}'),
        ("mm-processor-kwargs", '{"a": ["/etc/passwd"]}'),
        ("mm-processor-kwargs", '{"tokenizer_file": "x"}'),
        ("mm-processor-kwargs", '{"text_model_id": "x"}'),
        ("mm-processor-kwargs", '{"a": NaN}'),
        ("mm-processor-kwargs", "[" * 20 + "]" * 20),
        ("mm-processor-kwargs", "3"),
        ("mm-processor-kwargs", '{"a": "' + "x" * LONGEST_VALUE + '"}'),
        ("response-role", "assis\x07tant"),
    ],
)
def test_a_value_that_vllm_or_the_platform_would_not_want_is_refused(name: str, value: str) -> None:
    refusal = check_argument(name, value)
    assert refusal is not None
    assert name in refusal.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed-origins", '["*"]'),
        ("allow-credentials", "true"),
        ("allowed-methods", '["*"]'),
        ("allowed-headers", '["*"]'),
    ],
)
def test_only_the_field_says_which_web_pages_may_use_a_service(name: str, value: str) -> None:
    refusal = check_argument(name, value)
    assert refusal is not None
    assert refusal.field == "spec.access.allowedOrigins"


@pytest.mark.parametrize(("name", "value"), [("NCCL_IB_HCA", "^mlx5_0:1,mlx5_1"), ("VLLM_USE_DEEP_GEMM", "0")])
def test_a_variable_of_the_list_is_taken(name: str, value: str) -> None:
    assert check_variable(name, value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "x"),
        ("PYTHONPATH", "x"),
        ("VLLM_PLUGINS", "x"),
        ("VLLM_LOGGING_LEVEL", "DEBUG"),
        ("VLLM_SERVER_DEV_MODE", "1"),
        ("HF_ENDPOINT", "x"),
        ("ACCESS_POLICY", "x"),
        ("NCCL_NET_PLUGIN", "x"),
        ("NCCL_TOPO_FILE", "x"),
        ("NCCL_DEBUG_FILE", "x"),
        ("NCCL_CONF_FILE", "x"),
        ("NCCL_TUNER_PLUGIN", "x"),
        ("NCCL_PROFILER_PLUGIN", "x"),
        ("FI_PROVIDER_PATH", "x"),
        ("FI_LOG_LEVEL", "x"),
        ("UCX_TLS", "rc"),
        ("nccl_debug", "INFO"),
        ("NCCL_DEBUG", "/tmp/x"),
        ("NCCL_DEBUG", "a b"),
        ("NCCL_DEBUG", "x" * (LONGEST_VALUE + 1)),
    ],
)
def test_other_variables_and_values_are_refused(name: str, value: str) -> None:
    assert check_variable(name, value) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NCCL_IB_HCA", "=mlx5_0:1,mlx5_1:1"),
        ("NCCL_IB_GID_INDEX", "3"),
        ("NCCL_NET_GDR_LEVEL", "SYS"),
        ("NCCL_SOCKET_IFNAME", "^lo,docker"),
        ("NCCL_IB_ADAPTIVE_ROUTING", "1"),
        ("NCCL_IB_PCI_RELAXED_ORDERING", "1"),
        ("NCCL_NET", "Socket"),
        ("NCCL_DEBUG_SUBSYS", "INIT,NET"),
        ("FI_PROVIDER", "efa"),
        ("FI_EFA_USE_DEVICE_RDMA", "1"),
    ],
)
def test_settings_of_rdma_networks_are_open(name: str, value: str) -> None:
    assert check_variable(name, value) is None


def test_no_variable_of_the_list_is_one_that_the_runtime_reads_or_withholds() -> None:
    from llmservice_runtime.launcher.command import ALWAYS, WITHHELD

    taken = {name for row in SETTINGS for name in (row.name, *row.aliases, *row.vllm_names)}
    assert not VARIABLES & (taken | set(WITHHELD) | set(ALWAYS))
    assert {name for name in VARIABLES if name.startswith("VLLM_")} <= engine_arguments.VLLM_VARIABLES
