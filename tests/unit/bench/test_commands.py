"""The commands as a whole: exit status, JSON, picture, bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import load_generator
from serving import pages

BENCH = Path(__file__).parents[3] / "hack" / "bench"
TIMES = {"ttft_ms", "tpot_ms", "itl_ms", "request_ms"}
SHORT = ["--prompt-tokens", "8", "--max-tokens", "6"]


async def run(fake: Any, name: str, *arguments: str, stop_after: float = 0.0) -> tuple[int, str, str]:
    command = [BENCH / name, "--url", fake.url, "--model", "tiny", *SHORT, *arguments]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    if stop_after:
        while len(fake.asked) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(stop_after)
        process.send_signal(signal.SIGINT)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return int(process.returncode or 0), out.decode(), err.decode()


async def test_a_latency_test_tells_all_figures(fake: Any, tmp_path: Path) -> None:
    reported, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    arguments = ["--num-requests", "12", "--concurrent-users", "3", "--json", str(reported), "--plot", str(picture)]
    code, out, err = await run(fake, "latency_test.py", *arguments, "--api-key", "secret-key")
    assert code == 0, err
    result = json.loads(reported.read_text())
    assert (result["succeeded"], result["failed"], result["errors"]) == (12, 0, {})
    assert {*result[next(iter(TIMES))]} == {"mean", "p50", "p90", "p95", "p99", "p99_9"}
    assert all(result[name]["p50"] <= result[name]["p99_9"] for name in TIMES)
    assert result["mean_prompt_tokens"] == 8
    assert result["output_tokens_per_second"] == pytest.approx(6 * result["requests_per_second"], rel=0.01)
    assert (result["mean_batch_size"], result["batch_size_from"]) == (4.0, "sum / count of llm_batch_size")
    assert fake.most_in_flight == 3
    assert "P99.9" in out
    assert "secret-key" not in out + err + reported.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_without_a_success_the_status_says_so(fake: Any, tmp_path: Path) -> None:
    reported = tmp_path / "figures.json"
    fake.key = "right"
    code, _, err = await run(fake, "latency_test.py", "--json", str(reported))
    assert code == 2
    assert "refused the key" in err
    assert "Traceback" not in err
    assert not reported.exists()


async def test_throughput_counts_after_the_ramp_up(fake: Any, tmp_path: Path) -> None:
    reported = tmp_path / "figures.json"
    fake.pauses = (0.01,) * 3
    arguments = ["--duration", "0.6", "--ramp-up", "0.8", "--concurrent-users", "2", "--json", str(reported)]
    code, _, err = await run(fake, "throughput_test.py", *arguments)
    assert code == 0, err
    result = json.loads(reported.read_text())
    assert result["seconds"] == pytest.approx(0.6, abs=0.2)
    assert result["succeeded"] < len([each for each in fake.asked if each.get("stream")]) - 5, "those of the ramp-up"


async def test_memory_without_a_gpu_is_said_to_be_so(fake: Any, tmp_path: Path) -> None:
    reported = tmp_path / "figures.json"
    code, out, err = await run(fake, "memory_profile.py", "--batch-sizes", "1,5", "--json", str(reported))
    assert code == 0, err
    result = json.loads(reported.read_text())
    assert [(each["batch_size"], each["succeeded"]) for each in result["batches"]] == [(1, 1), (5, 5)]
    assert not result["batches"][0]["memory"]["gpu"]
    assert "no GPU" in out


async def test_ctrl_c_ends_a_load_with_its_summary(fake: Any, tmp_path: Path) -> None:
    reported = tmp_path / "figures.json"
    arguments = ["--rate", "50", "--duration", "600", "--json", str(reported)]
    code, out, err = await run(fake, "load_generator.py", *arguments, stop_after=0.2)
    assert code == 0, err
    assert "Interrupted" in out
    result = json.loads(reported.read_text())
    assert result["interrupted"]
    assert 0 < result["seconds"] < 60


@pytest.mark.parametrize(
    "arguments",
    [["--duration", "0"], ["--duration", "1e9"], ["--rate", "-1"], ["--rate", "1", "--concurrent-users", "1"]],
)
def test_a_load_has_bounds(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    needed = [] if "--rate" in arguments else ["--rate", "1"]
    with pytest.raises(SystemExit) as left:
        load_generator.main(["--url", "http://127.0.0.1:1", "--model", "tiny", *SHORT, *needed, *arguments])
    assert left.value.code == 2
    assert arguments[-2] in capsys.readouterr().err


def test_batch_size_and_memory_of_a_page() -> None:
    bare = 'vllm:generation_tokens_total{{model_name="a"}} {}\nvllm:iteration_tokens_total_count{{model_name="a"}} {}\n'
    before, after = pages.parse(bare.format(100, 10)), pages.parse(bare.format(400, 60))
    assert pages.batch_size(before, after)[0] == 6.0
    assert pages.batch_size(after, after)[0] is None
    gpu = (
        'llm_gpu_memory_usage_bytes{gpu="0"} 5\nllm_gpu_memory_usage_bytes{gpu="1"} 7\nllm_gpu_memory_total_bytes 80\n'
    )
    assert pages.memory(pages.parse(gpu)) == {"gpu": True, "used_bytes": 12.0, "total_bytes": 80.0}
    looks = [pages.memory(pages.parse(f"process_resident_memory_bytes {size}\n")) for size in (3, 9, 4)]
    assert pages.peak(looks) == {"gpu": False, "resident_bytes": 9.0, "kv_cache_used": None}
