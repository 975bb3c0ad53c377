"""Loads small models with random weights in vLLM, and prints the memory that vLLM reports: a JSON object for each.

Run by the Python of the environment with vLLM: ``measure_models.py MODELS.json``, which maps names to config.json, or
to params.json of Mistral's own format. All
models are loaded in this process, one after the other, by vLLM's own worker and scheduler.
"""

import gc
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

CACHE_GIB = 1

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
warnings.simplefilter("ignore")

import torch  # noqa: E402

# Where a CPU has these, vLLM chooses other blocks and states. All machines measure the same.
torch.cpu._is_amx_tile_supported = torch.cpu._is_avx512_bf16_supported = lambda: False

from vllm import EngineArgs  # noqa: E402
from vllm.distributed import cleanup_dist_env_and_memory  # noqa: E402
from vllm.model_executor.model_loader import base_loader  # noqa: E402
from vllm.model_executor.models import registry  # noqa: E402
from vllm.v1.engine.llm_engine import LLMEngine  # noqa: E402

_loaded: list[int] = []
_process = base_loader.process_weights_after_loading


def _tables(model: Any) -> list[Any]:
    """Of rotary embeddings, which are no parameters."""
    return [each for name, each in model.named_buffers() if "cos_sin_cache" in name]


def _weigh(model: Any, *rest: Any, **named: Any) -> None:
    """Weights as they are loaded: the kernels of a CPU then pack them in forms of their own."""
    _loaded.append(sum(each.numel() * each.element_size() for each in (*model.parameters(), *_tables(model))))
    _process(model, *rest, **named)


base_loader.process_weights_after_loading = _weigh
# vLLM looks at each architecture in a process of its own, which takes as long as all the rest.
registry._run_in_subprocess = lambda function: function()
# vLLM collects garbage eight times for each model, which would look through all of PyTorch and take most of the time.
gc.collect()
gc.freeze()
gc.freeze = gc.unfreeze = lambda: None
_zeros = torch.zeros


def _untouched(*shape: Any, **named: Any) -> Any:
    """Nothing is computed, so no page of the cache has to be written."""
    return (
        torch.empty(*shape, **named)
        if shape and isinstance(shape[0], int) and shape[0] >= 1 << 24
        else _zeros(*shape, **named)
    )


torch.zeros = _untouched


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """What vLLM tells of one model."""
    with tempfile.TemporaryDirectory() as directory:
        of_mistral = "n_layers" in config and "dim" in config
        Path(directory, "params.json" if of_mistral else "config.json").write_text(json.dumps(config))
        arguments = EngineArgs(
            model=directory,
            config_format="mistral" if of_mistral else "hf",
            load_format="dummy",
            skip_tokenizer_init=True,
            enforce_eager=True,
            dtype="bfloat16",
        )
        engine = LLMEngine.from_engine_args(arguments)
        settings, pool = engine.vllm_config, engine.engine_core.engine_core.scheduler.kv_cache_config
        pages = [spec.page_size_bytes // spec.block_size for spec in _attention(engine)]
        reported = {
            "weights": _loaded.pop(),
            "blocks": pool.num_blocks if pool.kv_cache_tensors else 0,
            "blockBytes": pool.kv_cache_tensors[0].size // pool.num_blocks if pool.kv_cache_tensors else None,
            "perToken": sum(pages),
            "concurrency": settings.cache_config.kv_cache_max_concurrency if pool.kv_cache_tensors else None,
            "context": settings.model_config.max_model_len,
            "batchedTokens": settings.scheduler_config.max_num_batched_tokens,
        }
        del engine
        cleanup_dist_env_and_memory()
        return reported


def _attention(engine: Any) -> list[Any]:
    """The cache of each layer that keeps keys and values."""
    worker = engine.engine_core.engine_core.model_executor.driver_worker.worker
    found = worker.model_runner.get_kv_cache_spec().values()
    return [spec for spec in found if "Mamba" not in type(spec).__name__]


def main() -> None:
    """Measure each, and say of one that could not be loaded why."""
    for name, config in json.loads(Path(sys.argv[1]).read_text()).items():
        try:
            reported = measure(config)
        except Exception as error:
            reported = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps({"name": name, **reported}), flush=True)


main()
