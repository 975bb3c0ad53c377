"""Greedy answers of vLLM on a CPU with and without speculation, as a JSON object for each run.

Run by the Python of the environment with vLLM: ``speculate.py RUNS.json``, a list of objects with model, speculative
(the value of --speculative-config, or null), prompt and tokens.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
}

from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory


def answer(run: dict[str, Any]) -> dict[str, Any]:
    """The tokens, and how many were proposed and accepted."""
    model = LLM(
        model=run["model"],
        speculative_config=run["speculative"],
        enforce_eager=True,
        dtype="float32",
        max_model_len=256,
        disable_log_stats=False,
    )
    sampling = SamplingParams(temperature=0, max_tokens=run["tokens"], ignore_eos=True)
    (made,) = model.generate([run["prompt"]], sampling, use_tqdm=False)
    counts = {each.name: each.value for each in model.get_metrics() if hasattr(each, "value")}
    found = {
        "ids": list(made.outputs[0].token_ids),
        "proposed": counts.get("vllm:spec_decode_num_draft_tokens", 0),
        "accepted": counts.get("vllm:spec_decode_num_accepted_tokens", 0),
    }
    del model
    cleanup_dist_env_and_memory()
    return found


def main() -> None:
    for run in json.loads(Path(sys.argv[1]).read_text()):
        try:
            found = answer(run)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(found), flush=True)


main()
