"""A fetch that is killed at random moments ends with the right digest, and fetches little twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_contract.fetching import FetchResult, fetch_result_from_json
from llmservice_runtime.fetch.download import CHUNK_PIECES
from llmservice_runtime.fetch.journal import PIECE
from support.range_hub import NAME, RangeHub, digest, serve_range_hub

TESTS = Path(__file__).parents[1]
CHUNK = CHUNK_PIECES * PIECE
SEED = int(os.environ.get("FETCH_SEED", "1"))


def write_weights(path: Path, size: int) -> None:
    numbers = random.Random(SEED)
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(numbers.randbytes(min(left, 1 << 24)))


def killed(tmp_path: Path, size: int, kills: int) -> None:
    model, cache, log = tmp_path / "model", tmp_path / "cache", tmp_path / "log"
    model.mkdir()
    cache.mkdir()
    (model / "config.json").write_text("{}")
    write_weights(model / "model.safetensors", size)
    hub = RangeHub(model, buffer=1 << 16)
    points = sorted(random.Random(SEED).sample(range(size // 50, size), kills))
    environ = os.environ | {"FETCH_CACHE": str(cache), "FETCH_SERVICE": "team.chat", "TERMINATION_LOG": str(log)}
    runs, wasted = 0, 0
    with serve_range_hub(hub):
        while True:
            runs += 1
            before = hub.sent
            arguments = [sys.executable, "-m", "support.fetch_process", f"{hub.url}/{NAME}"]
            with subprocess.Popen(arguments, env=environ, cwd=TESTS) as process:
                hub.on_sent = _killer(process, points[0] + wasted) if points else lambda _: None
                code = process.wait()
            if code == 0:
                break
            assert code == -9, f"killed at most: exit code {code}"
            points.pop(0)
            journal = next(cache.rglob(".journal"), None)
            kept = len(journal.read_text().splitlines()) * PIECE if journal else 0
            wasted = max(0, hub.sent - kept)
            print(f"killed after {hub.sent - before} bytes")
        sent = hub.sent
        result = fetch_result_from_json(log.read_text())
        assert isinstance(result, FetchResult)
        assert digest(cache / "models" / result.entry / "model.safetensors") == digest(model / "model.safetensors")
        again = subprocess.run(arguments, env=environ, cwd=TESTS, timeout=60, check=True, capture_output=True)
        assert b'"fetchedBytes":0' in again.stdout
        assert hub.sent == sent, "a restarted pod or a second one fetches nothing"
    print(f"{kills} kills, {runs} runs: {sent - size} of {size} bytes were sent twice")
    assert (runs, points) == (kills + 1, [])
    assert sent - size <= kills * CHUNK


def _killer(process: subprocess.Popen[bytes], point: int):  # type: ignore[no-untyped-def]
    def on_sent(sent: int) -> None:
        if sent >= point and process.poll() is None:
            process.kill()

    return on_sent


def test_a_fetch_that_is_killed_three_times(tmp_path: Path) -> None:
    killed(tmp_path, 64 << 20, 3)


@pytest.mark.campaign
def test_a_fetch_of_2_gb_that_is_killed_ten_times(tmp_path: Path) -> None:
    killed(tmp_path, 2_000_000_000, 10)
