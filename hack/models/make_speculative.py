"""Makes small checkpoints for speculative decoding with random weights: an EAGLE head of a Llama model, or a model with
a layer that predicts further tokens (MTP).

Their proposals are mostly wrong, so vLLM rejects them: what it generates must be the same as without them. Needs torch
and safetensors, which vLLM brings along.

    python make_speculative.py eagle|mtp MODEL DIRECTORY

MODEL is a directory of make_tiny.py: the model of the head, or the one whose tokenizer the MTP model gets.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

Shapes = dict[str, tuple[int, ...]]
EXPERTS, INNER, LAYERS = 4, 64, 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes small checkpoints for speculative decoding.")
    parser.add_argument("kind", choices=("eagle", "mtp"))
    parser.add_argument("model", type=Path, help="directory of make_tiny.py")
    parser.add_argument("directory", type=Path, help="where the files go; made if absent")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    base = json.loads((arguments.model / "config.json").read_text())
    config, shapes = {"eagle": _eagle, "mtp": _mtp}[arguments.kind](base)
    if arguments.kind == "mtp":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(arguments.model / name, arguments.directory)
    (arguments.directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    _save(shapes, arguments.directory / "model.safetensors")
    for file in arguments.directory.iterdir():
        file.chmod(0o644)


def _eagle(base: dict[str, Any]) -> tuple[dict[str, Any], Shapes]:
    hidden = base["hidden_size"]
    shapes = {"fc.weight": (hidden, 2 * hidden)} | _attention(base, "layers.0")
    return base | {"num_hidden_layers": 1}, shapes | _dense("layers.0.mlp", hidden, base["intermediate_size"])


def _mtp(base: dict[str, Any]) -> tuple[dict[str, Any], Shapes]:
    """A GLM 4.5: a dense layer, one with experts, and one with experts that predicts the token after the next."""
    hidden, vocabulary = base["hidden_size"], base["vocab_size"]
    config = {name: value for name, value in base.items() if name not in ("pretraining_tp", "mlp_bias")} | {
        "architectures": ["Glm4MoeForCausalLM"],
        "model_type": "glm4_moe",
        "num_hidden_layers": LAYERS,
        "num_nextn_predict_layers": 1,
        "first_k_dense_replace": 1,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": INNER,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
        "use_qk_norm": False,
        "attention_bias": False,
        "partial_rotary_factor": 0.5,
    }
    words = (vocabulary, hidden)
    shapes: Shapes = {"model.embed_tokens.weight": words, "lm_head.weight": words, "model.norm.weight": (hidden,)}
    for layer in range(LAYERS + 1):
        name = f"model.layers.{layer}"
        shapes |= _attention(base, name) | {f"{name}.input_layernorm.weight": (hidden,)}
        if layer == 0:
            shapes |= _dense(f"{name}.mlp", hidden, base["intermediate_size"])
            continue
        shapes |= {f"{name}.mlp.gate.weight": (EXPERTS, hidden), f"{name}.mlp.gate.e_score_correction_bias": (EXPERTS,)}
        shapes |= _dense(f"{name}.mlp.shared_experts", hidden, INNER)
        for expert in range(EXPERTS):
            shapes |= _dense(f"{name}.mlp.experts.{expert}", hidden, INNER)
    last = f"model.layers.{LAYERS}"
    return config, shapes | {
        f"{last}.enorm.weight": (hidden,),
        f"{last}.hnorm.weight": (hidden,),
        f"{last}.eh_proj.weight": (hidden, 2 * hidden),
        f"{last}.embed_tokens.weight": words,
        f"{last}.shared_head.norm.weight": (hidden,),
        f"{last}.shared_head.head.weight": words,
    }


def _attention(base: dict[str, Any], name: str) -> Shapes:
    hidden, width = base["hidden_size"], base["head_dim"]
    queries, keys = base["num_attention_heads"] * width, base["num_key_value_heads"] * width
    return {
        f"{name}.self_attn.q_proj.weight": (queries, hidden),
        f"{name}.self_attn.k_proj.weight": (keys, hidden),
        f"{name}.self_attn.v_proj.weight": (keys, hidden),
        f"{name}.self_attn.o_proj.weight": (hidden, queries),
        f"{name}.post_attention_layernorm.weight": (hidden,),
    }


def _dense(name: str, hidden: int, inner: int) -> Shapes:
    return {
        f"{name}.gate_proj.weight": (inner, hidden),
        f"{name}.up_proj.weight": (inner, hidden),
        f"{name}.down_proj.weight": (hidden, inner),
    }


def _save(shapes: Shapes, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(7)
    weights = {
        name: (torch.ones(shape) if "norm" in name else torch.randn(shape) * 0.05).to(torch.bfloat16)
        for name, shape in shapes.items()
    }
    save_file(weights, path)


if __name__ == "__main__":
    main()
