"""The architectures that can be imported, by the `model_type` of their config.

What a class takes where its file is silent is that of the class of the same name in
`transformers` 4.57, or 5.23 of those that came later (``configuration_*.py``); facts of the record
say where it was used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from factorysim.load.huggingface.config import LAYERS_MOST, Told
from factorysim.load.huggingface.layers import (
    Experts,
    dense_layers,
    read_dense,
    read_experts,
    read_frame,
    read_heads,
    read_latent,
    read_matrices,
    read_shared,
    read_windows,
    split_layers,
)

if TYPE_CHECKING:
    from factorysim.load.huggingface.config import Config
    from factorysim.load.huggingface.layers import Frame, Windows
    from factorysim.load.huggingface.record import Draft

Read: TypeAlias = Callable[["Config", "Draft"], None]


class Family(NamedTuple):
    """An architecture: how its config is read, and what its class takes if that is silent."""

    read: Read
    usual: Mapping[str, object] = MappingProxyType({})


def _attending(
    config: Config, draft: Draft, kind: str, windows: Windows, *, one_head_each: bool = False
) -> Frame:
    """Read what the layers and their attention are, where windows follow one rule."""
    frame = read_frame(config, draft)
    draft.words["attention.type"] = kind
    read_heads(config, draft, frame, one_head_each=one_head_each)
    read_windows(config, draft, frame, windows)
    return frame


def _llama(config: Config, draft: Draft) -> None:
    """Grouped-query attention in every layer, and a gated network."""
    _attending(config, draft, "gqa", "none")
    read_dense(config, draft)


def _mistral(config: Config, draft: Draft) -> None:
    """As Llama, with a window in all layers where one is told."""
    _attending(config, draft, "gqa", "all")
    read_dense(config, draft)


def _qwen(config: Config, draft: Draft) -> None:
    """As Llama, with windows from some layer on where they are switched on."""
    _attending(config, draft, "gqa", "upper")
    read_dense(config, draft)


def _first_qwen(config: Config, draft: Draft) -> None:
    """Multi-head attention; the two halves of `intermediate_size` are gate and up."""
    _attending(config, draft, "mha", "none", one_head_each=True)
    draft.words["ffn.type"] = "dense"
    both = config.need("intermediate_size", least=2)
    draft.derive("ffn.intermediate", both.value // 2, "half of intermediate_size: gate and up")


def _gemma(config: Config, draft: Draft) -> None:
    """Windows in every second layer, in five of six, or in none."""
    frame = read_frame(config, draft)
    draft.words["attention.type"] = "gqa_alternating_window"
    read_heads(config, draft, frame)
    kind = config.text("model_type")
    read_windows(
        config, draft, frame,
        "none" if kind == "gemma" else "even" if kind == "gemma2" else "pattern",
    )  # fmt: skip
    read_dense(config, draft)


def _gemma4(config: Config, draft: Draft) -> None:
    """Full layers have heads of their own, and may take keys for values."""
    for key in ("num_kv_shared_layers", "hidden_size_per_layer_input"):
        told = config.count(key, least=0)
        if told is not None and told.value:
            cure = "the record has no place for it"
            config.fault(key, f"{told.value}", "0, as in the 31B", cure)
    if config.flag("enable_moe_block")[0]:
        cure = "the record has no place for it"
        config.fault("enable_moe_block", "true", "false, as in the 31B", cure)
    _attending(config, draft, "gqa_alternating_window", "pattern")
    draft.state("attention.global_kv_heads", config.count("num_global_key_value_heads"))
    draft.state("attention.global_head_dim", config.count("global_head_dim"))
    same, _ = config.flag("attention_k_eq_v")
    draft.derive("attention.k_eq_v_global", same, "attention_k_eq_v", "bool")
    read_dense(config, draft)


def _phi(config: Config, draft: Draft) -> None:
    """Without a gate."""
    _attending(config, draft, "gqa", "none")
    read_dense(config, draft, matrices=2)


def _bloom(config: Config, draft: Draft) -> None:
    """Multi-head attention with ALiBi; the network is four times as wide as the rest."""
    frame = _attending(config, draft, "mha_alibi", "none", one_head_each=True)
    draft.words["ffn.type"] = "dense"
    draft.derive("ffn.intermediate", 4 * frame.hidden, "4 x hidden_size")
    read_matrices(draft, 2)


def _mixtral(config: Config, draft: Draft) -> None:
    """Experts in every layer."""
    frame = _attending(config, draft, "gqa", "all")
    read_experts(config, draft, Experts(("num_local_experts",), ("intermediate_size",)))
    read_shared(config, draft, "")
    split_layers(config, draft, frame, 0, "of this architecture")


def _minimax(config: Config, draft: Draft) -> None:
    """Experts in every layer, full attention, heads for multi-token prediction."""
    kinds = config.numbers("attn_type_list", most=1)
    if kinds is not None and 0 in kinds:
        cure = "factorysim has no law for lightning attention"
        config.fault("attn_type_list", "a layer of linear attention", "1 for every layer", cure)
    frame = _attending(config, draft, "gqa", "none")
    read_experts(config, draft, Experts(("num_local_experts",), ("intermediate_size",)))
    read_shared(config, draft, "")
    split_layers(config, draft, frame, 0, "of this architecture")
    draft.state("mtp_layers", config.count("num_mtp_modules", least=0))


def _gpt_oss(config: Config, draft: Draft) -> None:
    """Windows in every second layer, experts in all."""
    frame = _attending(config, draft, "gqa_alternating_window", "even")
    names = Experts(
        ("num_local_experts", "num_experts"),
        ("intermediate_size",),
        ("num_experts_per_tok", "experts_per_token"),
    )
    read_experts(config, draft, names)
    read_shared(config, draft, "")
    split_layers(config, draft, frame, 0, "of this architecture")


def _qwen_moe(config: Config, draft: Draft) -> None:
    """Experts in all layers but those of a list, or in one of several."""
    frame = read_frame(config, draft)
    draft.words["attention.type"] = "gqa"
    read_heads(config, draft, frame)
    if config.text("model_type") == "qwen2_moe":
        read_windows(config, draft, frame, "upper")
    else:
        read_windows(
            config, draft, frame, "all" if config.flag("use_sliding_window")[0] else "none"
        )
    read_experts(config, draft, Experts(("num_experts",), ("moe_intermediate_size",)))
    width = config.count("shared_expert_intermediate_size", least=0)
    shared = 1 if width is not None and width.value else 0
    draft.derive("ffn.shared_experts", shared, "of this architecture")
    if shared:
        draft.state("ffn.shared_intermediate", width)
    step = config.count("decoder_sparse_step", most=LAYERS_MOST)
    listed = set(config.numbers("mlp_only_layers", most=LAYERS_MOST) or ())
    dense = sum(
        layer in listed or (layer + 1) % (step.value if step else 1) != 0
        for layer in range(frame.layers)
    )
    split_layers(config, draft, frame, dense, "mlp_only_layers, decoder_sparse_step")


def _deepseek(config: Config, draft: Draft) -> None:
    """Latent attention; experts after some dense layers, some of them shared."""
    frame = read_frame(config, draft)
    read_latent(config, draft, frame.layers)
    _routed(config, draft)
    split_layers(config, draft, frame, dense_layers(config, frame.layers), "first_k_dense_replace")


_RATIOS = {
    "sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128,
}  # fmt: skip
"""Kinds of DeepSeek V4's layers, by how many tokens an entry of the cache stands for."""


def _deepseek_v4(config: Config, draft: Draft) -> None:
    """Attention on compressed entries of the cache; experts in every layer."""
    frame = read_frame(config, draft)
    draft.words["attention.type"] = "compressed_sparse_mqa"
    draft.state("attention.heads", config.need("num_attention_heads"))
    for path, key in (
        ("kv_heads", "num_key_value_heads"), ("head_dim", "head_dim"),
        ("q_lora_rank", "q_lora_rank"), ("o_lora_rank", "o_lora_rank"), ("o_groups", "o_groups"),
        ("indexer_heads", "index_n_heads"), ("indexer_head_dim", "index_head_dim"),
    ):  # fmt: skip
        draft.state(f"attention.{path}", config.need(key))
    for path, key in (("sliding_window", "sliding_window"), ("indexer_topk", "index_topk")):
        draft.state(f"attention.{path}", config.need(key), "tok")
    how, ratios = _compression(config, frame.layers)
    for ratio in (4, 128):
        draft.derive(f"attention.layers_ratio_{ratio}", ratios.count(ratio), how)
        if ratio not in ratios:
            config.contradiction(how, f"no layer of ratio {ratio}", "one or more")
    _routed(config, draft)
    split_layers(config, draft, frame, 0, "of this architecture")


def _compression(config: Config, layers: int) -> tuple[str, list[int]]:
    """Tell each layer's ratio; the list may have one more for the MTP layer."""
    listed = config.words("layer_types", tuple(_RATIOS), layers)
    if listed is not None:
        return "layer_types", [_RATIOS[kind] for kind in listed]
    ratios = config.numbers("compress_ratios", most=128)
    key = "compress_ratios"
    if ratios is None or len(ratios) not in (layers, layers + 1) or set(ratios) - {0, 4, 128}:
        found = "nothing" if ratios is None else f"a list of {len(ratios)}"
        config.contradiction(key, found, f"0, 4 or 128 for each of the {layers} layers")
        return key, [4, 128]
    return key, ratios[:layers]


def _glm_moe(config: Config, draft: Draft) -> None:
    """Grouped-query attention with the experts of DeepSeek."""
    frame = _attending(config, draft, "gqa", "none")
    _routed(config, draft)
    split_layers(config, draft, frame, dense_layers(config, frame.layers), "first_k_dense_replace")


def _routed(config: Config, draft: Draft) -> None:
    read_experts(
        config,
        draft,
        Experts(("n_routed_experts", "num_local_experts"), ("moe_intermediate_size",)),
    )
    read_shared(config, draft, "n_shared_experts")
    draft.state("mtp_layers", config.count("num_nextn_predict_layers", least=0))


def _llama4(config: Config, draft: Draft) -> None:
    """Attention in chunks in three of four layers; experts in every second, or in all."""
    frame = read_frame(config, draft)
    draft.words["attention.type"] = "gqa_chunked_local"
    read_heads(config, draft, frame)
    if config.raw("layer_types") is not None:
        read_windows(config, draft, frame, "none", "attention_chunk_size")
    else:
        _chunks(config, draft, frame.layers)
    read_experts(config, draft, Experts(("num_local_experts",), ("intermediate_size",)))
    draft.derive("ffn.shared_experts", 1, "of this architecture")
    draft.state("ffn.shared_intermediate", config.need("intermediate_size"))
    listed = config.numbers("moe_layers", most=LAYERS_MOST)
    step = config.need("interleave_moe_layer_step", most=LAYERS_MOST).value
    sparse = len(set(listed)) if listed is not None else frame.layers // step
    split_layers(config, draft, frame, frame.layers - sparse, "interleave_moe_layer_step")
    draft.derive("ffn.moe_layers", sparse, "interleave_moe_layer_step")


def _chunks(config: Config, draft: Draft, layers: int) -> None:
    """Split the layers: those without a rotary embedding (0 of `no_rope_layers`) see all."""
    marks = config.numbers("no_rope_layers", most=1)
    every = config.need("no_rope_layer_interval", most=LAYERS_MOST).value
    full = marks.count(0) if marks else layers // every
    if marks and len(marks) != layers:
        config.contradiction(
            "no_rope_layers", f"a list of {len(marks)}", f"{layers} numbers, one a layer"
        )
    if full < layers:
        draft.derive("attention.window_layers", layers - full, "no_rope_layers")
        draft.state("attention.sliding_window", config.need("attention_chunk_size"), "tok")
    if full:
        draft.derive("attention.kv_layers", full, "no_rope_layers")


_BLOCKS = {"M": "Mamba-2", "*": "attention", "-": "a dense network", "E": "experts"}
"""Letters of `hybrid_override_pattern`."""
_BLOCK_NAMES = {
    "linear_attention": "M", "mamba": "M", "full_attention": "*", "attention": "*",
    "mlp": "-", "moe": "E",
}  # fmt: skip
"""Words of `layers_block_type`, in later files."""


def _nemotron_h(config: Config, draft: Draft) -> None:
    """One block a layer: Mamba-2, attention, a dense network or experts, without gates."""
    frame = read_frame(config, draft)
    how = "hybrid_override_pattern"
    pattern = config.text(how)
    for key in ("layers_block_type", "layer_types"):
        listed = config.words(key, tuple(_BLOCK_NAMES), frame.layers)
        if listed is not None:
            how, pattern = key, "".join(_BLOCK_NAMES[name] for name in listed)
    if len(pattern) != frame.layers or set(pattern) - set(_BLOCKS):
        expected = f"a letter for each of the {frame.layers} layers: {', '.join(_BLOCKS)}"
        config.contradiction(how, f"{len(pattern)} letters", expected)
    counts = {letter: pattern.count(letter) for letter in _BLOCKS}
    draft.words["attention.type"] = "hybrid_mamba2_gqa"
    read_heads(config, draft, frame)
    if not counts["*"]:
        config.contradiction(how, "no layer of attention", "one or more", "`*` is one")
    draft.derive("attention.kv_layers", counts["*"], how)
    _mamba(config, draft, counts["M"], how)
    if counts["E"]:
        _routed(config, draft)
        draft.state("ffn.shared_intermediate", config.count("moe_shared_expert_intermediate_size"))
        draft.state("ffn.latent_size", config.count("moe_latent_size"))
        draft.derive("ffn.moe_layers", counts["E"], how)
        split_layers(config, draft, frame, counts["-"], how)
        read_matrices(draft, 2)
    else:
        read_dense(config, draft, matrices=2)
        draft.derive("ffn.dense_layers", counts["-"], how)
        if not counts["-"]:
            config.contradiction(how, "no layer with a network", "one or more", "`-` or `E` is one")


def _mamba(config: Config, draft: Draft, layers: int, how: str) -> None:
    names = {
        "heads": "mamba_num_heads",
        "head_dim": "mamba_head_dim",
        "groups": "n_groups",
        "state_dim": "ssm_state_size",
        "conv_kernel": "conv_kernel",
    }
    draft.derive("attention.mamba_layers", layers, how)
    told: dict[str, Told] = {key: config.need(name) for key, name in names.items()}
    for key, number in told.items():
        draft.state(f"attention.mamba_{key}", number)
    state = told["heads"].value * told["head_dim"].value * told["state_dim"].value * layers * 4
    draft.derive(
        "attention.mamba_state_bytes_per_sequence", state,
        "heads x head_dim x state x 4 B (fp32) x layers; convolution state not included", "B",
    )  # fmt: skip


_GEMMA: Mapping[str, object] = {"tie_word_embeddings": True, "head_dim": 256}
_GEMMA3: Mapping[str, object] = {
    **_GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_LLAMA4: Mapping[str, object] = {
    "interleave_moe_layer_step": 1, "no_rope_layer_interval": 4, "num_key_value_heads": 8,
    "attention_chunk_size": 8192,
}  # fmt: skip
_QWEN: Mapping[str, object] = {
    "num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28,
}  # fmt: skip
_QWEN3: Mapping[str, object] = {**_QWEN, "head_dim": 128}
_QWEN_MOE: Mapping[str, object] = {**_QWEN, "num_key_value_heads": 16}
_V3: Mapping[str, object] = {"first_k_dense_replace": 3, "n_shared_experts": 1}
_BLOOM: Mapping[str, object] = {"tie_word_embeddings": True, "max_position_embeddings": 2048}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llama": Family(_llama),
        "mistral": Family(_mistral, {"num_key_value_heads": 8, "sliding_window": 4096}),
        "ministral3": Family(_mistral, {"num_key_value_heads": 8, "head_dim": 128}),
        "mistral4": Family(_deepseek, {"first_k_dense_replace": 0, "n_shared_experts": 1}),
        "mixtral": Family(_mixtral, {"num_key_value_heads": 8}),
        "qwen": Family(_first_qwen),
        "qwen2": Family(_qwen, _QWEN),
        "qwen2_vl": Family(_qwen, _QWEN),
        "qwen2_vl_text": Family(_qwen, _QWEN),
        "qwen2_5_vl": Family(_qwen, _QWEN),
        "qwen2_5_vl_text": Family(_qwen, _QWEN),
        "qwen3": Family(_qwen, _QWEN3),
        "qwen3_vl_text": Family(_qwen, _QWEN3),
        "qwen2_moe": Family(_qwen_moe, {**_QWEN_MOE, "shared_expert_intermediate_size": 5632}),
        "qwen3_moe": Family(_qwen_moe, {**_QWEN_MOE, "num_key_value_heads": 4}),
        "qwen3_vl_moe_text": Family(_qwen_moe, _QWEN_MOE),
        "deepseek_v2": Family(_deepseek, {"q_lora_rank": 1536, "n_shared_experts": 2}),
        "deepseek_v3": Family(_deepseek, _V3),
        "deepseek_v32": Family(_deepseek, _V3),
        "deepseek_v4": Family(_deepseek_v4, {"n_shared_experts": 1, "num_key_value_heads": 1}),
        "kimi_k2": Family(_deepseek, _V3),
        "glm_moe_dsa": Family(_deepseek, _V3),
        "glm4_moe": Family(
            _glm_moe, {"num_key_value_heads": 8, "first_k_dense_replace": 1, "n_shared_experts": 1}
        ),
        "gpt_oss": Family(
            _gpt_oss, {"num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128}
        ),
        "minimax_m2": Family(_minimax, {"num_key_value_heads": 8, "head_dim": 128}),
        "llama4_text": Family(_llama4, _LLAMA4),
        "gemma": Family(_gemma, {**_GEMMA, "num_key_value_heads": 16}),
        "gemma2": Family(_gemma, {**_GEMMA, "num_key_value_heads": 4, "sliding_window": 4096}),
        "gemma3_text": Family(_gemma, _GEMMA3),
        "gemma4_text": Family(
            _gemma4,
            {
                **_GEMMA,
                "global_head_dim": 512,
                "hidden_size_per_layer_input": 256,
                "num_key_value_heads": 4,
                "sliding_window": 512,
                "sliding_window_pattern": 6,
            },
        ),
        "phi": Family(_phi),
        "phi3": Family(_mistral),
        "nemotron": Family(_phi),
        "nemotron_h": Family(_nemotron_h, {"num_key_value_heads": 8, "n_shared_experts": 1}),
        "bloom": Family(_bloom, _BLOOM),
    }
)
