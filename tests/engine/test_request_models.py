"""vLLM's own request classes against the front's tables of fields whose JSON type has to be plain.

A field that vLLM adds, or whose type it changes, fails here until a developer has decided whether limits depend on it.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.caps import check_caps
from llmservice_runtime.gateway.fields import BOOLEAN_LOGPROBS, BOOLEANS, INTEGERS
from llmservice_runtime.gateway.routes import Kind
from support.engine import READY_SECONDS, ROOT, vllm_python

INDIFFERENT = {
    *("add_generation_prompt", "add_special_tokens", "apply_softmax", "continue_final_message", "early_stopping"),
    *("include_stop_str_in_output", "item_first", "max_tokens_per_doc", "max_tokens_per_query", "output_dimension"),
    *("parallel_tool_calls", "priority", "return_mm_kwargs", "return_prompt_text", "return_token_strs", "seed"),
    *("routed_experts_prompt_start", "skip_special_tokens", "spaces_between_special_tokens", "top_k"),
    *("use_activation", "watermarking"),
}
"""No limit or cap depends on them, nor how long the engine works and who waits for it."""
KINDS = {
    "BatchRequest": Kind.BATCH,
    "CompletionRequest": Kind.COMPLETION,
    "ChatCompletionRequest": Kind.CHAT,
    "BatchChatCompletionRequest": Kind.CHAT_BATCH,
    "ResponsesRequest": Kind.RESPONSES,
    "AnthropicMessagesRequest": Kind.MESSAGES,
}
Models = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def models() -> Models:
    """Fields that are integers or booleans, by class."""
    script = [vllm_python(), "-P", ROOT / "tests" / "support" / "request_models.py"]
    environ = os.environ | {"PYTHONPATH": str(ROOT / "runtime")}
    done = subprocess.run(script, env=environ, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    reported: Models = json.loads(done.stdout.splitlines()[-1])
    assert KINDS.keys() <= reported.keys() and len(reported) > 20
    return reported


def test_each_number_and_boolean_of_vllm_is_known(models: Models) -> None:
    found = {field for fields in models.values() for field in fields}
    assert found - INTEGERS - BOOLEANS == INDIFFERENT


def test_the_tables_say_what_vllm_says(models: Models) -> None:
    for name, fields in models.items():
        for field, types in fields.items():
            if field in BOOLEANS or (field == "logprobs" and KINDS.get(name) in BOOLEAN_LOGPROBS):
                assert types == ["boolean"], f"{name}.{field}"
            elif field in INTEGERS:
                assert types == ["integer"], f"{name}.{field}"


def test_what_vllm_would_convert_is_refused(models: Models) -> None:
    for name, kind in KINDS.items():
        for field, types in models[name].items():
            if field not in INDIFFERENT:
                wrong = ["true", "off", 1, 0.0] if types == ["boolean"] else ["3", 3.0, True]
                for value in wrong:
                    refusal = check_caps(kind, {field: value}, Caps())
                    assert refusal is not None and refusal.param == field, f"{name}.{field}: {value!r}"
