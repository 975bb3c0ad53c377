"""The program as it is started in a container, up to the point where vLLM would be."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmservice_contract import container
from llmservice_contract.diagnosis import diagnosis_from_json
from llmservice_contract.engine_settings import BY_VARIABLE
from llmservice_contract.fetching import fetch_result_from_json
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import inspection_from_json
from llmservice_runtime import subcommands


@dataclasses.dataclass(frozen=True)
class Done:
    """What the program left behind."""

    code: int
    out: str
    err: str


Runtime = Callable[..., Done]


def environment(log: Path, given: Mapping[str, str]) -> dict[str, str]:
    """What is inherited but for the runtime's own variables, and these."""
    own = set(BY_VARIABLE)
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    return inherited | {container.TERMINATION_LOG_VARIABLE: str(log)} | given


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


@pytest.fixture
def runtime(log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runtime:
    """The program with these arguments and variables, in this process."""

    def run(*arguments: str, **environ: str) -> Done:
        with monkeypatch.context() as here:
            here.setattr(os, "environ", environment(log, environ))
            here.setattr(sys, "argv", ["llmservice_runtime", *arguments])
            code = subcommands.main()
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    directory = tmp_path / "tiny"
    directory.mkdir()
    (directory / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "num_attention_heads": 4}')
    return str(directory)


def test_wrong_values_stop_it_with_all_problems_in_the_termination_log(log: Path) -> None:
    """In a process of its own, as the container starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "llmservice_runtime"],
        env=environment(log, {"MODEL_NAME": "tiny", "TENSOR_PARALLEL_SIZE": "0"}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == container.EXIT_WRONG_SETTINGS
    found = diagnosis_from_json(log.read_text())
    assert (found.finding.reason, found.finding.field) == ("WrongSettings", "spec.parallelism.tensor")
    first, second = found.finding.message.splitlines()
    assert first == "TENSOR_PARALLEL_SIZE='0' is not allowed: it must be a whole number from 1 to 16."
    assert second.startswith("MODEL_NAME='tiny' is not allowed: ")
    assert f"llmservice: {first}" in done.stderr


def test_without_vllm_it_says_so(runtime: Runtime, log: Path, tiny: str) -> None:
    done = runtime(MODEL_NAME=tiny)
    assert done.code == container.EXIT_NO_ENGINE
    assert "vLLM is not installed" in log.read_text()


def test_print_shows_the_command_line(runtime: Runtime, tiny: str) -> None:
    done = runtime("print", MODEL_NAME=tiny, ACCELERATOR="cpu", TENSOR_PARALLEL_SIZE="2")
    assert done.code == 0
    assert f" vllm serve {tiny} --port 8000 " in done.out
    assert "VLLM_CPU_KVCACHE_SPACE=1 " in done.out


def test_print_as_json_shows_what_is_started_and_what_is_added(runtime: Runtime, tiny: str) -> None:
    done = runtime("print", "--json", MODEL_NAME=tiny, HF_HUB_OFFLINE="1", UNTOUCHED="x")
    shown = json.loads(done.out)
    assert shown["command"][:3] == ["vllm", "serve", tiny]
    assert shown["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    assert not shown["environment"].keys() & {"HF_HUB_OFFLINE", "UNTOUCHED"}


def test_a_cpu_stands_in_only_where_the_image_says_so(runtime: Runtime, tiny: str) -> None:
    meant_for_gpu = {"MODEL_NAME": tiny, "GPU_MEMORY_UTILIZATION": "0.9", "ATTENTION_BACKEND": "flash"}
    meant_for_gpu |= {"SPECULATIVE_METHOD": "ngram"}
    assert "--gpu-memory-utilization 0.9" in runtime("print", **meant_for_gpu).out
    done = runtime("print", **meant_for_gpu, LLMSERVICE_CPU_STANDS_IN="1")
    assert "VLLM_CPU_KVCACHE_SPACE=1" in done.out
    assert "--enforce-eager" in done.out
    assert "--gpu-memory-utilization" not in done.out
    assert "--speculative-config" not in done.out
    assert "GPU_MEMORY_UTILIZATION=0.9, SPECULATIVE_METHOD=ngram, ATTENTION_BACKEND=flash has no effect" in done.err


def test_a_cpu_does_not_quantize_while_loading_and_one_that_stands_in_takes_the_weights_as_they_are(
    runtime: Runtime, tiny: str
) -> None:
    refused = runtime("print", MODEL_NAME=tiny, QUANTIZATION_MODE="fp8", ACCELERATOR="cpu")
    assert refused.code == container.EXIT_WRONG_SETTINGS
    assert "QUANTIZATION_METHOD=fp8 of a 16-bit checkpoint is not allowed with ACCELERATOR_TYPE=cpu" in refused.err
    emulated = runtime("print", MODEL_NAME=tiny, QUANTIZATION_MODE="fp8", LLMSERVICE_CPU_STANDS_IN="1")
    assert "--quantization" not in emulated.out and emulated.code == 0
    assert "QUANTIZATION_MODE=fp8 has no effect" in emulated.err


def test_pipeline_parallelism_cannot_be_emulated(runtime: Runtime, tiny: str) -> None:
    done = runtime("print", MODEL_NAME=tiny, PIPELINE_PARALLEL_SIZE="2", LLMSERVICE_CPU_STANDS_IN="1")
    assert done.code == container.EXIT_WRONG_SETTINGS
    assert "PIPELINE_PARALLEL_SIZE=2 is not allowed if a CPU emulates the GPU" in done.err


def test_print_refuses_a_checkpoint_of_another_kind(runtime: Runtime, log: Path, tiny: str) -> None:
    done = runtime("print", MODEL_NAME=tiny, QUANTIZATION_MODE="awq")
    assert done.code == container.EXIT_WRONG_SETTINGS
    assert "QUANTIZATION_METHOD=awq needs an awq checkpoint" in done.err
    assert not log.exists(), "only what ends the container belongs into its termination log"


def test_inspect_reports_facts_on_stdout_and_in_the_termination_log(runtime: Runtime, log: Path, tiny: str) -> None:
    done = runtime("inspect", MODEL_NAME=tiny)
    assert done.code == 0
    assert done.out == log.read_text() + "\n"
    assert json.loads(done.out)["attentionHeads"] == 4


@pytest.mark.parametrize(
    ("source", "code", "reason"),
    [("https://169.254.169.254/org/name", 101, "HubRefused"), ("/models/tiny", 78, "WrongSettings")],
)
def test_fetch_reports_why_it_fetches_nothing(
    runtime: Runtime, log: Path, tmp_path: Path, source: str, code: int, reason: str
) -> None:
    done = runtime("fetch", MODEL_NAME=source, FETCH_SERVICE="team.chat", FETCH_CACHE=str(tmp_path))
    assert done.code == code
    found = fetch_result_from_json(log.read_text())
    assert isinstance(found, Finding)
    assert found.reason == reason


def test_inspect_of_nothing_fails_with_a_reason(runtime: Runtime, log: Path, tiny: str) -> None:
    done = runtime("inspect", MODEL_NAME=f"{tiny}-not")
    assert done.code == container.EXIT_NO_MODEL
    found = inspection_from_json(log.read_text())
    assert isinstance(found, Finding)
    assert found.reason == "ModelUnreadable"


def test_drain_never_fails_so_that_a_hook_keeps_no_pod(runtime: Runtime, tiny: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = runtime("drain", MODEL_NAME=tiny, PORT=str(unused.getsockname()[1]))
    assert (done.code, done.out) == (0, "nothing to drain: the engine takes no requests yet, or no more.\n")
    done = runtime("drain", MODEL_NAME=tiny, PORT="high")
    assert (done.code, done.out.startswith("not drained: PORT='high'")) == (0, True)


def test_a_draft_that_is_not_there_stops_it(runtime: Runtime, tiny: str) -> None:
    done = runtime("print", MODEL_NAME=tiny, SPECULATIVE_METHOD="draft", SPECULATIVE_MODEL=f"{tiny}-not")
    assert f"{tiny}-not does not exist" in done.err
    assert done.code == container.EXIT_NO_MODEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_can_be_stopped_while_it_reads_the_model(tmp_path: Path, number: signal.Signals) -> None:
    """Also where it is PID 1, to which a signal without a handler is as one that it ignores."""
    model = tmp_path / "config.json"
    os.mkfifo(model)
    (tmp_path / "params.json").touch()
    # A pipe in a model's directory is refused; here it stands for a volume that is slow to answer.
    script = (
        "import sys; from llmservice_runtime.model import model_files; model_files.check_links = lambda *_: None; "
        "from llmservice_runtime.__main__ import main; sys.argv[1:] = ['inspect']; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"MODEL_NAME": str(tmp_path)},
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    with process, model.open("w"):  # it is open once the runtime reads it
        process.send_signal(number)
        try:
            assert process.wait(30) == 128 + number
        finally:
            process.kill()


def test_an_unknown_subcommand_shows_the_known_ones(runtime: Runtime) -> None:
    done = runtime("sevre")
    assert done.code == container.EXIT_WRONG_SETTINGS
    assert "serve | print [--json] | inspect | fetch | drain" in done.err
