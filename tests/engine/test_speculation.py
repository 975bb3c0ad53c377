"""Speculation by checkpoints that are made on the spot, with the arguments that the runtime gives to vLLM on a GPU.

The runtime refuses speculation on a CPU: there vLLM answers requests with a temperature wrongly. Greedy answers are
right, so what vLLM makes of the arguments and checkpoints is seen here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.engine import MODELS, READY_SECONDS, ROOT, make_model, make_speculative, vllm_python

PROMPT = "The quick brown fox"
TOKENS = 24


def speculative_config(model: Path, **environ: str) -> Any:
    """What the runtime gives to vLLM on a GPU."""
    settings = {"PYTHONPATH": str(MODELS.parents[1] / "runtime"), "MODEL_NAME": str(model), "ACCELERATOR": "nvidia"}
    command = [vllm_python(), "-m", "llmservice_runtime", "print", "--json"]
    done = subprocess.run(command, env=settings | environ, check=True, capture_output=True, text=True, timeout=120)
    arguments = json.loads(done.stdout)["command"]
    return json.loads(arguments[arguments.index("--speculative-config") + 1])


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    made = tmp_path_factory.mktemp("models")
    tiny, mtp = make_model(made / "tiny"), make_speculative("mtp", made / "mtp")
    head = make_speculative("eagle", made / "head")
    eagle = {"SPECULATIVE_METHOD": "eagle", "SPECULATIVE_MODEL": str(head), "NUM_SPECULATIVE_TOKENS": "2"}
    runs = {
        "alone": (tiny, None),
        "eagle": (tiny, speculative_config(tiny, **eagle)),
        "mtp alone": (mtp, None),
        "mtp": (mtp, speculative_config(mtp, SPECULATIVE_METHOD="mtp", NUM_SPECULATIVE_TOKENS="1")),
    }
    file = made / "runs.json"
    asked = [
        {"model": str(model), "speculative": config, "prompt": PROMPT, "tokens": TOKENS}
        for model, config in runs.values()
    ]
    file.write_text(json.dumps(asked))
    script = [vllm_python(), "-P", ROOT / "tests" / "support" / "speculate.py", file]
    done = subprocess.run(script, check=True, capture_output=True, text=True, timeout=2 * READY_SECONDS)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(runs, found, strict=True))


@pytest.mark.parametrize(("method", "alone"), [("eagle", "alone"), ("mtp", "mtp alone")])
def test_proposals_change_no_greedy_answer(answers: dict[str, dict[str, Any]], method: str, alone: str) -> None:
    assert "error" not in answers[method], answers[method]
    assert len(answers[method]["ids"]) == TOKENS
    assert answers[method]["proposed"] > 0
    assert answers[method]["ids"] == answers[alone]["ids"]
