"""What the layers of a config are: attention of each kind, and feed-forward networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from factorysim.load.huggingface.config import LAYERS_MOST, Told

if TYPE_CHECKING:
    from factorysim.load.huggingface.config import Config
    from factorysim.load.huggingface.record import Draft

_LAYER_TYPES = ("full_attention", "sliding_attention", "chunked_attention")
Windows: TypeAlias = Literal["none", "all", "even", "pattern", "upper"]
"""Which layers have a window, by the rule of an architecture."""
INDEX_KEYS = "BF16 keys are taken where it is unknown; DeepSeek's are FP8 with a scale: 132 B"


class Frame(NamedTuple):
    """What every LLM has."""

    layers: int
    hidden: int
    context: int


def read_frame(config: Config, draft: Draft) -> Frame:
    """Read the size of the LLM, its vocabulary and its context."""
    layers = config.need("num_hidden_layers", "n_layer", "num_layers", most=LAYERS_MOST)
    hidden = config.need("hidden_size", "n_embed", "n_embd")
    draft.state("layers", layers)
    draft.state("hidden_size", hidden)
    draft.state("vocab_size", config.need("vocab_size"))
    tied, usual = config.flag("tie_word_embeddings")
    how = "tie_word_embeddings"
    how += ": not in the file, its class takes this" if usual else ""
    draft.derive("tied_embeddings", tied, how, "bool")
    context = config.need("max_position_embeddings", "seq_length", "n_positions", most=10**9)
    draft.state("context_length", context, "tok")
    return Frame(layers.value, hidden.value, context.value)


def read_heads(config: Config, draft: Draft, frame: Frame, *, one_head_each: bool = False) -> None:
    """Read query heads, those of the KV cache (all, if `one_head_each`), and their size."""
    heads = config.need("num_attention_heads", "n_head")
    kv = config.count("num_key_value_heads")
    if kv is None or one_head_each:
        kv = Told(heads.value, heads.key)
    draft.state("attention.heads", heads)
    draft.state("attention.kv_heads", kv)
    if heads.value % kv.value:
        expected = f"a divisor of {heads.key}, which is {heads.value}"
        config.contradiction(
            kv.key, f"{kv.value}", expected, "each KV head serves as many query heads"
        )
    size = config.count("head_dim", "attention_head_dim", "kv_channels")
    if size is not None:
        draft.state("attention.head_dim", size)
    else:
        draft.derive("attention.head_dim", head_size(config, heads, frame), "hidden / heads")


def head_size(config: Config, heads: Told, frame: Frame) -> int:
    """Divide the hidden size over the heads, where no size of a head is told."""
    if frame.hidden % heads.value:
        expected = f"a divisor of the hidden size, which is {frame.hidden}"
        config.contradiction(heads.key, f"{heads.value}", expected, "or else a `head_dim`")
    return max(1, frame.hidden // heads.value)


def read_windows(
    config: Config,
    draft: Draft,
    frame: Frame,
    otherwise: Windows,
    key: str = "sliding_window",
) -> None:
    """Split the layers into those that see everything and those with a window.

    Parameters
    ----------
    otherwise
        Which layers have the window where there is no list `layer_types`: all; every second,
        from the first; all but the last of each `sliding_window_pattern`; those from
        `max_window_layers` on.
    """
    window = config.count(key, most=10**9)
    listed = config.words("layer_types", _LAYER_TYPES, frame.layers)
    if listed is not None:
        count, how = sum(word != _LAYER_TYPES[0] for word in listed), "layer_types"
    else:
        count, how = _windowed(config, frame.layers, otherwise)
    if window is None and listed is not None and count:
        config.fault(key, "nothing", "tokens of the window", f"layer_types names {count} with one")
    if window is None or count == 0 or window.value >= frame.context:
        count = 0
    if count == frame.layers:
        cure = "null takes the layers as full attention, which holds and reads more"
        found, expected = "a window in every layer", "a layer that keeps the whole context"
        config.contradiction(key, found, expected, cure)
    if count and window is not None:
        draft.derive("attention.window_layers", count, how)
        draft.state("attention.sliding_window", window, "tok")
    if frame.layers > count:
        rest = f"all layers but those of {how}" if count else "all layers"
        draft.derive("attention.kv_layers", frame.layers - count, rest)


def _windowed(config: Config, layers: int, otherwise: str) -> tuple[int, str]:
    if otherwise == "pattern":
        pattern = config.need("sliding_window_pattern", "_sliding_window_pattern").value
        return layers - layers // pattern, "sliding_window_pattern"
    if otherwise == "upper":
        start = config.count("max_window_layers", least=0)
        used = config.flag("use_sliding_window")[0]
        above = layers - min(layers, start.value if start else layers)
        return (above, "max_window_layers") if used else (0, "use_sliding_window")
    count = {"all": layers, "even": (layers + 1) // 2}.get(otherwise, 0)
    return count, "the sliding window"


def read_latent(config: Config, draft: Draft, layers: int) -> None:
    """Read multi-head latent attention, and the indexer of its sparse kind."""
    draft.words["attention.type"] = "mla"
    draft.state("attention.heads", config.need("num_attention_heads"))
    draft.state("attention.kv_lora_rank", config.need("kv_lora_rank"))
    draft.state("attention.q_lora_rank", config.count("q_lora_rank"))
    for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"):
        draft.state(f"attention.{key}", config.need(key))
    draft.derive("attention.kv_layers", layers, "all layers")
    if config.count("index_topk") is not None:
        draft.state("attention.sparse_indexer.heads", config.need("index_n_heads"))
        draft.state("attention.sparse_indexer.head_dim", config.need("index_head_dim"))
        draft.state("attention.sparse_indexer.topk", config.need("index_topk"), "tok")
        modes = config.words("indexer_types", ("full", "shared"), layers)
        if modes is not None:
            own = modes.count("full")
            draft.derive("attention.sparse_indexer.layers", max(1, own), "indexer_types: full")
            if not own:
                config.contradiction("indexer_types", "none full", "one or more", "some select")
        draft.leave_open("attention.sparse_indexer.key_bytes", "B", INDEX_KEYS)


def read_dense(config: Config, draft: Draft, matrices: int = 3) -> None:
    """Read a feed-forward network that every token passes."""
    draft.words["ffn.type"] = "dense"
    draft.state("ffn.intermediate", config.need("intermediate_size", "ffn_hidden_size"))
    read_matrices(draft, matrices)


def read_matrices(draft: Draft, matrices: int) -> None:
    """Say so, where a feed-forward network has no gate."""
    if matrices != 3:
        draft.derive("ffn.matrices", matrices, "up and down, without a gate: of this architecture")


class Experts(NamedTuple):
    """Names that an architecture gives to the numbers of its experts."""

    number: tuple[str, ...]
    width: tuple[str, ...]
    active: tuple[str, ...] = ("num_experts_per_tok",)


def read_experts(config: Config, draft: Draft, names: Experts) -> None:
    """Read the routed experts."""
    draft.words["ffn.type"] = "moe"
    experts = config.need(*names.number, most=1_000_000)
    active = config.need(*names.active, most=1_000_000)
    draft.state("ffn.experts", experts)
    draft.state("ffn.experts_active", active)
    draft.state("ffn.expert_intermediate", config.need(*names.width))
    if active.value > experts.value:
        found, expected = f"{active.value}", f"at most {experts.key}, which is {experts.value}"
        config.contradiction(active.key, found, expected, "a token chooses among the experts")


def read_shared(config: Config, draft: Draft, count: str, width: str = "") -> None:
    """Read the experts that every token passes; 0 where there are none."""
    shared = config.count(count, least=0, most=10_000) if count else None
    if shared is None:
        draft.derive("ffn.shared_experts", 0, f"no {count}" if count else "of this architecture")
        return
    draft.state("ffn.shared_experts", shared)
    if width and shared.value:
        draft.state("ffn.shared_intermediate", config.count(width))


def split_layers(config: Config, draft: Draft, frame: Frame, dense: int, how: str) -> None:
    """Say how many layers have a dense network in the place of experts, and its width."""
    draft.derive("ffn.dense_layers", dense, how)
    if dense:
        width = config.need("intermediate_size_mlp", "intermediate_size")
        draft.state("ffn.dense_intermediate", width)
    if dense >= frame.layers:
        config.contradiction(
            how, f"{dense} dense layers of {frame.layers}", "some layers with experts"
        )


def dense_layers(config: Config, layers: int) -> int:
    """Count the layers without experts: those of a list, or the first ones and those between."""
    listed = config.words("mlp_layer_types", ("dense", "sparse"), layers)
    if listed is not None:
        return listed.count("dense")
    first = config.count("first_k_dense_replace", least=0)
    every = config.count("moe_layer_freq", most=LAYERS_MOST)
    start, step = first.value if first else 0, every.value if every else 1
    return sum(layer < start or layer % step != 0 for layer in range(layers))
