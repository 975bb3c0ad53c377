#!/usr/bin/env python3
"""The runtime on a GPU: each format of weights and KV cache, attention kernel and method of speculative decoding.

A tiny model is trained to continue one text. vLLM, as the runtime starts it, serves the model once for each of CASES.
If the model continues the text, the setting works; vLLM's log proves that the setting was used (lines that repeat the
command line do not count). Also reported: seconds until it answers, tokens of KV cache, and the memory in use as the
runtime and nvidia-smi report it. hack/models/make_quantized.py makes the quantized checkpoints.

    LLMSERVICE_VLLM=/opt/vllm hack/bench/gpu.py --json FILE [--only CASE ...] [--seconds 300]

LLMSERVICE_VLLM is the environment with vLLM for GPUs. Exits with 1 if a case fails.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overhead.servers import GPU, ROOT, VLLM, Fleet, Server, make_model, runtime

PROMPT = "Permission is hereby granted, free of charge, to any person"
GOES_ON = " obtaining a copy of this software and associated documentation files"
TOKENS = 24
MIB = 1024 * 1024
ECHOES = ("llmservice: starting", "non-default args")
"""In lines that repeat the command line."""
CACHE_LINE = re.compile(r"GPU KV cache size: ([\d,]+) tokens")


@dataclass(frozen=True)
class Case:
    """A way to serve: the settings of the runtime, how the checkpoint is stored, and what vLLM says when it does so."""

    settings: dict[str, str] = field(default_factory=dict)
    stored: str | None = None
    says: str = ""


CASES = {
    "bf16": Case(),
    "fp8, quantized while loading": Case({"QUANTIZATION_MODE": "fp8"}, says="quantization=fp8"),
    "fp8": Case({"QUANTIZATION_MODE": "fp8"}, "fp8", "quantization=compressed-tensors"),
    "int8": Case({"QUANTIZATION_MODE": "int8"}, "int8", "quantization=compressed-tensors"),
    "int4": Case({"QUANTIZATION_MODE": "int4"}, "int4", "quantization=compressed-tensors"),
    "gptq": Case({"QUANTIZATION_MODE": "gptq"}, "gptq", "quantization=gptq"),
    "awq": Case({"QUANTIZATION_MODE": "awq"}, "awq", "quantization=awq"),
    "fp8 KV cache": Case({"KV_CACHE_DTYPE": "fp8"}, says="kv_cache_dtype=fp8"),
    "Triton attention": Case({"ATTENTION_BACKEND": "triton"}, says="Using TRITON_ATTN"),
    "speculation by ngram": Case({"SPECULATIVE_METHOD": "ngram"}, says="SpeculativeConfig(method='ngram'"),
    "speculation by a draft": Case(
        {"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "{model}"}, says="SpeculativeConfig(method='draft_model'"
    ),
}


def main() -> int:
    """Try, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases, all if absent")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no further case begins")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    end, found = time.monotonic() + options.seconds, {}
    with tempfile.TemporaryDirectory(prefix="gpu-") as name:
        home = Path(name)
        model = make_model(home / "plain")
        for case in options.only:
            found[case] = run(case, model, home / str(len(found))) if time.monotonic() < end else {"tried": False}
            print(f"{case}: {json.dumps(found[case])}", file=sys.stderr, flush=True)
            if options.json:
                options.json.write_text(json.dumps({"gpu": gpu_name(), "cases": found}, indent=2) + "\n")
    return 0 if all(each.get("works") for each in found.values()) else 1


def run(name: str, model: Path, directory: Path) -> dict[str, Any]:
    """One case with its engine; why it did not start, where it does not."""
    case = CASES[name]
    directory.mkdir()
    served = model if case.stored is None else stored(model, directory / "model", case.stored)
    settings = {key: value.format(model=model) for key, value in case.settings.items()}
    began = time.monotonic()
    try:
        with Fleet(directory) as fleet:
            server = fleet.ready(runtime(fleet, "engine", served, settings, device=GPU))
            seconds = time.monotonic() - began
            text, memory = complete(server), gpu_memory(server)
    except SystemExit as error:
        return {"works": False, "why": str(error)[-1500:]}
    lines = (directory / "engine.log").read_text(errors="replace").splitlines()
    log = "\n".join(line for line in lines if not any(echo in line for echo in ECHOES))
    cache = CACHE_LINE.search(log)
    used = not case.says or case.says in log
    return {
        "works": used and text.startswith(GOES_ON[:40]),
        "text": text,
        "used": used,
        "seconds_to_ready": round(seconds, 1),
        "kv_cache_tokens": int(cache[1].replace(",", "")) if cache else None,
        "gpu_memory_mib": memory,
    }


def stored(model: Path, directory: Path, scheme: str) -> Path:
    script = ROOT / "hack/models/make_quantized.py"
    subprocess.run([VLLM / "python", script, model, directory, "--scheme", scheme], check=True, stdout=sys.stderr)
    return directory


def complete(server: Server) -> str:
    """What the model says after PROMPT."""
    body = {"model": server.model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["text"])


def gpu_memory(server: Server) -> dict[str, float | None]:
    """The used memory of the first GPU: as /metrics tells, and as nvidia-smi tells."""
    with urllib.request.urlopen(server.metrics_url, timeout=30) as answer:
        page = answer.read().decode()
    reported = re.search(r'^llm_gpu_memory_usage_bytes\{gpu="0"\} (\S+)$', page, re.MULTILINE)
    smi = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return {
        "metric": round(float(reported[1]) / MIB) if reported else None,
        "nvidia_smi": float(subprocess.check_output(smi, text=True)),
    }


def gpu_name() -> str:
    return subprocess.check_output(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"], text=True
    ).strip()


if __name__ == "__main__":
    sys.exit(main())
