"""vLLM still calls for each prompt what the runtime paces; otherwise many prompts would hold the event loop again."""

from __future__ import annotations

import subprocess

import pytest

from support.engine import READY_SECONDS, vllm_python

CALLS = {
    "vllm.v1.engine.async_llm.AsyncLLM.generate": "await self.add_request(",
    "vllm.v1.engine.async_llm.AsyncLLM.encode": "await self.add_request(",
    "vllm.renderers.base.BaseRenderer.tokenize_prompts_async": "self.tokenize_prompt_async(",
    "vllm.entrypoints.openai.completion.serving.OpenAIServingCompletion._create_completion": (
        "await self._get_trace_headers("
    ),
}


@pytest.fixture(scope="module")
def sources() -> list[str]:
    script = (
        "import inspect, pkgutil, sys\n"
        "for name in sys.argv[1:]:\n"
        "    print(inspect.getsource(pkgutil.resolve_name(name)).replace('\\n', ' '))\n"
    )
    command = [vllm_python(), "-P", "-c", script, *CALLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()[-len(CALLS) :]


@pytest.mark.parametrize("place", range(len(CALLS)), ids=[name.rpartition(".")[2] for name in CALLS])
def test_vllm_calls_it_for_each_prompt(sources: list[str], place: int) -> None:
    assert list(CALLS.values())[place] in sources[place]
