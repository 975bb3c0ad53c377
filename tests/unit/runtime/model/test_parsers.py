"""Which parsers of tool calls and reasoning go with a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llmservice_contract.engine_arguments import REASONING_PARSERS, TOOL_CALL_PARSERS
from llmservice_contract.source import Directory
from llmservice_runtime.launcher.settings import NO_PARSERS, Parsers
from llmservice_runtime.model import chat_template
from llmservice_runtime.model.parsers import REASONING, TOOL_CALLS, parsers_of

# What the templates of these models have, cut down to what matters here.
HERMES = (
    '{%- if tools %}<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>'
    "{%- endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}{{ message.content }}<|im_end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\\n{%- endif %}"
)
QWEN3 = HERMES.replace(
    "<|im_start|>assistant\\n",
    "<|im_start|>assistant\\n{%- if enable_thinking is defined and not enable_thinking %}<think></think>{%- endif %}",
)
QWEN3_INSTRUCT = HERMES.replace("{%- if add", "{%- if '</think>' in content %}{%- endif %}{%- if add")
CODER = (
    "{%- if tools %}<tool_call>\\n<function=example>\\n<parameter=a>{%- endif %}"
    "{%- if add_generation_prompt %}x{%- endif %}"
)
LLAMA3 = '{{ "<|start_header_id|>" }}Respond in the format {"name": function name, "parameters": dictionary}'
DEFINED = "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
R1 = DEFINED + "{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"
R1_TOOLS = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function\\n```json\\n" + R1
V31 = DEFINED + (
    "<｜tool▁calls▁begin｜>{%- if not thinking is defined %}{% set thinking = false %}{%- endif %}"
    "{%- if add_generation_prompt %}<｜Assistant｜>{%- if not thinking %}</think>"
    "{%- else %}<think>{%- endif %}{%- endif %}"
)
KIMI = "<|tool_calls_section_begin|><think>{{rc}}</think>{%- if add_generation_prompt -%}<|im_assistant|>{%- endif -%}"
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("architecture", "template", "found"),
    [
        ("Qwen2ForCausalLM", HERMES, Parsers("hermes", None)),
        ("Qwen3ForCausalLM", QWEN3, Parsers("hermes", "qwen3")),
        ("Qwen3MoeForCausalLM", QWEN3_INSTRUCT, Parsers("hermes", None)),
        ("Qwen3ForCausalLM", DEFINED + "<think>" + QWEN3_INSTRUCT, Parsers("hermes", None)),
        ("Glm4MoeForCausalLM", "<tool_call>{name}<arg_key>{key}" + QWEN3, Parsers("glm45", "glm45")),
        ("DeepseekV3ForCausalLM", KIMI, Parsers("kimi_k2", "kimi_k2")),
        ("Qwen3MoeForCausalLM", CODER, Parsers("qwen3_coder", None)),
        ("LlamaForCausalLM", LLAMA3, Parsers("llama3_json", None)),
        ("LlamaForCausalLM", HERMES, Parsers("hermes", None)),
        ("LlamaForCausalLM", R1, Parsers(None, "deepseek_r1")),
        ("Qwen2ForCausalLM", R1, Parsers(None, "deepseek_r1")),
        ("DeepseekV3ForCausalLM", R1_TOOLS, Parsers("deepseek_v3", "deepseek_r1")),
        ("DeepseekV3ForCausalLM", V31, Parsers("deepseek_v31", "deepseek_v3")),
        ("MistralForCausalLM", "[TOOL_CALLS]", Parsers("mistral", None)),
        ("GptOssForCausalLM", "", Parsers("openai", "openai_gptoss")),
        ("LlamaForCausalLM", PLAIN, NO_PARSERS),
        ("Qwen3ForCausalLM", PLAIN, NO_PARSERS),
        ("Qwen3ForSequenceClassification", "", NO_PARSERS),
        ("UnknownForCausalLM", QWEN3, NO_PARSERS),
        ("BertModel", "", NO_PARSERS),
    ],
)
def test_a_model_has_the_parsers_of_its_format(architecture: str, template: str, found: Parsers) -> None:
    assert parsers_of(architecture, template) == found


def test_every_parser_is_one_of_the_pinned_vllm() -> None:
    assert {row.parser for row in TOOL_CALLS} <= set(TOOL_CALL_PARSERS)
    assert {row.parser for row in REASONING} <= set(REASONING_PARSERS)
    for row in (*TOOL_CALLS, *REASONING):
        assert row.for_models
        for pattern in (row.architectures, *row.template, row.never):
            re.compile(pattern)


def model(directory: Path, architecture: str = "Qwen3ForCausalLM", **files: str) -> Directory:
    config = {"architectures": [architecture]}
    for name, text in {
        "config.json": json.dumps(config),
        **{k.replace("__", "."): v for k, v in files.items()},
    }.items():
        (directory / name).write_text(text)
    return Directory(str(directory))


def test_the_template_is_read_where_transformers_reads_it(tmp_path: Path) -> None:
    of_config = {"tokenizer_config__json": json.dumps({"chat_template": HERMES})}
    source = model(tmp_path, **of_config)
    assert chat_template.parsers(source, None, None) == Parsers("hermes", None)
    source = model(tmp_path, chat_template__jinja=QWEN3, **of_config)
    assert chat_template.parsers(source, None, None) == Parsers("hermes", "qwen3")


def test_templates_with_names_count_together(tmp_path: Path) -> None:
    templates = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": HERMES}]
    source = model(tmp_path, tokenizer_config__json=json.dumps({"chat_template": templates}))
    assert chat_template.parsers(source, None, None).tool_calls == "hermes"


def test_a_template_that_was_chosen_counts_in_place_of_the_models_own(tmp_path: Path) -> None:
    source = model(tmp_path, chat_template__jinja=QWEN3)
    chosen = tmp_path / "chosen.jinja"
    chosen.write_text(CODER)
    assert chat_template.parsers(source, None, str(chosen)) == Parsers("qwen3_coder", None)
    assert chat_template.parsers(source, None, "template_chatml.jinja") == NO_PARSERS


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tokenizer_config__json": "[]"},
        {"tokenizer_config__json": "{"},
        {"tokenizer_config__json": json.dumps({"chat_template": 3})},
        {"tokenizer_config__json": json.dumps({"chat_template": [3, {"template": None}]})},
        {"chat_template__jinja": HERMES + " " * chat_template.MOST_BYTES},
        {"config__json": json.dumps({"architectures": [3]})},
        {"config__json": json.dumps({"architectures": "Qwen3ForCausalLM"}), "chat_template__jinja": HERMES},
        {"config__json": "no JSON", "chat_template__jinja": HERMES},
    ],
)
def test_what_can_not_be_read_chooses_nothing(files: dict[str, str], tmp_path: Path) -> None:
    assert chat_template.parsers(model(tmp_path, **files), None, None) == NO_PARSERS


def test_a_checkpoint_in_mistrals_own_format_has_mistrals_parser(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({"dim": 4096, "n_heads": 32, "n_layers": 32}))
    (tmp_path / "consolidated.safetensors").write_bytes(b"")
    assert chat_template.parsers(Directory(str(tmp_path)), None, None) == Parsers("mistral", None)
