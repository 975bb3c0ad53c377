"""`kubectl llm fit`: files and options in, a verdict out, and sentences where something is wrong with them."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from llmservice_operator.cli.main import main
from support.documents import valid
from support.published import measurements
from support.small_models import PARAMS

CONFIG = next(each.config for each in measurements() if each.row["model"] == "Qwen/Qwen3-32B")
MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: llmservice.dev/v1alpha1
kind: LLMService
metadata: {name: chat}
spec:
  model: {source: "hf://Qwen/Qwen3-32B", maxContextLength: 16000}
  engine: {gpuMemoryUtilization: "0.9"}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("chat.yaml").write_text(MANIFEST)
    Path("config.json").write_text(json.dumps(CONFIG))
    Path("index.json").write_text(json.dumps({"metadata": {"total_size": 65_524_246_528}, "weight_map": {}}))
    return tmp_path


def _fit(*options: str, model: tuple[str, ...] = ("--model-config", "config.json")) -> int:
    return main(["fit", "-f", "chat.yaml", *model, *options])


def _shown(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert _fit(*options, "-o", "json") == 0
    return valid(json.loads(capsys.readouterr().out))


def test_a_model_in_mistrals_own_format(files: Path, capsys: pytest.CaptureFixture[str]):
    model = files / "model"
    model.mkdir()
    (model / "params.json").write_text(json.dumps(PARAMS["mistral-own"] | {"n_layers": 40}))
    for options in (("--model", str(model)), ("--model-config", str(model / "params.json"))):
        assert _fit("--gpu-memory", "79.18", "-o", "json", model=options) == 0
        shown = valid(json.loads(capsys.readouterr().out))
        assert shown["perGPU"]["kvPerToken"] == 40 * 2 * 32 * 2 * 2


def test_json_has_the_ledger_in_bytes(files: Path, capsys: pytest.CaptureFixture[str]):
    shown = _shown(capsys, "--gpu-memory", "79.18", "--model-index", "index.json")
    assert shown["verdict"] == "Fits"
    ledger = shown["perGPU"]
    names = {"total", "requested", "weights", "activation", "cudaGraphs", "nonTorch", "kvAvailable", "kvPerToken"}
    assert names <= ledger.keys()
    assert ledger["weights"] == 65_524_246_528 + 40_960 * 128 * 2  # and the table of rotary embeddings
    assert ledger["kvPerToken"] == 64 * 8 * 128 * 2 * 2
    assert shown["maxContextLength"] > 16000
    assert shown["maxConcurrency"] == pytest.approx(1.66)
    assert shown["suggestions"] == []


def test_remedies_have_ledgers_of_their_own(files: Path, capsys: pytest.CaptureFixture[str]):
    shown = _shown(capsys, "--gpu", "A10")
    assert (shown["verdict"], shown["reason"], shown["gpu"]) == ("DoesNotFit", "NoRoomForCache", "NVIDIA-A10")
    assert shown["suggestions"]
    assert all(suggestion["perGPU"]["kvAvailable"] > 0 and suggestion["change"] for suggestion in shown["suggestions"])


def test_another_version_of_vllm_has_another_ledger(files: Path, capsys: pytest.CaptureFixture[str]):
    newest = _shown(capsys, "--gpu", "H100")["perGPU"]["kvAvailable"]
    assert _shown(capsys, "--gpu", "H100", "--vllm", "v0.16.0")["perGPU"]["kvAvailable"] < newest


def test_adapters_take_their_memory(files: Path, capsys: pytest.CaptureFixture[str]):
    plain = _shown(capsys, "--gpu", "H100")["perGPU"]
    narrow = _shown(capsys, "--gpu", "H100", "--max-loras", "2")["perGPU"]
    assert _fit("--gpu", "H100", "--max-loras", "2") == 0
    capsys.readouterr()
    wide = _shown(capsys, "--gpu", "H100", "--max-loras", "2", "--max-lora-rank", "64")["perGPU"]
    assert wide["weights"] - plain["weights"] == 4 * (narrow["weights"] - plain["weights"]) > 0


def test_people_get_a_sentence_a_table_and_what_to_change(files: Path, capsys: pytest.CaptureFixture[str]):
    assert _fit("--gpu", "A10") == 0
    out = capsys.readouterr().out
    assert out.startswith("Does not fit on NVIDIA-A10: nothing is left for the KV cache")
    assert "weights        61.0 GiB" in out
    assert "What would fit:\n  " in out
    assert _fit("--gpu", "H100") == 0
    assert capsys.readouterr().out.startswith("Fits on NVIDIA-H100-80GB-HBM3: 1.7 concurrent requests of 16000 tokens")


@pytest.mark.parametrize(
    ("options", "status"),
    [(("--gpu", "H100"), 0), (("--gpu", "A10"), 3), (("--gpu", "H100", "--parameters", "7e10"), 4)],
)
def test_a_pipeline_can_ask_for_the_verdict_as_exit_status(files: Path, options: tuple[str, ...], status: int):
    assert _fit(*options, "--exit-code") == status


def test_of_several_products_the_one_with_the_least_room_counts(files: Path, capsys: pytest.CaptureFixture[str]):
    Path("chat.yaml").write_text(MANIFEST + "  accelerator: {products: [NVIDIA-H200, NVIDIA-H100-80GB-HBM3]}\n")
    assert _shown(capsys)["gpu"] == "NVIDIA-H100-80GB-HBM3"


def test_a_directory_will_do_for_the_model(files: Path, capsys: pytest.CaptureFixture[str]):
    Path("model").mkdir()
    Path("model/config.json").write_text(json.dumps(CONFIG))
    assert _fit("--gpu", "H100", "-o", "json", model=("--model", "model")) == 0
    assert valid(json.loads(capsys.readouterr().out))["verdict"] == "Fits"
    Path("model/model.safetensors.index.json").write_text('{"metadata": {"total_size": 1000}}')
    assert _fit("--gpu", "H100", "-o", "json", model=("--model", "model")) == 0
    assert valid(json.loads(capsys.readouterr().out))["reason"] == "WeightsUnexplained"


@pytest.mark.parametrize(
    ("break_it", "options", "said"),
    [
        (lambda: None, (), "names no GPU in accelerator.products: set --gpu"),
        (lambda: None, ("--gpu", "X1"), "X1 is not a known GPU"),
        (lambda: Path("config.json").unlink(), ("--gpu", "H100"), "config.json can't be read: No such file"),
        (lambda: Path("config.json").write_text("[]"), ("--gpu", "H100"), "config.json is not a JSON object"),
        (lambda: Path("config.json").write_text("{"), ("--gpu", "H100"), "config.json is not JSON"),
        (lambda: Path("config.json").write_bytes(b"\xff"), ("--gpu", "H100"), "config.json is not text in UTF-8"),
        (lambda: Path("chat.yaml").write_text("a: ["), ("--gpu", "H100"), "chat.yaml is not YAML"),
        (lambda: Path("chat.yaml").write_text("kind: Pod"), ("--gpu", "H100"), "none is an LLMService"),
        (
            lambda: Path("chat.yaml").write_text(MANIFEST + "  nonsense: 1\n"),
            ("--gpu", "H100"),
            "spec.nonsense is not a field",
        ),
        (
            lambda: Path("index.json").write_text("{}"),
            ("--gpu", "H100", "--model-index", "index.json"),
            "no metadata.total_size",
        ),
    ],
)
def test_what_is_wrong_with_the_files_is_a_sentence(files: Path, capsys, break_it, options, said: str):
    break_it()
    assert _fit(*options) == 1
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True), err


@pytest.mark.parametrize(
    "options",
    [
        ("--gpu-memory", "much"),
        ("--gpu-memory", "0"),
        ("--parameters", "-1"),
        ("--parameters", "8B"),
        ("--vllm", "new"),
    ],
)
def test_wrong_options_are_usage_errors(files: Path, options: tuple[str, ...]):
    with pytest.raises(SystemExit, match="2"):
        _fit(*options)


DRAFTED = '  engine: {speculative: {method: draft, model: "hf://Qwen/Qwen3-32B-draft"}}\n'


def test_a_draft_model_is_unknown_until_its_configuration_is_passed(files: Path, capsys: pytest.CaptureFixture[str]):
    Path("chat.yaml").write_text(MANIFEST.replace('  engine: {gpuMemoryUtilization: "0.9"}\n', DRAFTED))
    shown = _shown(capsys, "--gpu", "H200")
    assert (shown["verdict"], "hf://Qwen/Qwen3-32B-draft" in shown["message"]) == ("Unknown", True)
    shown = _shown(capsys, "--gpu", "B200", "--draft-model-config", "config.json")
    assert shown["verdict"] == "Fits"
    assert shown["perGPU"]["weightsByPart"]["draft"] > 60 << 30
    assert _shown(capsys, "--gpu", "H100", "--draft-model-config", "config.json")["verdict"] == "DoesNotFit"


def test_a_draft_configuration_without_a_draft_model_is_an_error(files: Path, capsys: pytest.CaptureFixture[str]):
    assert _fit("--gpu", "H100", "--draft-model-config", "config.json") == 1
    assert "has no draft model" in capsys.readouterr().err


def test_an_unknown_gpu_is_a_short_sentence_with_similar_names(files: Path, capsys: pytest.CaptureFixture[str]):
    assert _fit("--gpu", "NVIDIA-H100-80GB-HBM4") == 1
    said = capsys.readouterr().err
    assert "NVIDIA-H100-80GB-HBM3" in said and "--gpu-memory" in said
    assert len(said) < 350


def test_a_gpu_of_another_vendor_contradicts_the_spec(files: Path, capsys: pytest.CaptureFixture[str]):
    Path("chat.yaml").write_text(MANIFEST + "  accelerator: {type: amd}\n")
    assert _fit("--gpu", "H100") == 1
    assert "NVIDIA-H100-80GB-HBM3 is a GPU of nvidia, but spec.accelerator.type is amd" in capsys.readouterr().err
    assert _shown(capsys, "--gpu", "MI300X")["verdict"] == "Fits"


def test_the_manifest_is_read_as_plan_reads_it(files: Path, capsys: pytest.CaptureFixture[str]):
    whole = MANIFEST.partition("---\n")[2]
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(whole)]}
    Path("chat.yaml").write_text(yaml.safe_dump(listed))
    assert _shown(capsys, "--gpu", "H100")["verdict"] == "Fits"
    Path("chat.yaml").write_text(whole.replace("apiVersion: llmservice.dev/v1alpha1", "apiVersion: v1"))
    assert _fit("--gpu", "H100") == 1
    assert "none is an LLMService of llmservice.dev" in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["17", "0", "1024"])
def test_ranks_are_those_that_vllm_takes(files: Path, rank: str):
    with pytest.raises(SystemExit, match="2"):
        _fit("--gpu", "H100", "--max-loras", "2", "--max-lora-rank", rank)


@pytest.mark.parametrize(("version", "shown"), [("0.99", True), ("0.5", True), ("0.19", False), ("0.32", False)])
def test_a_version_that_is_not_known_is_shown(files: Path, capsys, version: str, shown: bool):
    assert _fit("--gpu", "H100", "--vllm", version) == 0
    assert (f"vLLM {version} is not known" in capsys.readouterr().err) is shown


def test_a_missing_amount_is_told_in_the_message_as_in_the_table(files: Path, capsys: pytest.CaptureFixture[str]):
    assert _fit("--gpu", "T4") == 0
    head, table = capsys.readouterr().out.split("\n", 1)
    (missing,) = re.findall(r"KV cache +-([0-9.]+ GiB)", table)
    assert f"{missing} too much" in head
    assert "KV cache 0.0 GiB" not in head


def test_if_nothing_helps_it_says_so(files: Path, capsys: pytest.CaptureFixture[str]):
    huge = {**CONFIG, "hidden_size": 65536, "intermediate_size": 262144, "num_hidden_layers": 200}
    Path("config.json").write_text(json.dumps(huge))
    assert _fit("--gpu", "L4") == 0
    assert "No suggestion fits" in capsys.readouterr().out


def test_lines_are_wrapped_at_the_width_of_a_terminal(files: Path, monkeypatch: pytest.MonkeyPatch):
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    assert _fit("--gpu", "A10") == 0
    head = screen.getvalue().split("\n\n")[0].splitlines()
    assert len(head) > 1 and all(len(line) <= 60 for line in head)


def test_a_closed_stdout_is_a_sentence(files: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert _fit("--gpu", "H100") == 1
    said = capsys.readouterr().err
    assert "stdout is closed" in said and "report" not in said


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "kubectl llm fit -f chat.yaml" in capsys.readouterr().out


def test_arguments_that_the_estimate_does_not_count_are_named(files: Path, capsys: pytest.CaptureFixture[str]):
    Path("chat.yaml").write_text(
        MANIFEST.replace('engine: {gpuMemoryUtilization: "0.9"}', "engine: {extraArgs: {block-size: 32}}")
    )
    assert _fit("--gpu", "H100") == 0
    assert "extraArgs (block-size)" in capsys.readouterr().err
