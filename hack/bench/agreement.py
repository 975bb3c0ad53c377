#!/usr/bin/env python3
"""Compares the figures of latency_test.py and `vllm bench serve` on the same server, in turns.

Both use the same number of prompts and the same lengths, ignore the end of sequence and sample greedily; vLLM uses its
random data set, latency_test.py its own prompts, both new ones in each run. The order changes from pair to pair, so
that other load on the machine affects both. There are two servers: `paced` answers on a fixed schedule, so differences
come only from the tools; and real vLLM on this CPU, whose speed varies from run to run. Exits with 1 if for `paced` a
ratio of medians differs from 1 by more than --within.

    hack/bench/agreement.py --json docs/benchmarks/agreement.json [--pairs 5] [--only paced]
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.cluster import wait_until
from support.engine import Engine, make_model, vllm_python
from support.ports import free_port
from support.web import answers

TOKENS = 64
OURS = {
    "requests_per_second": lambda result: result["requests_per_second"],
    "output_tokens_per_second": lambda result: result["output_tokens_per_second"],
    "mean_ttft_ms": lambda result: result["ttft_ms"]["mean"],
    "mean_tpot_ms": lambda result: result["tpot_ms"]["mean"],
    "mean_itl_ms": lambda result: result["itl_ms"]["mean"],
}
THEIRS = {
    "requests_per_second": "request_throughput",
    "output_tokens_per_second": "output_throughput",
    "mean_ttft_ms": "mean_ttft_ms",
    "mean_tpot_ms": "mean_tpot_ms",
    "mean_itl_ms": "mean_itl_ms",
}
"""Names in the result file of `vllm bench serve`."""


def main() -> int:
    """Run the pairs, print and write medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--pairs", type=int, default=5, help="how often each runs (5)")
    parser.add_argument("--only", choices=("paced", "vllm"), help="one server alone")
    parser.add_argument("--requests", type=int, default=200, help="requests of each run (200)")
    parser.add_argument("--users", type=int, default=8, help="requests in flight (8)")
    parser.add_argument("--within", type=float, default=0.03, help="how far from 1 a ratio may be (0.03)")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "settings": {"requests": options.requests, "users": options.users, "tokens": TOKENS, "pairs": options.pairs}
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        model = make_model(Path(folder, "model"))
        for name, server in SERVERS.items():
            if options.only in (None, name):
                with server(model) as url:
                    result[name] = pairs(url, model, options)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    judged = result.get("paced", {}).values()
    return 1 if any(abs(each["ratio"] - 1) > options.within for each in judged) else 0


@contextlib.contextmanager
def paced(_: Path) -> Iterator[str]:
    """The address of a server with a timetable."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    with subprocess.Popen([sys.executable, ROOT / "hack/bench/paced_server.py", "--port", str(port)]) as process:
        try:
            wait_until(lambda: answers(f"{url}/health"), "the paced server answers", timeout=30, every=0.1)
            yield url
        finally:
            process.terminate()


@contextlib.contextmanager
def vllm(model: Path) -> Iterator[str]:
    """The address of the runtime on this CPU."""
    with Engine(model.parent, model, ENABLE_PREFIX_CACHING="false", OMP_NUM_THREADS="1") as engine:
        engine.wait_until_ready()
        yield f"http://127.0.0.1:{engine.port}"


SERVERS = {"paced": paced, "vllm": vllm}


def pairs(url: str, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What both say of the server at this address."""
    runs: list[dict[str, dict[str, float]]] = []
    ours(url, model, 0, options)  # an engine's first requests are slower than all that follow
    for pair in range(1, options.pairs + 1):
        found = {}
        for name in ("ours", "vllm") if pair % 2 else ("vllm", "ours"):
            run = ours if name == "ours" else theirs
            found[name] = run(url, model, pair, options)
        runs.append(found)
        print(f"pair {pair}: {json.dumps(found)}", flush=True)
    return compared(runs)


def ours(url: str, model: Path, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One run of latency_test.py."""
    output = model.parent / "ours.json"
    command = [sys.executable, ROOT / "hack/bench/latency_test.py", "--url", url, "--model", "tiny", "--json", output]
    command += ["--num-requests", options.requests, "--concurrent-users", options.users, "--seed", seed]
    command += ["--prompt-tokens", TOKENS, "--max-tokens", TOKENS]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads(output.read_text())
    expected = (options.requests, TOKENS, TOKENS)
    assert (result["succeeded"], result["mean_prompt_tokens"], result["mean_output_tokens"]) == expected, result
    return {name: pick(result) for name, pick in OURS.items()}


def theirs(url: str, model: Path, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One run of `vllm bench serve`."""
    output = model.parent / "theirs.json"
    command = [vllm_python().parent / "vllm", "bench", "serve", "--backend", "openai", "--base-url", url]
    command += ["--model", "tiny", "--tokenizer", model, "--dataset-name", "random", "--random-input-len", TOKENS]
    command += ["--random-output-len", TOKENS, "--num-prompts", options.requests, "--max-concurrency", options.users]
    command += ["--ignore-eos", "--temperature", 0, "--seed", seed, "--disable-tqdm", "--save-result"]
    command += ["--result-dir", output.parent, "--result-filename", output.name]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(output.read_text())
    assert result["completed"] == options.requests, result
    assert result["total_output_tokens"] == options.requests * TOKENS, result["total_output_tokens"]
    return {name: round(result[key], 4) for name, key in THEIRS.items()}


def compared(runs: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians of each, and their ratio, by figure; the ratios within the pairs tell how far the machine wavers."""
    found = {}
    for name in OURS:
        mine, its = ([run[which][name] for run in runs] for which in ("ours", "vllm"))
        ratio = statistics.median(mine) / statistics.median(its)
        found[name] = {
            "ours": round(statistics.median(mine), 4),
            "vllm_bench_serve": round(statistics.median(its), 4),
            "ratio": round(ratio, 4),
            "ratio_in_pairs": [round(m / i, 4) for m, i in zip(mine, its, strict=True)],
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
