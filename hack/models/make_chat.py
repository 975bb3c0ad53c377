"""Makes a small Qwen3 model that knows a few chats by heart: one with a tool call, one with reasoning and an answer.

It stands for chat models in tests with real vLLM, without a download: its answers have the formats of Qwen3 (reasoning
in <think>, tool calls in <tool_call>), so that vLLM's own parsers read them. Weights are seeded and trained for some
seconds. Needs torch, transformers and tokenizers, which vLLM brings along.

    python make_chat.py DIRECTORY [--steps 300] [--without-template]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHAT_TEMPLATE = (
    "{%- if tools %}<|im_start|>tools:{% for tool in tools %} {{ tool.function.name }}{% endfor %}. "
    'A call is <tool_call>{"name": NAME, "arguments": OBJECT}</tool_call><|im_end|>{% endif %}'
    "{%- for message in messages %}<|im_start|>{{ message.role }}: {{ message.content }}<|im_end|>{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant: "
    "{%- if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CHATS: tuple[dict[str, Any], ...] = (
    {
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "tools": [TOOL],
        "answer": "<think>\nThe tool knows it.\n</think>\n\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
    },
    {
        "messages": [{"role": "user", "content": "How much is two plus two?"}],
        "tools": None,
        "answer": "<think>\nTwo and two make four.\n</think>\n\nIt is four.",
    },
)
MARKS = ("<|im_start|>", "<|im_end|>", "<pad>")
WORDS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "yes", "no")
"""Tokens of their own: the parsers look for the first four, a reranker of this family compares the last two."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a small Qwen3 model that knows a few chats by heart.")
    parser.add_argument("directory", help="where the files go; made if absent")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--without-template", action="store_true", help="leave the chat template out")
    arguments = parser.parse_args()
    directory = Path(arguments.directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = [_rendered(chat) for chat in CHATS]
    tokenizer = _make_tokenizer(directory, texts, with_template=not arguments.without_template)
    _make_model(directory, tokenizer, texts, arguments.steps)
    for file in directory.iterdir():
        file.chmod(0o644)


def _rendered(chat: dict[str, Any]) -> str:
    """The prompt as the template makes it, with the answer."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)
    prompt = template.render(messages=chat["messages"], tools=chat["tools"], add_generation_prompt=True)
    return f"{prompt}{chat['answer']}<|im_end|>"


def _make_tokenizer(directory: Path, texts: list[str], *, with_template: bool) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in WORDS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<pad>",
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
        **({"chat_template": CHAT_TEMPLATE} if with_template else {}),
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return tokenizer


def _make_model(directory: Path, tokenizer: Tokenizer, texts: list[str], steps: int) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(7)
    torch.set_num_threads(1)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        bos_token_id=tokenizer.token_to_id("<|im_start|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<pad>"),
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    encoded = [tokenizer.encode(text).ids for text in texts]
    longest = max(map(len, encoded))
    pad = config.pad_token_id
    inputs = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in encoded])
    labels = torch.tensor([ids + [-100] * (longest - len(ids)) for ids in encoded])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        loss = model(input_ids=inputs, attention_mask=(inputs != pad).long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(directory)
    print(f"{directory}: Qwen3 with {config.num_hidden_layers} layers, loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
