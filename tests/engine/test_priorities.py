"""vLLM still does what the runtime's priorities rely on; otherwise the keys of a service would not share the engine."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.engine import READY_SECONDS, vllm_python

CALLS = {
    "vllm.v1.engine.async_llm.AsyncLLM._add_request": (
        "self.output_processor.add_request(request, prompt, parent_req, index, queue)",
        "await self.engine_core.add_request_async(request)",
    ),
    "vllm.v1.engine.async_llm.AsyncLLM.add_request": (
        "self.output_processor.add_request( child_request, prompt_text, parent_request, idx, queue )",
        "await self.engine_core.add_request_async(child_request)",
    ),
    "vllm.v1.engine.async_llm.AsyncLLM.generate": ("await self.add_request( request_id, prompt, sampling_params,",),
    "vllm.v1.engine.async_llm.AsyncLLM.encode": ("await self.add_request( request_id, prompt, pooling_params,",),
    "vllm.v1.engine.async_llm.AsyncLLM._run_output_handler": ("scheduler_stats=outputs.scheduler_stats,",),
    "vllm.v1.engine.output_processor.OutputProcessor.add_request": ("self.request_states[request_id] = req_state",),
    "vllm.v1.engine.output_processor.RequestState.__init__": ("self.is_prefilling = True",),
    "vllm.v1.engine.output_processor.OutputProcessor.process_outputs": ("req_state.is_prefilling = False",),
    "vllm.v1.engine.input_processor.InputProcessor.process_inputs": ('prompt.get("arrival_time", time.time())',),
    "vllm.v1.core.sched.scheduler.Scheduler.schedule": (
        "if num_running >= self.max_num_active_reqs: break",
        "request = request_queue.peek_request()",
    ),
}
"""What each function does, in this order."""
SCRIPT = """
import inspect, json, pkgutil, sys
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.request_queue import SchedulingPolicy, create_request_queue
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.request import Request

def source(name):
    lines = (line.split("  # ")[0] for line in inspect.getsource(pkgutil.resolve_name(name)).splitlines())
    return " ".join(" ".join(lines).split())

def order(priorities):
    queue = create_request_queue(SchedulingPolicy.PRIORITY)
    for number, priority in enumerate(priorities):
        sent = EngineCoreRequest(str(number), [1, 2], None, SamplingParams(), None, float(number), None, None, None)
        sent.priority = priority
        queue.add_request(Request.from_engine_core_request(sent, None))
    return [queue.pop_request().request_id for _ in priorities]

print(json.dumps({"sources": {name: source(name) for name in sys.argv[1:]},
                  "orders": [order([30, 5, 2**62, 5, 0]), order([0] * 20)]}))
"""


@pytest.fixture(scope="module")
def reported() -> dict[str, object]:
    command = [str(vllm_python()), "-P", "-c", SCRIPT, *CALLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("place", CALLS)
def test_vllm_calls_it_in_this_order(reported: dict[str, dict[str, str]], place: str) -> None:
    at = [reported["sources"][place].find(call) for call in CALLS[place]]
    assert -1 not in at and at == sorted(at)


def test_the_lowest_priority_is_the_first_and_equal_ones_keep_the_order_of_arrival(reported: dict[str, object]) -> None:
    assert reported["orders"] == [["4", "1", "3", "0", "2"], [str(number) for number in range(20)]]
