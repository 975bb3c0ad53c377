"""Makes a small Llama model with random weights: real files for a real vLLM, without a download.

The same arguments give the same bytes: weights are seeded, the tokenizer is trained on the text below. The answers are
gibberish, but greedy ones are always the same. Needs torch, transformers and tokenizers, which vLLM brings along.
One file on purpose, so that it can be mounted into a pod and run there.

    python make_tiny.py DIRECTORY [--layers 2] [--heads 4] [--kv-heads 2] [--hidden 256] [--context 2048] [--seed 7]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

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
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def main() -> None:
    arguments = parse()
    directory = Path(arguments.directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokens = make_tokenizer(directory, arguments.context)
    make_model(directory, arguments, tokens)
    for file in directory.iterdir():
        file.chmod(0o644)  # the engine may run as another user
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{directory}: Llama with {arguments.layers} layers, {arguments.heads} heads, {size / 1e6:.1f} MB")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Makes a small Llama model with random weights.")
    parser.add_argument("directory", help="where the files go; made if absent")
    for name, default in (
        ("layers", 2),
        ("heads", 4),
        ("kv-heads", 2),
        ("hidden", 256),
        ("context", 2048),
        ("seed", 7),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.hidden % arguments.heads or arguments.heads % arguments.kv_heads:
        sys.exit("--hidden has to be a multiple of --heads, and --heads one of --kv-heads")
    return arguments


def make_tokenizer(directory: Path, context: int) -> int:
    """Trains a byte-level BPE on TEXT; returns the number of its tokens."""
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
    return int(tokenizer.get_vocab_size())


def make_model(directory: Path, arguments: argparse.Namespace, tokens: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    torch.manual_seed(arguments.seed)
    config = LlamaConfig(
        vocab_size=tokens,
        hidden_size=arguments.hidden,
        intermediate_size=arguments.hidden * 2,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads,
        max_position_embeddings=arguments.context,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.1,
        tie_word_embeddings=False,
    )
    logging.disable_progress_bar()
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(directory)


if __name__ == "__main__":
    main()
