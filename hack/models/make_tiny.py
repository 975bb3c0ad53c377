"""Makes a small Llama model that knows one short text by heart: real files for a real vLLM, without a download.

Weights are seeded and trained for some seconds on the text below, the tokenizer is trained on it too. It has to be
learnt: with random weights the best two tokens are often equal in bfloat16, and then greedy answers depend on the order
of additions, so on the number of ranks. The same arguments give the same bytes on the same kind of processor.
Needs torch, transformers and tokenizers, which vLLM brings along. One file on purpose, so that it can be mounted into a
pod and run there.

    python make_tiny.py DIRECTORY [--layers 2] [--heads 4] [--kv-heads 2] [--hidden 256] [--context 2048] [--steps 220]

With `--steps 0` nothing is learnt: for a large model whose speed matters and whose words don't, made on a GPU if any.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice
and this permission notice shall be included in all copies or substantial portions of the Software. The software is
provided "as is", without warranty of any kind, express or implied, including but not limited to the warranties of
merchantability, fitness for a particular purpose and noninfringement. In no event shall the authors or copyright
holders be liable for any claim, damages or other liability, whether in an action of contract, tort or otherwise,
arising from, out of or in connection with the software or the use or other dealings in the software.
A resource says which model is served, how it is quantized and over how many devices it is spread. The operator reads
the resource, plans the children that it needs, writes what differs, and says why when something is the matter. The
engine loads the weights, answers requests with one token after the other, and streams them to the client. The quick
brown fox jumps over the lazy dog, and then it asks the model: what is the capital of France? Hello, how are you today?
"""
VOCABULARY = 1024
WINDOW = 32
"""Tokens of one training example; each begins with a word of the text, as a prompt does."""
BATCH = 8
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def main() -> None:
    arguments = parse()
    directory = Path(arguments.directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(directory, arguments.context)
    make_model(directory, arguments, tokenizer)
    for file in directory.iterdir():
        file.chmod(0o644)  # the engine may run as another user
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{directory}: Llama with {arguments.layers} layers, {arguments.heads} heads, {size / 1e6:.1f} MB")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Makes a small Llama model with random weights.")
    parser.add_argument("directory", help="where the files go; made if absent")
    numbers = {"layers": 2, "heads": 4, "kv-heads": 2, "hidden": 256, "context": 2048, "steps": 220, "seed": 7}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.hidden % arguments.heads or arguments.heads % arguments.kv_heads:
        sys.exit("--hidden has to be a multiple of --heads, and --heads one of --kv-heads")
    return arguments


def make_tokenizer(directory: Path, context: int) -> Tokenizer:
    """Trains a byte-level BPE on TEXT."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return tokenizer


def make_model(directory: Path, arguments: argparse.Namespace, tokenizer: Tokenizer) -> None:
    """Trains the model and saves it in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)  # the order of additions is part of the result
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=arguments.hidden,
        intermediate_size=arguments.hidden * 2,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads,
        max_position_embeddings=arguments.context,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    if not arguments.steps:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            LlamaForCausalLM(config).save_pretrained(directory)
        return
    model = LlamaForCausalLM(config)
    text = TEXT.replace("\n", " ")
    beginnings = [0, *(at + 1 for at, letter in enumerate(text[:-1]) if letter == " ")]
    encoded = [tokenizer.encode((text * 2)[at : at + len(text)]).ids[:WINDOW] for at in beginnings]
    examples = torch.tensor(encoded)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(arguments.steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / arguments.steps)
        batch = examples[torch.randint(0, len(examples), (BATCH,))]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(directory)


if __name__ == "__main__":
    main()
