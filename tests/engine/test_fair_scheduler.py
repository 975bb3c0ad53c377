"""vLLM's own scheduler with the gateway's priorities: a burst delays another key little, and all are answered."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.engine import READY_SECONDS, ROOT, make_model, vllm_python


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Of each case, with shares and without."""
    model = make_model(tmp_path_factory.mktemp("scheduled") / "tiny")
    script: list[str | Path] = [vllm_python(), "-P", ROOT / "tests" / "support" / "fair_scheduler.py", model]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    done = subprocess.run(script, env=environ, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_request_waits_for_one_sequence_and_not_for_the_burst(reported: dict[str, list[dict[str, Any]]]) -> None:
    fair, first_come = reported["few_sequences"]
    assert fair["ended"] == first_come["ended"] == 51
    assert fair["ahead"] <= 4 and max(fair["waits"]) <= 41, "until one of the four answers of 40 tokens ends"
    assert first_come["ahead"] >= 47


def test_with_a_full_cache_others_wait_less_and_preempted_requests_are_answered(
    reported: dict[str, list[dict[str, Any]]],
) -> None:
    fair, first_come = reported["small_cache"]
    assert fair["preemptions"] and first_come["preemptions"], "the cache was full"
    for each in (fair, first_come):
        assert (each["ended"], each["made"]) == (50, [20, 64])
    assert sum(fair["waits"]) < sum(first_come["waits"]) / 2
