"""The program as it is started in a container, up to the point where vLLM would be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_contract import container
from llmservice_contract.diagnosis import diagnosis_from_json
from llmservice_contract.environment import VARIABLES
from llmservice_contract.inspection import inspection_from_json


def runtime(log: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    names = {variable.name for variable in VARIABLES}
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-m", "llmservice_runtime", *arguments],
        env=inherited | {container.TERMINATION_LOG_VARIABLE: str(log)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    directory = tmp_path / "tiny"
    directory.mkdir()
    (directory / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4}')
    return str(directory)


def test_wrong_values_stop_it_with_all_problems_in_the_termination_log(log: Path) -> None:
    done = runtime(log, MODEL_NAME="tiny", TENSOR_PARALLEL_SIZE="0")
    assert done.returncode == container.EXIT_WRONG_SETTINGS
    told = diagnosis_from_json(log.read_text())
    assert (told.cause, told.field) == ("WrongSettings", "spec.parallelism.tensor")
    first, second = told.message.splitlines()
    assert first == "TENSOR_PARALLEL_SIZE='0' is not allowed: it has to be a whole number from 1 to 64."
    assert second.startswith("MODEL_NAME='tiny' is not allowed: ")
    assert f"llmservice: {first}" in done.stderr


def test_without_vllm_it_says_so(log: Path, tiny: str) -> None:
    done = runtime(log, MODEL_NAME=tiny)
    assert done.returncode == container.EXIT_NO_ENGINE
    assert "vLLM is not installed" in log.read_text()


def test_print_shows_the_command_line(log: Path, tiny: str) -> None:
    done = runtime(log, "print", MODEL_NAME=tiny, ACCELERATOR="cpu", TENSOR_PARALLEL_SIZE="2")
    assert done.returncode == 0
    assert f" vllm serve {tiny} --port 8000 " in done.stdout
    assert "VLLM_CPU_KVCACHE_SPACE=1 " in done.stdout


def test_print_as_json_shows_what_is_started_and_what_is_added(log: Path, tiny: str) -> None:
    done = runtime(log, "print", "--json", MODEL_NAME=tiny, HF_HUB_OFFLINE="1", UNTOUCHED="x")
    shown = json.loads(done.stdout)
    assert shown["command"][:3] == ["vllm", "serve", tiny]
    assert shown["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    assert not shown["environment"].keys() & {"HF_HUB_OFFLINE", "UNTOUCHED"}


def test_a_cpu_stands_in_only_where_the_image_says_so(log: Path, tiny: str) -> None:
    meant_for_gpu = {"MODEL_NAME": tiny, "GPU_MEMORY_UTILIZATION": "0.9", "ATTENTION_BACKEND": "flash"}
    meant_for_gpu |= {"SPECULATIVE_METHOD": "ngram"}
    assert "--gpu-memory-utilization 0.9" in runtime(log, "print", **meant_for_gpu).stdout
    done = runtime(log, "print", **meant_for_gpu, LLMSERVICE_CPU_STANDS_IN="1")
    assert "VLLM_CPU_KVCACHE_SPACE=1" in done.stdout
    assert "--enforce-eager" in done.stdout
    assert "--gpu-memory-utilization" not in done.stdout
    assert "--speculative-config" not in done.stdout
    assert "GPU_MEMORY_UTILIZATION=0.9, ATTENTION_BACKEND=flash, SPECULATIVE_METHOD=ngram has no effect" in done.stderr


def test_a_cpu_does_not_quantize_while_loading_and_one_that_stands_in_takes_the_weights_as_they_are(
    log: Path, tiny: str
) -> None:
    refused = runtime(log, "print", MODEL_NAME=tiny, QUANTIZATION_MODE="fp8", ACCELERATOR="cpu")
    assert refused.returncode == container.EXIT_WRONG_SETTINGS
    assert "QUANTIZATION_MODE=fp8 of a 16-bit checkpoint is not allowed with ACCELERATOR=cpu" in refused.stderr
    rehearsed = runtime(log, "print", MODEL_NAME=tiny, QUANTIZATION_MODE="fp8", LLMSERVICE_CPU_STANDS_IN="1")
    assert "--quantization" not in rehearsed.stdout and rehearsed.returncode == 0
    assert "QUANTIZATION_MODE=fp8 has no effect" in rehearsed.stderr


def test_pipeline_parallelism_cannot_be_rehearsed(log: Path, tiny: str) -> None:
    done = runtime(log, "print", MODEL_NAME=tiny, PIPELINE_PARALLEL_SIZE="2", LLMSERVICE_CPU_STANDS_IN="1")
    assert done.returncode == container.EXIT_WRONG_SETTINGS
    assert "PIPELINE_PARALLEL_SIZE=2 is not allowed where a CPU stands in" in done.stderr


def test_print_refuses_a_checkpoint_of_another_kind(log: Path, tiny: str) -> None:
    done = runtime(log, "print", MODEL_NAME=tiny, QUANTIZATION_MODE="awq")
    assert done.returncode == container.EXIT_WRONG_SETTINGS
    assert "QUANTIZATION_MODE=awq needs an awq checkpoint" in done.stderr
    assert not log.exists(), "only what ends the container belongs into its termination log"


def test_inspect_reports_facts_on_stdout_and_in_the_termination_log(log: Path, tiny: str) -> None:
    done = runtime(log, "inspect", MODEL_NAME=tiny)
    assert done.returncode == 0
    assert done.stdout == log.read_text() + "\n"
    assert json.loads(done.stdout)["attentionHeads"] == 4


def test_inspect_of_nothing_fails_with_a_reason(log: Path, tiny: str) -> None:
    done = runtime(log, "inspect", MODEL_NAME=f"{tiny}-not")
    assert done.returncode == container.EXIT_NO_MODEL
    assert inspection_from_json(log.read_text()).error == "PathNotFound"


def test_drain_never_fails_so_that_a_hook_keeps_no_pod(log: Path, tiny: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = runtime(log, "drain", MODEL_NAME=tiny, PORT=str(unused.getsockname()[1]))
    assert (done.returncode, done.stdout) == (0, "nothing to drain: the engine takes no requests yet, or no more.\n")
    done = runtime(log, "drain", MODEL_NAME=tiny, PORT="high")
    assert (done.returncode, done.stdout.startswith("not drained: PORT='high'")) == (0, True)


def test_a_draft_that_is_not_there_stops_it(log: Path, tiny: str) -> None:
    done = runtime(log, "print", MODEL_NAME=tiny, SPECULATIVE_METHOD="draft", SPECULATIVE_MODEL=f"{tiny}-not")
    assert f"{tiny}-not does not exist" in done.stderr
    assert done.returncode == container.EXIT_NO_MODEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_can_be_stopped_while_it_reads_the_model(tmp_path: Path, number: signal.Signals) -> None:
    """Also where it is PID 1, to which a signal without a handler is as one that it ignores."""
    model = tmp_path / "config.json"
    os.mkfifo(model)
    (tmp_path / "params.json").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "llmservice_runtime", "inspect"],
        env=os.environ | {"MODEL_NAME": str(tmp_path)},
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    with process, model.open("w"):  # it is open once the runtime reads it
        process.send_signal(number)
        try:
            assert process.wait(30) == 128 + number
        finally:
            process.kill()


def test_an_unknown_subcommand_shows_the_known_ones(log: Path) -> None:
    done = runtime(log, "sevre")
    assert done.returncode == container.EXIT_WRONG_SETTINGS
    assert "serve | print [--json] | inspect | drain" in done.stderr
