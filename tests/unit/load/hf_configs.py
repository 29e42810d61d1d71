"""A `config.json` for an LLM of the catalog, in the keys of its architecture.

Keys are those of the published configs; values come from the catalog's own record, so that what
is imported can be held against it. LLMs whose config has keys that are not known here are absent.
"""

from __future__ import annotations

from collections.abc import Callable

from factorysim.catalog import Llm


def frame(llm: Llm, architecture: str, model_type: str, **more: object) -> dict[str, object]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": llm.hidden,
        "num_hidden_layers": llm.layers,
        "num_attention_heads": llm.heads,
        "vocab_size": llm.vocab,
        "max_position_embeddings": llm.context_length,
        "tie_word_embeddings": llm.tied_embeddings,
        **more,
    }


def llama(llm: Llm) -> dict[str, object]:
    return frame(
        llm, "LlamaForCausalLM", "llama",
        num_key_value_heads=llm.kv_heads,
        intermediate_size=llm.intermediate,
        torch_dtype="float16" if llm.native_precision == "fp16" else "bfloat16",
    )  # fmt: skip


def mixtral(llm: Llm) -> dict[str, object]:
    return frame(
        llm, "MixtralForCausalLM", "mixtral",
        num_key_value_heads=llm.kv_heads,
        intermediate_size=llm.expert_intermediate,
        num_local_experts=llm.experts,
        num_experts_per_tok=llm.experts_active,
        sliding_window=None,
        torch_dtype="bfloat16",
    )  # fmt: skip


def qwen2(llm: Llm) -> dict[str, object]:
    return frame(
        llm, "Qwen2ForCausalLM", "qwen2",
        num_key_value_heads=llm.kv_heads,
        intermediate_size=llm.intermediate,
        sliding_window=131_072,
        use_sliding_window=False,
        max_window_layers=llm.layers,
        torch_dtype="bfloat16",
    )  # fmt: skip


def qwen3(llm: Llm) -> dict[str, object]:
    return qwen2(llm) | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": llm.head_dim,
        "sliding_window": None,
    }


def qwen3_moe(llm: Llm) -> dict[str, object]:
    return qwen3(llm) | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "intermediate_size": 6144,
        "num_experts": llm.experts,
        "num_experts_per_tok": llm.experts_active,
        "moe_intermediate_size": llm.expert_intermediate,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def qwen(llm: Llm) -> dict[str, object]:
    config = frame(
        llm, "QWenLMHeadModel", "qwen",
        intermediate_size=2 * (llm.intermediate or 0),
        kv_channels=llm.head_dim,
        seq_length=llm.context_length,
        bf16=True,
        torch_dtype="bfloat16",
    )  # fmt: skip
    del config["max_position_embeddings"]
    return config


def deepseek(
    llm: Llm, architecture: str = "DeepseekV3", kind: str = "deepseek_v3"
) -> dict[str, object]:
    config = frame(
        llm, f"{architecture}ForCausalLM", kind,
        num_key_value_heads=llm.heads,
        kv_lora_rank=llm.kv_lora_rank,
        q_lora_rank=llm.q_lora_rank,
        qk_nope_head_dim=llm.qk_nope_head_dim,
        qk_rope_head_dim=llm.qk_rope_head_dim,
        v_head_dim=llm.v_head_dim,
        n_routed_experts=llm.experts,
        num_experts_per_tok=llm.experts_active,
        n_shared_experts=llm.shared_experts,
        moe_intermediate_size=llm.expert_intermediate,
        intermediate_size=llm.dense_intermediate,
        first_k_dense_replace=llm.dense_layers,
        moe_layer_freq=1,
        torch_dtype="bfloat16",
    )  # fmt: skip
    if llm.mtp_layers is not None:
        config["num_nextn_predict_layers"] = llm.mtp_layers
    if llm.native_precision == "fp8":
        config["quantization_config"] = {
            "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
            "weight_block_size": [128, 128],
        }  # fmt: skip
    if llm.topk is not None:
        config |= {
            "index_topk": llm.topk,
            "index_n_heads": llm.indexer_heads,
            "index_head_dim": llm.indexer_head_dim,
        }
    return config


def mistral4(llm: Llm) -> dict[str, object]:
    text = deepseek(llm, "Mistral4", "mistral4")
    quantised = text.pop("quantization_config")
    return {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": text,
        "vision_config": {"model_type": "pixtral", "hidden_size": 1024},
        "quantization_config": quantised,
    }


def kimi_k2_5(llm: Llm) -> dict[str, object]:
    weights = {"num_bits": 4, "type": "int", "group_size": 32, "symmetric": True}
    return {
        "architectures": ["KimiK25ForConditionalGeneration"],
        "model_type": "kimi_k25",
        "text_config": deepseek(llm, "DeepseekV3", "kimi_k2")
        | {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
            }
        },
    }


def gpt_oss(llm: Llm) -> dict[str, object]:
    names = ("sliding_attention", "full_attention")
    return frame(
        llm, "GptOssForCausalLM", "gpt_oss",
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        intermediate_size=llm.expert_intermediate,
        num_local_experts=llm.experts,
        num_experts_per_tok=llm.experts_active,
        experts_per_token=llm.experts_active,
        sliding_window=llm.window,
        layer_types=[names[layer % 2] for layer in range(llm.layers)],
        quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
    )  # fmt: skip


def llama4(llm: Llm) -> dict[str, object]:
    text = frame(
        llm, "Llama4ForCausalLM", "llama4_text",
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        intermediate_size=llm.expert_intermediate,
        intermediate_size_mlp=llm.dense_intermediate,
        num_local_experts=llm.experts,
        num_experts_per_tok=llm.experts_active,
        interleave_moe_layer_step=2,
        attention_chunk_size=llm.window,
        no_rope_layers=[],
        torch_dtype="bfloat16",
    )  # fmt: skip
    return {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "text_config": text,
        "vision_config": {"model_type": "llama4_vision_model"},
    }


def gemma4(llm: Llm) -> dict[str, object]:
    names = ["sliding_attention"] * 5 + ["full_attention"]
    text = frame(
        llm, "Gemma4ForCausalLM", "gemma4_text",
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        num_global_key_value_heads=llm.global_kv_heads,
        global_head_dim=llm.global_head_dim,
        attention_k_eq_v=llm.k_eq_v_global,
        hidden_size_per_layer_input=0,
        enable_moe_block=False,
        intermediate_size=llm.intermediate,
        sliding_window=llm.window,
        layer_types=names * (llm.layers // 6),
        dtype="bfloat16",
    )  # fmt: skip
    del text["tie_word_embeddings"]
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "text_config": text,
        "vision_config": {"model_type": "gemma4_vision"},
        "dtype": "bfloat16",
    }


def nemotron_h(llm: Llm) -> dict[str, object]:
    letters = "M" * (llm.mamba_layers or 0) + "E" * llm.moe_layers + "*" * llm.kv_layers
    config = frame(
        llm, "NemotronHForCausalLM", "nemotron_h",
        hybrid_override_pattern=letters,
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        mamba_num_heads=llm.mamba_heads,
        mamba_head_dim=llm.mamba_head_dim,
        n_groups=llm.mamba_groups,
        ssm_state_size=llm.mamba_state_dim,
        conv_kernel=llm.mamba_conv_kernel,
        n_routed_experts=llm.experts,
        n_shared_experts=llm.shared_experts,
        num_experts_per_tok=llm.experts_active,
        moe_intermediate_size=llm.expert_intermediate,
        moe_shared_expert_intermediate_size=llm.shared_intermediate,
        intermediate_size=llm.expert_intermediate,
        mlp_hidden_act="relu2",
        torch_dtype="bfloat16",
    )  # fmt: skip
    return config | ({"moe_latent_size": llm.latent_size} if llm.latent_size else {})


def minimax(llm: Llm) -> dict[str, object]:
    return frame(
        llm, "MiniMaxM2ForCausalLM", "minimax_m2",
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        intermediate_size=llm.expert_intermediate,
        num_local_experts=llm.experts,
        num_experts_per_tok=llm.experts_active,
        attn_type_list=[1] * llm.layers,
        use_mtp=True,
        num_mtp_modules=llm.mtp_layers,
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
    )  # fmt: skip


def bloom(llm: Llm) -> dict[str, object]:
    return {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "n_layer": llm.layers,
        "num_attention_heads": llm.heads,
        "hidden_size": llm.hidden,
        "vocab_size": llm.vocab,
        "seq_length": llm.context_length,
        "torch_dtype": "bfloat16",
    }


def phi(llm: Llm) -> dict[str, object]:
    return frame(
        llm, "PhiForCausalLM", "phi",
        num_key_value_heads=llm.kv_heads,
        intermediate_size=llm.intermediate,
        torch_dtype="float16",
    )  # fmt: skip


def deepseek_v32(llm: Llm) -> dict[str, object]:
    return deepseek(llm, "DeepseekV32", "deepseek_v32")


def glm_5(llm: Llm) -> dict[str, object]:
    return deepseek(llm, "GlmMoeDsa", "glm_moe_dsa")


def glm_5_2(llm: Llm) -> dict[str, object]:
    own, layers = llm.indexer_layers or 0, llm.layers
    return glm_5(llm) | {"indexer_types": ["full"] * own + ["shared"] * (layers - own)}


def deepseek_v4(llm: Llm) -> dict[str, object]:
    four, many = llm.layers_ratio_4 or 0, llm.layers_ratio_128 or 0
    ratios = [0] * (llm.layers - four - many) + [4] * four + [128] * many
    return frame(
        llm, "DeepseekV4ForCausalLM", "deepseek_v4",
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        q_lora_rank=llm.q_lora_rank,
        o_lora_rank=llm.o_lora_rank,
        o_groups=llm.o_groups,
        index_n_heads=llm.indexer_heads,
        index_head_dim=llm.indexer_head_dim,
        index_topk=llm.topk,
        sliding_window=llm.window,
        compress_ratios=[*ratios, 0],
        n_routed_experts=llm.experts,
        n_shared_experts=llm.shared_experts,
        num_experts_per_tok=llm.experts_active,
        moe_intermediate_size=llm.expert_intermediate,
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
    )  # fmt: skip


CONFIGS: dict[str, Callable[[Llm], dict[str, object]]] = {
    "mistral_small_4": mistral4,
    "mistral_large_3": deepseek,
    "mixtral_8x7b": mixtral,
    "nemotron_3_nano": nemotron_h,
    "nemotron_3_super": nemotron_h,
    "nemotron_3_ultra": nemotron_h,
    "deepseek_v3": deepseek,
    "deepseek_r1": deepseek,
    "deepseek_v3_2": deepseek_v32,
    "kimi_k2": deepseek,
    "kimi_k2_5": kimi_k2_5,
    "gpt_oss_120b": gpt_oss,
    "gpt_oss_20b": gpt_oss,
    "qwen3_235b_a22b": qwen3_moe,
    "qwen3_30b_a3b": qwen3_moe,
    "qwen3_8b": qwen3,
    "qwen3_32b": qwen3,
    "qwen3_coder_30b_a3b": qwen3_moe,
    "qwen2_5_coder_7b": qwen2,
    "qwen_72b": qwen,
    "llama_2_70b": llama,
    "code_llama_34b": llama,
    "llama_3_8b": llama,
    "llama_3_70b": llama,
    "llama_3_1_8b": llama,
    "llama_3_1_70b": llama,
    "llama_3_1_405b": llama,
    "llama_3_3_70b": llama,
    "llama_4_maverick": llama4,
    "gemma_4_31b": gemma4,
    "minimax_m2_5": minimax,
    "glm_5": glm_5,
    "glm_5_2": glm_5_2,
    "deepseek_v4_pro": deepseek_v4,
    "deepseek_v4_flash": deepseek_v4,
    "bloom_176b": bloom,
    "phi_2": phi,
}
