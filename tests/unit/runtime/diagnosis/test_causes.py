"""Each cause is found in what vLLM writes of it: texts of tests/fixtures/vllm-output, several processes at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.engine_settings import with_current_names
from llmservice_runtime.diagnosis import End, diagnose
from llmservice_runtime.diagnosis.output_tail import OutputTail

OUTPUTS = Path(__file__).parents[3] / "fixtures" / "vllm-output"
GPU = {"MODEL_NAME": "org/llama"}
CPU = {**GPU, "VLLM_CPU_KVCACHE_SPACE": "1"}
SOURCE = "spec.model.source"

EXPECTED: dict[str, tuple[dict[str, str], str, str, tuple[str, ...]]] = {
    # output: where it ran, its cause, the field to change, what people have to read
    "no-room-for-cache": (GPU, "NoRoomForCache", "spec.parallelism.tensor", ("weights fill", "gpuMemoryUtilization")),
    "coloured": (GPU, "NoRoomForCache", "spec.parallelism.tensor", ("weights fill",)),
    "cache-too-small": (
        GPU,
        "CacheTooSmall",
        "spec.model.maxContextLength",
        ("131072 tokens needs 16.0 GiB", "there are 5.43", "to 44480 or less", "kvCacheDtype: fp8"),
    ),
    "gpu-memory-taken": (
        GPU,
        "GPUMemoryTaken",
        "spec.engine.gpuMemoryUtilization",
        ("61.24 of 79.1 GiB are free", "wants 72.77 GiB", "to 0.77 or less"),
    ),
    "out-of-memory-loading": (GPU, "GPUOutOfMemory", "spec.parallelism.tensor", ("weights don't fit", "fp8")),
    "out-of-memory-sampler": (GPU, "GPUOutOfMemory", "spec.engine.maxNumSeqs", ("1024 requests", "to 512 or less")),
    "too-few-gpus": (GPU, "TooFewGPUs", "spec.parallelism.tensor", ("needs 4 GPUs", "sees 2", "no more than 2")),
    "gpu-too-old-for-quantization": (
        GPU,
        "GPUTooOld",
        "spec.quantization.method",
        ("compressed-tensors", "capability 75", "has 70"),
    ),
    "gpu-too-old-for-scheme": (GPU, "GPUTooOld", "spec.quantization.method", ("capability 90", "has 80")),
    "gpu-too-old-for-bfloat16": (GPU, "GPUTooOld", "spec.accelerator.products", ("Tesla T4 has 7.5", "float16")),
    "attention-not-valid": (GPU, "AttentionUnsupported", "spec.engine.attention", ("FLASH_ATTN", "capability", "auto")),
    "attention-with-fp8-cache": (GPU, "AttentionUnsupported", "spec.engine.attention", ("kvCacheDtype to auto",)),
    "cache-type-unsupported": (GPU, "CacheTypeUnsupported", "spec.quantization.kvCacheDtype", ("fp8_e5m2", "auto")),
    "pipeline-unsupported": (GPU, "PipelineUnsupported", "spec.parallelism.pipeline", ("pipeline to 1",)),
    "no-gpu": (GPU, "NoGPU", "", ("sees no GPU", "nvidia-smi")),
    "driver-too-old": (GPU, "NoGPU", "spec.accelerator.products", ("driver is too old",)),
    "disk-full": (GPU, "DiskFull", "spec.cache.size", ("volume is full",)),
    "shared-memory-full": (GPU, "DiskFull", "spec.resources.sharedMemory", ("/dev/shm is full",)),
    "rdma-memory-not-pinned": (GPU, "RanksLost", "", ("pinned for RDMA", "LimitMEMLOCK")),
    "ranks-lost": (GPU, "RanksLost", "", ("lost each other",)),
    "ranks-apart": (GPU, "RanksApart", "", ("did not find each other", "1/2 clients joined", "network policies")),
    "no-architectures": (CPU, "BadConfig", "spec.engine.hfOverrides", ("no architectures",)),
    "heads-not-divisible": (CPU, "HeadsNotDivisible", "spec.parallelism.tensor", ("4 attention heads", "of 1, 2, 4.")),
    "context-too-long": (CPU, "ContextTooLong", "spec.model.maxContextLength", ("4096 tokens", "to 2048 or less")),
    "cache-too-small-on-cpu": (
        CPU,
        "CacheTooSmall",
        "spec.model.maxContextLength",
        ("2097152 tokens needs 2.0 GiB", "to 1048448 or less", "spec.engine.kvCacheMemory to 2Gi"),
    ),
    "host-memory": (CPU, "HostOutOfMemory", "spec.engine.kvCacheMemory", ("4000.0 GiB", "Gi or less")),
    "architecture-unknown": (CPU, "ArchitectureUnknown", SOURCE, ("NoSuchForCausalLM", "image")),
    "model-type-unknown": (CPU, "ArchitectureUnknown", SOURCE, ("type nosuch", "image")),
    "no-weights": (CPU, "NoWeights", SOURCE, ("/models/", "*.safetensors")),
    "broken-weights": (CPU, "BrokenWeights", SOURCE, ("incomplete metadata", "interrupted download")),
    "streamed-weights-broken": (GPU, "BrokenWeights", SOURCE, ("exceeds limit",)),
    "weights-of-another-model": (CPU, "BrokenWeights", SOURCE, ("no place for model.layers.2.extra",)),
    "weights-missing": (CPU, "BrokenWeights", SOURCE, ("model.layers.2.",)),
    "remote-code": (CPU, "RemoteCode", SOURCE, ("Python code of its own",)),
    "quantization-unknown": (CPU, "QuantizationUnknown", SOURCE, ("nosuchquant",)),
    "quantization-mismatch": (CPU, "QuantizationMismatch", "spec.quantization.method", ("by fp8", "awq is configured")),
    "batch-too-small": (CPU, "BatchTooSmall", "spec.engine.maxNumBatchedTokens", ("64 tokens", "to 128 or more")),
    "batch-below-context": (GPU, "BatchTooSmall", "spec.engine.maxNumBatchedTokens", ("64 tokens", "to 2048 or more")),
    "draft-of-another-vocabulary": (
        GPU,
        "SpeculationUnsupported",
        "spec.engine.speculative.model",
        ("vocabulary", "ngram"),
    ),
    "config-not-json": (CPU, "BadConfig", SOURCE, ("config.json", "valid JSON")),
    "config-without-type": (GPU, "BadConfig", SOURCE, ("`model_type`",)),
    "config-with-wrong-field": (GPU, "BadConfig", SOURCE, ("hidden_size",)),
    "quantization-incomplete": (GPU, "BadConfig", SOURCE, ("'sym'",)),
    "nothing-there": (GPU, "ModelUnreadable", SOURCE, ("/models/tiny",)),
    "draft-not-there": (
        {**GPU, "SPECULATIVE_MODEL": "/models/tiny"},
        "BadConfig",
        "spec.engine.speculative.model",
        ("/models/tiny",),
    ),
    "tokenizer-with-code": (GPU, "RemoteCode", SOURCE, ("Python code of its own",)),
    "s3-unreachable": (
        GPU,
        "StoreUnreachable",
        "spec.model.credentialsRef",
        ("EndpointConnectionError", "AWS_ENDPOINT_URL", "automatically"),
    ),
    "s3-slow-down": (GPU, "StoreUnreachable", "spec.model.credentialsRef", ("SlowDown", "automatically")),
    "hub-answers-503": (GPU, "HubUnreachable", SOURCE, ("answers 503", "automatically")),
    "hub-answers-429": (GPU, "HubUnreachable", SOURCE, ("answers 429", "automatically")),
    "hub-breaks-off": (GPU, "HubUnreachable", SOURCE, ("ReadTimeout", "automatically")),
    "hub-store-breaks-off": (GPU, "HubUnreachable", SOURCE, ("CAS service error", "automatically")),
    "no-tokenizer": (CPU, "NoTokenizer", SOURCE, ("tokenizer.json",)),
    "hub-gated": (GPU, "HubRefused", "spec.model.credentialsRef", ("org/llama", "licence", "HF_TOKEN")),
    "hub-unknown": (GPU, "HubRefused", SOURCE, ("org/llama", "HF_TOKEN")),
    "hub-revision": (
        {**GPU, "MODEL_REVISION": "v9"},
        "HubRefused",
        "spec.model.revision",
        ("org/llama has no revision v9",),
    ),
    "hub-unreachable": (GPU, "HubUnreachable", SOURCE, ("https://huggingface.co can't be reached", "pvc://")),
    "s3-denied": (GPU, "StoreRefused", SOURCE, ("AccessDenied", "AWS_ACCESS_KEY_ID")),
    "ready-timeout": (CPU, "ReadyTimeout", "spec.model.size", ("within 600 s",)),
    "port-in-use": (CPU, "PortInUse", "", ("is taken by another process", "8002")),
    "unknown-argument": (CPU, "WrongEngine", "", ("--custom-histogram-buckets",)),
    "no-permission": (CPU, "NoPermission", "", ("/models/llama/model-00001", "65532")),
    "worker-killed": (GPU, "EngineDied", "spec.resources.memory", ("VllmWorker-1", "-9", "killed, mostly for memory")),
    "engine-killed-while-serving": (CPU, "EngineDied", "", ("After it had served", "killed, mostly for memory")),
    "worker-killed-while-serving": (CPU, "EngineDied", "", ("After it had served", "VllmWorker-0")),
    "cuda-error-while-serving": (GPU, "GPUFault", "", ("After it had served", "illegal memory access", "Xid")),
    "out-of-memory-while-serving": (
        GPU,
        "GPUOutOfMemory",
        "spec.engine.gpuMemoryUtilization",
        ("After it had served",),
    ),
}


def output(name: str) -> bytes:
    return (OUTPUTS / f"{name}.txt").read_bytes()


def diagnosed(text: bytes, environment: dict[str, str] = GPU, code: int = 1) -> Diagnosis:
    tail = OutputTail()
    tail.feed(1, text)
    return diagnose(End(code, tail.lines, tail.served), environment)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_cause_is_found_and_told_with_its_numbers_and_the_field(name: str) -> None:
    environment, cause, field, words = EXPECTED[name]
    found = diagnosed(output(name), environment)
    assert (found.finding.reason, found.finding.field) == (cause, field)
    assert found.exit_code == causes.BY_NAME[cause].exit_code
    reported = f"{found.finding.message} {found.finding.fix}"
    assert [word for word in words if word not in reported] == [], reported
    assert "{" not in reported


@pytest.mark.parametrize("name", [name for name, (environment, *_) in EXPECTED.items() if environment is not GPU])
def test_it_is_the_same_whichever_names_the_variables_have(name: str) -> None:
    environment = EXPECTED[name][0]
    current = with_current_names(environment)
    assert "MODEL_SOURCE" in current and "MODEL_NAME" in environment
    assert diagnosed(output(name), current) == diagnosed(output(name), environment)


LIKELY = {
    "hub-unknown": "private",
    "hub-unreachable": "answers with an error",
    "ranks-lost": "failed first",
    "rdma-memory-not-pinned": "no memory left for more connections",
    "ranks-apart": "did not start",
    "cuda-error-while-serving": "vLLM's kernels",
    "weights-of-another-model": "names the weights",
    "weights-missing": "requires more",
    "worker-killed": "manually",
    "engine-killed-while-serving": "manually",
    "worker-killed-while-serving": "manually",
}
"""Outputs that may mean something else, and what."""


@pytest.mark.parametrize("name", EXPECTED)
def test_what_may_mean_something_else_says_what(name: str) -> None:
    otherwise = diagnosed(output(name), EXPECTED[name][0]).finding.alternative
    assert bool(otherwise) == (name in LIKELY), otherwise
    assert LIKELY.get(name, "") in otherwise


def test_every_recorded_output_is_in_the_table() -> None:
    assert {file.stem for file in OUTPUTS.iterdir()} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_lines_of_two_streams_that_come_in_pieces_change_nothing(name: str) -> None:
    """Processes share the pipes: pieces of what they write arrive mixed, lines whole."""
    lines = output(name).splitlines(keepends=True)
    tail = OutputTail()
    for number, line in enumerate(lines):
        stream = 1 if b"APIServer" in line else 2
        tail.feed(stream, line[: number % 7])
        tail.feed(stream, line[number % 7 :])
    environment, cause, _field, _words = EXPECTED[name]
    assert diagnose(End(1, tail.lines, tail.served), environment).finding.reason == cause


@pytest.mark.parametrize("name", [name for name in EXPECTED if b"serving.py" in (OUTPUTS / f"{name}.txt").read_bytes()])
def test_a_flood_of_answers_to_clients_does_not_hide_the_cause(name: str) -> None:
    text = output(name)
    flood = b"".join(line for line in text.splitlines(keepends=True) if b"serving.py" in line)
    assert flood
    assert diagnosed(text + flood * 2000).finding.reason == EXPECTED[name][1]


def test_what_is_only_logged_as_a_warning_is_no_cause() -> None:
    found = diagnosed(
        b"(APIServer pid=1) WARNING 11-25 14:22:20 [x.py:1] No space left on device\n"
        b"(APIServer pid=1) INFO 11-25 14:22:20 [x.py:1] CUDA out of memory\n"
        b"KeyError: 'hidden_size'\n"
    )
    assert (found.finding.reason, found.finding.message, found.exit_code) == ("Unknown", "KeyError: 'hidden_size'", 1)


def test_what_was_said_before_it_served_is_no_cause_of_its_end() -> None:
    found = diagnosed(
        b"(EngineCore pid=2) ERROR 11-25 14:22:20 [x.py:1] OSError: [Errno 28] No space left on device\n"
        b"(APIServer pid=1) INFO:     Application startup complete.\n"
        b"(APIServer pid=1) ERROR 11-25 14:22:20 [x.py:1] RuntimeError: the end\n"
    )
    assert (found.finding.reason, found.finding.message) == (
        "Unknown",
        "After it had served requests: RuntimeError: the end",
    )


def test_frames_of_a_traceback_are_no_cause() -> None:
    found = diagnosed(b'Traceback\n  File "x.py", line 1, in f\n    raise E("No space left on device")\nE: other\n')
    assert found.finding.reason == "Unknown"


def test_a_cache_that_is_too_small_on_a_cpu_names_the_cache_of_the_cpu() -> None:
    fix = diagnosed(output("cache-too-small"), CPU).finding.fix
    assert "raise spec.engine.kvCacheMemory to 16Gi or more" in fix
    assert "gpuMemoryUtilization" not in fix


def test_a_kill_for_memory_that_the_kernel_counted_is_the_cause_whatever_was_written() -> None:
    tail = OutputTail()
    tail.feed(1, output("worker-killed"))
    found = diagnose(End(1, tail.lines, kills=1), GPU)
    assert (found.finding.reason, found.finding.field) == ("OOMKilled", "spec.resources.memory")


def test_a_kill_that_nobody_explains_is_told_as_one() -> None:
    found = diagnosed(b"all is well\n", code=137)
    assert (found.finding.reason, found.exit_code) == ("Killed", causes.KILLED.exit_code)


def test_an_unknown_end_keeps_the_exit_code_of_vllm_and_the_end_of_its_output() -> None:
    found = diagnosed(b"(EngineCore pid=4) one\ntwo\n", code=7)
    assert (found.finding.reason, found.exit_code, found.detail) == ("Unknown", 7, "EngineCore: one\ntwo")
    assert found.finding.message == "No line names an error. The last one is: two"


@given(st.lists(st.text(st.characters(exclude_characters="\r\n")), max_size=30), st.integers(0, 255), st.booleans())
def test_whatever_vllm_writes_there_is_a_diagnosis_that_fits(lines: list[str], code: int, served: bool) -> None:
    tail = OutputTail()
    tail.feed(1, "\n".join(lines).encode(errors="replace"))
    assert len(diagnose(End(code, tail.lines, served), GPU).to_json().encode()) <= 4096
