"""Which parsers of tool calls and reasoning go with a model, by its architecture and its chat template.

vLLM needs their names and chooses none itself, for all architectures but one. An architecture alone does not tell: the
Hermes models are Llamas, and those of Qwen3 that do not reason are built as those that do. So a row holds only if the
template, too, has the marks of the format that the parser reads. A parser that is not the model's own would move the
answer to another field: where no row holds, there is none.

Sources: vLLM's pages on tool calling and on reasoning outputs (docs.vllm.ai/en/v0.32.0/features/tool_calling,
.../features/reasoning_outputs), its parsers' own marks, and the templates of the models that these pages name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmservice_runtime.launcher.settings import Parsers

THINKS = "<think>"
"""In the part of a template that begins an answer: it begins the reasoning there, or has a switch that leaves it out.
So the model reasons unless it is asked not to. Qwen3-…-Instruct-2507, which never reasons, has no such part."""
_PROMPT = "add_generation_prompt"
"""What comes behind the last of these in a template begins an answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """A parser, and the models that it is for."""

    parser: str
    architectures: str
    """A pattern of the whole name, as config.json has it."""
    template: tuple[str, ...] = ()
    """Patterns that the template has."""
    never: str = ""
    """A pattern that it does not have."""
    prompt: str = ""
    """A pattern that its part for the beginning of an answer has."""
    for_models: str = ""
    """Names of such models, for the page."""

    def holds(self, architecture: str, template: str) -> bool:
        """Whether it is for such a model."""
        return (
            re.fullmatch(self.architectures, architecture) is not None
            and all(re.search(pattern, template) for pattern in self.template)
            and not (self.never and re.search(self.never, template))
            and re.search(self.prompt, template.rpartition(_PROMPT)[2]) is not None
        )


TOOL_CALLS: tuple[Row, ...] = (
    Row("openai", "GptOssForCausalLM", for_models="gpt-oss"),
    Row("qwen3_coder", "Qwen3.*", ("<tool_call>", "<function="), for_models="Qwen3-Coder, Qwen3.5"),
    Row("qwen3_coder", "NemotronH.*", ("<tool_call>", "<function="), for_models="Nemotron 3"),
    Row(
        "hermes",
        "(Qwen2|Qwen3|Llama|Mistral).*",
        ("<tool_call>", '"?arguments"?'),
        never="<function=|<arg_key>",
        for_models="Qwen2.5, QwQ, Qwen3, Hermes 2 and 3",
    ),
    Row("llama4_pythonic", "Llama4ForConditionalGeneration", (r"<\|header_start\|>",), for_models="Llama 4"),
    Row(
        "llama3_json",
        "(Llama|Mllama).*",
        (r"<\|start_header_id\|>", r'"parameters"'),
        for_models="Llama 3.1, 3.2, 3.3",
    ),
    Row("mistral", "(Mistral|Mixtral|Pixtral|Ministral).*", (r"\[TOOL_CALLS\]",), for_models="Mistral, Mixtral"),
    Row("kimi_k2", "(DeepseekV3|Kimi.*)ForCausalLM", (r"<\|tool_calls_section_begin\|>",), for_models="Kimi K2"),
    Row(
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        ("<｜tool▁calls▁begin｜>", "```json"),
        for_models="DeepSeek V3-0324, R1-0528",
    ),
    Row(
        "deepseek_v31",
        "DeepseekV3ForCausalLM",
        ("<｜tool▁calls▁begin｜>",),
        never="```json",
        for_models="DeepSeek V3.1",
    ),
    Row("glm45", "Glm4Moe.*", ("<arg_key>",), for_models="GLM 4.5 to 4.7"),
    Row("minimax_m2", "MiniMaxM2ForCausalLM", ("<invoke",), for_models="MiniMax M2"),
    Row("seed_oss", "SeedOssForCausalLM", ("<seed:tool_call>",), for_models="Seed-OSS"),
    Row("granite4", "Granite.*", ("<tool_call>",), for_models="Granite 4"),
    Row("granite", "Granite.*", (r"<\|tool_call\|>",), for_models="Granite 3"),
    Row("phi4_mini_json", "Phi3ForCausalLM", (r"<\|tool\|>",), for_models="Phi-4-mini"),
    Row("olmo3", "Olmo3ForCausalLM", ("<function_calls>|<functions>",), for_models="Olmo 3"),
    Row("hunyuan_a13b", "HunYuanMoEV1ForCausalLM", ("<tool_calls>",), for_models="Hunyuan-A13B"),
    Row("internlm", "InternLM2ForCausalLM", (r"<\|plugin\|>",), for_models="InternLM 2.5"),
    Row("jamba", "JambaForCausalLM", ("<tool_calls>",), for_models="Jamba 1.5"),
    Row("lfm2", "Lfm2.*", (r"<\|tool_call_start\|>",), for_models="LFM2"),
)
"""The first row that holds counts."""

REASONING: tuple[Row, ...] = (
    Row("openai_gptoss", "GptOssForCausalLM", for_models="gpt-oss"),
    Row("qwen3", "Qwen3.*", prompt=THINKS, for_models="Qwen3, Qwen3.5 and their Thinking models"),
    Row("kimi_k2", "(DeepseekV3|Kimi.*)ForCausalLM", (r"<\|im_assistant\|>", "<think>"), for_models="Kimi K2 Thinking"),
    Row(
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        ("<｜Assistant｜>", r"\bthinking\b", "</think>"),
        for_models="DeepSeek V3.1",
    ),
    Row(
        "deepseek_r1",
        "(DeepseekV3|Qwen2|Llama)ForCausalLM",
        prompt=THINKS,
        for_models="DeepSeek R1 and its distillations, QwQ",
    ),
    Row("glm45", "Glm4Moe.*", ("<think>",), for_models="GLM 4.5 to 4.7"),
    Row("minimax_m2", "MiniMaxM2ForCausalLM", prompt=THINKS, for_models="MiniMax M2"),
    Row("seed_oss", "SeedOssForCausalLM", ("<seed:think>",), for_models="Seed-OSS"),
    Row("nemotron_v3", "NemotronH.*", prompt=THINKS, for_models="Nemotron 3"),
    Row("olmo3", "Olmo3ForCausalLM", prompt=THINKS, for_models="Olmo 3 Think"),
    Row("granite", "Granite.*", ("Here is my thought process",), for_models="Granite 3.2"),
    Row("mistral", "(Mistral|Pixtral|Ministral).*", (r"\[THINK\]",), for_models="Magistral"),
    Row("hunyuan_a13b", "HunYuanMoEV1ForCausalLM", ("<think>",), for_models="Hunyuan-A13B"),
)


def parsers_of(architecture: str, template: str) -> Parsers:
    """Those of a model with that architecture and chat template."""
    return Parsers(_first(TOOL_CALLS, architecture, template), _first(REASONING, architecture, template))


def _first(rows: tuple[Row, ...], architecture: str, template: str) -> str | None:
    return next((row.parser for row in rows if row.holds(architecture, template)), None)
