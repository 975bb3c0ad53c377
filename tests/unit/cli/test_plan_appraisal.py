"""What a plan says of memory and money: with files where no cluster tells, and with what the service's status tells."""

import json
from pathlib import Path

import pytest

from llmservice_operator.cli.main import main
from support.published import measurements

CONFIG = next(each.config for each in measurements() if each.row["model"] == "Qwen/Qwen3-32B")
H100 = "NVIDIA-H100-80GB-HBM3"
PRICE = {"price": "2.49", "source": "contract", "date": "2026-11-01"}


def manifest(path: str, **spec: object) -> str:
    body = {"model": {"source": "hf://Qwen/Qwen3-32B", "maxContextLength": 8192}, "replicas": 2, **spec}
    meta = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": {"name": "chat"}}
    Path(path).write_text(json.dumps({**meta, "spec": {"accelerator": {"products": [H100]}, **body}}))
    return path


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG))
    Path("prices.yaml").write_text(json.dumps({"cost": {"currency": "EUR", "gpuHours": {H100: PRICE}}}))
    manifest("old.yaml")


def planned(capsys: pytest.CaptureFixture[str], new: str, *options: str) -> tuple[int, dict]:
    status = main(["plan", "-f", new, "--against", "old.yaml", "-o", "json", *options])
    return status, json.loads(capsys.readouterr().out)["services"][0]


def test_a_change_that_does_not_fit_any_more_can_t_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    new = manifest("new.yaml", model={"source": "hf://Qwen/Qwen3-32B", "maxContextLength": 40960})
    status, reported = planned(capsys, new, "--model-config", "config.json")
    assert status == 3
    assert (reported["fit"]["before"]["verdict"], reported["fit"]["after"]["verdict"]) == ("Fits", "DoesNotFit")
    assert "one request of 40k tokens needs 10.0 GiB" in reported["fit"]["after"]["message"]
    assert planned(capsys, new)[0] == 2, "the model is unknown"


def test_a_draft_model_is_part_of_what_must_fit(capsys: pytest.CaptureFixture[str]) -> None:
    drafted = {"speculative": {"method": "draft", "model": "hf://Qwen/Qwen3-32B-draft"}}
    new = manifest("new.yaml", engine=drafted)
    status, reported = planned(capsys, new, "--model-config", "config.json")
    assert (status, reported["fit"]["after"]["verdict"]) == (2, "Unknown")
    assert any("--draft-model-config" in note for note in reported["notes"])
    status, reported = planned(capsys, new, "--model-config", "config.json", "--draft-model-config", "config.json")
    assert (reported["fit"]["before"]["verdict"], reported["fit"]["after"]["verdict"]) == ("Fits", "DoesNotFit")
    assert status == 3
    assert not any("--draft-model-config" in note for note in reported["notes"])
    Path("draft.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 1, "hidden_size": 256, "head_dim": 32}))
    status, reported = planned(capsys, new, "--model-config", "config.json", "--draft-model-config", "draft.json")
    assert (status, reported["fit"]["after"]["verdict"]) == (2, "Fits")


def test_a_draft_configuration_that_no_service_needs_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    new = manifest("new.yaml", replicas=3)
    _, reported = planned(capsys, new, "--model-config", "config.json", "--draft-model-config", "config.json")
    assert any("--draft-model-config is not used" in note for note in reported["notes"])


def test_what_more_gpus_cost_is_said_where_their_price_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    new = manifest("new.yaml", replicas=3)
    status, reported = planned(capsys, new, "--prices", "prices.yaml")
    assert (status, reported["cost"]["currency"]) == (2, "EUR")
    assert (reported["cost"]["beforePerHour"], reported["cost"]["afterPerHour"]) == (
        pytest.approx(4.98),
        pytest.approx(7.47),
    )
    assert not planned(capsys, new)[1].get("cost")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cost: {currency: EUR, gpuHours: {X: {price: -1, source: a, date: 2026-01-01}}}",
            "prices.yaml: gpuHours.X.price",
        ),
        ("[", "prices.yaml is not YAML"),
        ("just words", "prices.yaml: must be a JSON object"),
    ],
)
def test_wrong_prices_are_a_sentence(capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    Path("prices.yaml").write_text(text)
    assert main(["plan", "-f", "old.yaml", "--against", "old.yaml", "--prices", "prices.yaml"]) == 1
    assert said in capsys.readouterr().err
