"""config.json of small models of many architectures, to compare the memory estimate with vLLM.

vLLM can serve each of them on a CPU with random weights. The dimensions differ on purpose, so that mixing up two of
them gives a different result.
"""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "torch_dtype": "bfloat16",
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1010,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def _model(architecture: str, model_type: str, *without: str, **fields: Any) -> dict[str, Any]:
    model = {**_COMMON, "architectures": [architecture], "model_type": model_type, **fields}
    return {key: value for key, value in model.items() if key not in without}


_ENCODER = ("num_key_value_heads", "rms_norm_eps")
_QWEN_HYBRID: dict[str, Any] = {
    "num_hidden_layers": 8,
    "head_dim": 64,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "full_attention_interval": 4,
    "partial_rotary_factor": 0.25,
    "rope_theta": 10000,
}
_DEEPSEEK: dict[str, Any] = {
    "moe_intermediate_size": 96,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "num_key_value_heads": 8,
    "kv_lora_rank": 96,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "topk_group": 1,
}

MODELS: dict[str, dict[str, Any]] = {
    "llama": _model("LlamaForCausalLM", "llama"),
    "llama-tied": _model("LlamaForCausalLM", "llama", tie_word_embeddings=True, num_key_value_heads=8),
    "llama-bias": _model("LlamaForCausalLM", "llama", attention_bias=True, mlp_bias=True, head_dim=48),
    "mistral": _model("MistralForCausalLM", "mistral", head_dim=32, sliding_window=None),
    "mistral-window": _model("MistralForCausalLM", "mistral", head_dim=32, sliding_window=1024),
    "qwen2": _model("Qwen2ForCausalLM", "qwen2", use_sliding_window=False, sliding_window=1024),
    "qwen3": _model("Qwen3ForCausalLM", "qwen3", head_dim=64, use_sliding_window=False),
    "phi3": _model("Phi3ForCausalLM", "phi3", original_max_position_embeddings=4096, sliding_window=None),
    "granite": _model(
        "GraniteForCausalLM",
        "granite",
        embedding_multiplier=12.0,
        logits_scaling=8.0,
        residual_multiplier=0.22,
        attention_multiplier=0.1,
    ),
    "gemma": _model(
        "GemmaForCausalLM", "gemma", head_dim=48, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True
    ),
    "gemma2": _model(
        "Gemma2ForCausalLM",
        "gemma2",
        num_hidden_layers=6,
        head_dim=48,
        sliding_window=512,
        query_pre_attn_scalar=48,
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
    ),
    "gemma3": _model(
        "Gemma3ForCausalLM",
        "gemma3_text",
        num_hidden_layers=14,
        head_dim=48,
        sliding_window=512,
        sliding_window_pattern=6,
        query_pre_attn_scalar=48,
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
    ),
    "command-r": _model("CohereForCausalLM", "cohere", logit_scale=0.06, use_qk_norm=False, tie_word_embeddings=True),
    "command-r7b": _model(
        "Cohere2ForCausalLM",
        "cohere2",
        num_hidden_layers=8,
        logit_scale=0.06,
        sliding_window=512,
        sliding_window_pattern=4,
        tie_word_embeddings=True,
    ),
    "glm4": _model("Glm4ForCausalLM", "glm4", head_dim=32, attention_bias=True, partial_rotary_factor=0.5),
    "exaone4": _model(
        "Exaone4ForCausalLM", "exaone4", num_hidden_layers=8, sliding_window=512, sliding_window_pattern=4
    ),
    "ernie": _model("Ernie4_5ForCausalLM", "ernie4_5", head_dim=32, use_bias=False),
    "nemotron": _model("NemotronForCausalLM", "nemotron", hidden_act="relu2", head_dim=32, norm_eps=1e-5),
    "stablelm": _model("StableLmForCausalLM", "stablelm", use_qkv_bias=True, partial_rotary_factor=0.25),
    "opt": _model(
        "OPTForCausalLM",
        "opt",
        "num_key_value_heads",
        "intermediate_size",
        ffn_dim=704,
        word_embed_proj_dim=256,
        do_layer_norm_before=True,
        activation_function="relu",
        tie_word_embeddings=True,
    ),
    "gpt2": _model(
        "GPT2LMHeadModel",
        "gpt2",
        "num_key_value_heads",
        "max_position_embeddings",
        "intermediate_size",
        n_embd=256,
        n_layer=4,
        n_head=8,
        n_positions=1024,
        n_inner=704,
        activation_function="gelu_new",
        tie_word_embeddings=True,
    ),
    "bert": _model("BertModel", "bert", *_ENCODER, hidden_act="gelu", max_position_embeddings=512, type_vocab_size=2),
    "xlm-roberta": _model(
        "XLMRobertaModel",
        "xlm-roberta",
        *_ENCODER,
        hidden_act="gelu",
        max_position_embeddings=514,
        type_vocab_size=1,
        position_embedding_type="absolute",
    ),
    "bert-reranker": _model(
        "BertForSequenceClassification",
        "bert",
        *_ENCODER,
        hidden_act="gelu",
        max_position_embeddings=512,
        id2label={"0": "LABEL_0"},
    ),
    "xlm-roberta-reranker": _model(
        "XLMRobertaForSequenceClassification",
        "xlm-roberta",
        *_ENCODER,
        hidden_act="gelu",
        max_position_embeddings=514,
        type_vocab_size=1,
        position_embedding_type="absolute",
        id2label={"0": "LABEL_0"},
    ),
    "mixtral": _model("MixtralForCausalLM", "mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
    "qwen2-moe": _model(
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        moe_intermediate_size=96,
        shared_expert_intermediate_size=320,
        num_experts=8,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        mlp_only_layers=[1],
        norm_topk_prob=True,
    ),
    "qwen3-moe": _model(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        head_dim=64,
        moe_intermediate_size=96,
        num_experts=16,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
    ),
    "olmoe": _model(
        "OlmoeForCausalLM", "olmoe", num_experts=8, num_experts_per_tok=2, norm_topk_prob=False, intermediate_size=96
    ),
    "granite-moe": _model(
        "GraniteMoeForCausalLM",
        "granitemoe",
        num_local_experts=8,
        num_experts_per_tok=2,
        intermediate_size=96,
        embedding_multiplier=12.0,
        logits_scaling=8.0,
        residual_multiplier=0.22,
        attention_multiplier=0.1,
    ),
    "glm4-moe": _model(
        "Glm4MoeForCausalLM",
        "glm4_moe",
        head_dim=32,
        attention_bias=True,
        use_qk_norm=True,
        moe_intermediate_size=96,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
        n_group=1,
        topk_group=1,
        partial_rotary_factor=0.5,
        num_nextn_predict_layers=0,
    ),
    "gpt-oss": _model(
        "GptOssForCausalLM",
        "gpt_oss",
        head_dim=32,
        num_local_experts=4,
        num_experts_per_tok=2,
        intermediate_size=256,
        sliding_window=128,
        num_hidden_layers=6,
        swiglu_limit=7.0,
        rope_theta=150000,
        rope_scaling={
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    ),
    "llama4": _model(
        "Llama4ForCausalLM",
        "llama4_text",
        head_dim=32,
        num_hidden_layers=8,
        intermediate_size=96,
        intermediate_size_mlp=704,
        num_local_experts=4,
        num_experts_per_tok=1,
        interleave_moe_layer_step=2,
        attention_chunk_size=1024,
        use_qk_norm=True,
        no_rope_layer_interval=4,
        attn_temperature_tuning=True,
    ),
    "minimax-m2": _model(
        "MiniMaxM2ForCausalLM",
        "minimax_m2",
        head_dim=32,
        intermediate_size=96,
        num_local_experts=8,
        num_experts_per_tok=2,
        use_qk_norm=True,
        use_routing_bias=True,
        rotary_dim=16,
        rope_theta=10000,
        scoring_func="sigmoid",
        attn_type_list=[1, 1, 1, 1],
    ),
    "deepseek-v2": _model(
        "DeepseekV2ForCausalLM",
        "deepseek_v2",
        q_lora_rank=None,
        scoring_func="softmax",
        topk_method="greedy",
        **_DEEPSEEK,
    ),
    "deepseek-v3": _model(
        "DeepseekV3ForCausalLM",
        "deepseek_v3",
        q_lora_rank=80,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        num_nextn_predict_layers=0,
        **_DEEPSEEK,
    ),
    "qwen3-next": _model(
        "Qwen3NextForCausalLM",
        "qwen3_next",
        moe_intermediate_size=96,
        shared_expert_intermediate_size=160,
        num_experts=8,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
        **_QWEN_HYBRID,
    ),
    "qwen3.5": _model("Qwen3_5ForCausalLM", "qwen3_5_text", mamba_ssm_dtype="float32", **_QWEN_HYBRID),
    "granite-hybrid": _model(
        "GraniteMoeHybridForCausalLM",
        "granitemoehybrid",
        num_hidden_layers=8,
        layer_types=["mamba", "mamba", "mamba", "attention"] * 2,
        num_local_experts=4,
        num_experts_per_tok=2,
        intermediate_size=96,
        shared_intermediate_size=320,
        mamba_d_state=64,
        mamba_d_conv=4,
        mamba_expand=2,
        mamba_n_groups=1,
        mamba_n_heads=16,
        mamba_d_head=32,
        mamba_conv_bias=True,
        mamba_proj_bias=False,
        position_embedding_type="nope",
        embedding_multiplier=12.0,
        logits_scaling=8.0,
        residual_multiplier=0.22,
        attention_multiplier=0.1,
    ),
    "nemotron-h": _model(
        "NemotronHForCausalLM",
        "nemotron_h",
        num_hidden_layers=8,
        hybrid_override_pattern="M-M*M-M-",
        head_dim=32,
        mlp_hidden_act="relu2",
        mlp_bias=False,
        use_bias=False,
        use_conv_bias=True,
        ssm_state_size=64,
        conv_kernel=4,
        n_groups=2,
        mamba_num_heads=16,
        mamba_head_dim=32,
        mamba_hidden_act="silu",
        layer_norm_epsilon=1e-5,
        expand=2,
        chunk_size=128,
        attention_bias=False,
    ),
    "mamba2": _model(
        "Mamba2ForCausalLM",
        "mamba2",
        "intermediate_size",
        "max_position_embeddings",
        "num_key_value_heads",
        "num_attention_heads",
        state_size=64,
        conv_kernel=4,
        expand=2,
        n_groups=1,
        num_heads=16,
        head_dim=32,
        use_bias=False,
        use_conv_bias=True,
        layer_norm_epsilon=1e-5,
        chunk_size=128,
    ),
}


def _group(bits: int, kind: str, strategy: str, **fields: Any) -> dict[str, Any]:
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, "dynamic": False, **fields}


def _compressed(layout: str, weights: dict[str, Any], *, activations: bool, ignore: list[str]) -> dict[str, Any]:
    inputs = {**_group(8, weights["type"], "token"), "dynamic": True} if activations else None
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ignore,
    }


def _quantized(base: str, quantization: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**MODELS[base], **fields, "quantization_config": quantization}


_INT8 = _group(8, "int", "channel")
MODELS |= {
    "llama-int8": _quantized("llama", _compressed("int-quantized", _INT8, activations=True, ignore=["lm_head"])),
    "llama-int8-mixed": _quantized(
        "llama",
        _compressed(
            "int-quantized", _INT8, activations=True, ignore=["lm_head", "re:.*layers\\.[01]\\..*", "re:.*down_proj"]
        ),
    ),
    "llama-fp8": _quantized(
        "llama",
        {"quant_method": "fp8", "activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head"]},
    ),
    "llama-fp8-block": _quantized(
        "llama",
        {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
        intermediate_size=768,
    ),
    "llama-fp8-compressed": _quantized(
        "llama", _compressed("float-quantized", _group(8, "float", "channel"), activations=True, ignore=["lm_head"])
    ),
    "llama-int4": _quantized(
        "llama",
        _compressed("pack-quantized", _group(4, "int", "group", group_size=32), activations=False, ignore=["lm_head"]),
        intermediate_size=768,
    ),
    "llama-gptq": _quantized(
        "llama",
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True, "lm_head": False},
        intermediate_size=768,
    ),
    "llama-awq": _quantized(
        "llama",
        {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
        intermediate_size=768,
    ),
}

_MISTRAL: dict[str, Any] = {
    "dim": 256,
    "n_layers": 4,
    "head_dim": 32,
    "hidden_dim": 704,
    "n_heads": 8,
    "n_kv_heads": 2,
    "norm_eps": 1e-5,
    "vocab_size": 1010,
    "rope_theta": 10000.0,
    "max_position_embeddings": 4096,
    "dtype": "bfloat16",
}
_LATENT: dict[str, Any] = {
    "n_kv_heads": 8,
    "q_lora_rank": 80,
    "kv_lora_rank": 96,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "llama_4_scaling": {"original_max_position_embeddings": 4096, "beta": 0.1},
}
_YARN = {"factor": 4.0, "original_max_position_embeddings": 1024, "beta": 32.0, "alpha": 1.0, "apply_scale": False}

PARAMS: dict[str, dict[str, Any]] = {
    "mistral-own": _MISTRAL,
    "mistral-own-tied": _MISTRAL | {"tied_embeddings": True, "max_seq_len": 2048},
    "mistral-own-windows": _MISTRAL | {"sliding_window": [None, 512]},
    "mistral-own-yarn": _MISTRAL | {"yarn": _YARN},
    "mistral-own-large": _MISTRAL
    | _LATENT
    | {
        "moe": {
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "expert_hidden_dim": 96,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
            "route_every_n": 1,
            "routed_scale": 1.0,
            "num_expert_groups": 1,
            "num_expert_groups_per_tok": 1,
        }
    },
    "mistral-own-latent": _MISTRAL | _LATENT,
}
"""params.json of models in Mistral's own format."""
