"""vLLM's own scheduler with the priorities of the gateway. For the engine's Python alone, with the path of a model.

No model runs; each step makes a token of whatever the scheduler has chosen. Prints what happened as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch  # type: ignore[import-not-found]
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from llmservice_runtime.gateway.fair_sharing import FairShares

BLOCK = 16


class SchedulerAlone:
    """The scheduler, and what has become of each request."""

    def __init__(self, model: str, slots: int, blocks: int, fair: bool) -> None:
        cache = CacheConfig(block_size=BLOCK, enable_prefix_caching=False)
        cache.num_gpu_blocks = blocks
        config = VllmConfig(
            scheduler_config=SchedulerConfig(
                max_num_seqs=slots,
                max_num_batched_tokens=256,
                max_model_len=512,
                enable_chunked_prefill=True,
                is_encoder_decoder=False,
                policy="priority",
                async_scheduling=False,
            ),
            model_config=ModelConfig(model=model, dtype="float32", max_model_len=512, skip_tokenizer_init=True),
            cache_config=cache,
            device_config=DeviceConfig("cpu"),
        )
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        kv = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
        grammars = StructuredOutputManager(config)
        self.scheduler = Scheduler(config, kv, grammars, block_size=BLOCK, hash_block_size=BLOCK, log_stats=True)
        self.shares = FairShares(lambda: 0.0)
        self.fair = fair
        self.jobs: dict[str, Any] = {}
        self.ended: list[str] = []
        self.preemptions = self.step_number = 0

    def ask(self, key: str, prompt: int, tokens: int) -> str:
        """A request; the result is its name."""
        name = f"{key}-{len(self.jobs)}"
        share, state = self.shares.begin(key, 1), SimpleNamespace(is_prefilling=True)
        parameters = SamplingParams(max_tokens=tokens, ignore_eos=True)
        sent = EngineCoreRequest(
            name, list(range(1, prompt + 1)), None, parameters, None, float(len(self.jobs)), None, None, None
        )
        priority = share.priority(state, prompt, tokens)
        sent.priority = priority if self.fair else 0
        self.jobs[name] = SimpleNamespace(share=share, state=state, made=0, first=None, arrived=self.step_number)
        self.scheduler.add_request(Request.from_engine_core_request(sent, None))
        return name

    def step(self) -> None:
        """One step of the engine."""
        output = self.scheduler.schedule()
        self.preemptions += len(output.preempted_req_ids or ())
        names = list(output.num_scheduled_tokens)
        known = [self.scheduler.requests[name] for name in names]
        sampled = [[7] if each.num_computed_tokens >= each.num_tokens else [] for each in known]
        places = {name: place for place, name in enumerate(names)}
        result = ModelRunnerOutput(req_ids=names, req_id_to_index=places, sampled_token_ids=sampled)
        self.step_number += 1
        for outputs in self.scheduler.update_from_output(output, result).values():
            for each in outputs.outputs:
                job = self.jobs[each.request_id]
                job.made += len(each.new_token_ids)
                if job.first is None and each.new_token_ids:
                    job.first, job.state.is_prefilling = self.step_number, False
                if each.finish_reason is not None:
                    job.share.end(job.made)
                    self.ended.append(each.request_id)

    def run(self, steps: int, before: Callable[[int], None] = lambda _: None) -> None:
        """So many steps; `before` is called before each with its number."""
        for _ in range(steps):
            before(self.step_number)
            self.step()

    def waits(self, names: list[str]) -> list[int]:
        """Steps until the first token of each."""
        return [self.jobs[name].first - self.jobs[name].arrived for name in names]


def few_sequences(model: str, fair: bool) -> dict[str, Any]:
    """A burst of 50 requests for 4 sequences, and a request of another key."""
    engine = SchedulerAlone(model, 4, 1000, fair)
    for _ in range(50):
        engine.ask("burst", 20, 40)
    engine.run(10)
    name = engine.ask("polite", 5, 5)
    engine.run(2000)
    return {"waits": engine.waits([name]), "ahead": engine.ended.index(name), "ended": len(engine.ended)}


def small_cache(model: str, fair: bool) -> dict[str, Any]:
    """A burst that fills the KV cache, so that requests are preempted, and 20 requests of another key."""
    engine = SchedulerAlone(model, 64, 61, fair)
    for _ in range(30):
        engine.ask("burst", 32, 64)
    engine.run(20)
    polite: list[str] = []

    def ask(step: int) -> None:
        if step % 15 == 0 and len(polite) < 20:
            polite.append(engine.ask("polite", 20, 20))

    engine.run(1500, ask)
    made = sorted({job.made for job in engine.jobs.values()})
    return {
        "waits": engine.waits(polite),
        "preemptions": engine.preemptions,
        "ended": len(engine.ended),
        "made": made,
    }


CASES = (few_sequences, small_cache)
print(json.dumps({case.__name__: [case(sys.argv[1], fair) for fair in (True, False)] for case in CASES}))
