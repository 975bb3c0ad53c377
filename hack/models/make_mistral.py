"""Makes a small model with random weights in Mistral's own format: params.json, tekken.json, consolidated.safetensors.

Needs torch and safetensors, which vLLM brings along.

    python make_mistral.py DIRECTORY
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

SPECIAL = 64
"""Special tokens; those that have no name are filled up by mistral_common."""
LAYERS, DIM, HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 2, 128, 4, 2, 32, 256
VOCABULARY = 256 + SPECIAL


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a small model in Mistral's own format.")
    parser.add_argument("directory", help="where the files go; made if absent")
    directory = Path(parser.parse_args().directory)
    directory.mkdir(parents=True, exist_ok=True)
    params = {
        "dim": DIM,
        "n_layers": LAYERS,
        "head_dim": HEAD_DIM,
        "hidden_dim": HIDDEN,
        "n_heads": HEADS,
        "n_kv_heads": KV_HEADS,
        "norm_eps": 1e-5,
        "vocab_size": VOCABULARY,
        "rope_theta": 10000.0,
        "max_position_embeddings": 512,
    }
    (directory / "params.json").write_text(json.dumps(params, indent=2) + "\n")
    (directory / "tekken.json").write_text(json.dumps(_tokenizer()) + "\n")
    _save_weights(directory / "consolidated.safetensors")
    for file in directory.iterdir():
        file.chmod(0o644)


def _tokenizer() -> dict[str, object]:
    """Each byte is a token."""
    vocabulary = [
        {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
        for byte in range(256)
    ]
    config = {
        "pattern": r"[\s\S]",
        "num_vocab_tokens": 256,
        "default_vocab_size": VOCABULARY,
        "default_num_special_tokens": SPECIAL,
        "version": "v3",
    }
    return {"config": config, "vocab": vocabulary}


def _save_weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(7)
    shapes = {"tok_embeddings.weight": (VOCABULARY, DIM), "output.weight": (VOCABULARY, DIM), "norm.weight": (DIM,)}
    for layer in range(LAYERS):
        names = {
            "attention.wq.weight": (HEADS * HEAD_DIM, DIM),
            "attention.wk.weight": (KV_HEADS * HEAD_DIM, DIM),
            "attention.wv.weight": (KV_HEADS * HEAD_DIM, DIM),
            "attention.wo.weight": (DIM, HEADS * HEAD_DIM),
            "feed_forward.w1.weight": (HIDDEN, DIM),
            "feed_forward.w2.weight": (DIM, HIDDEN),
            "feed_forward.w3.weight": (HIDDEN, DIM),
            "attention_norm.weight": (DIM,),
            "ffn_norm.weight": (DIM,),
        }
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in names.items()}
    weights = {
        name: (torch.ones(shape) if "norm" in name else torch.randn(shape) * 0.05).to(torch.bfloat16)
        for name, shape in shapes.items()
    }
    save_file(weights, path)


if __name__ == "__main__":
    main()
