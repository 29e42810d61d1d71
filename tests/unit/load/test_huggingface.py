"""A config.json becomes the record that the catalog has of the same LLM; nothing is guessed."""

import json
from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError
from factorysim.load.huggingface import import_llm
from factorysim.physics.shape import llm_shape
from tests.unit.load.hf_configs import (
    CONFIGS,
    deepseek,
    deepseek_v4,
    gpt_oss,
    llama,
    nemotron_h,
    qwen3,
)

CATALOG = load_catalog()
UNKNOWN_CONFIGS = {
    "kimi_k3": "Kimi delta attention",
    "nemotron_4_coalition": "unpublished",
    "gpt_moe_2t_nvidia": "unpublished",
}
NOT_IN_CONFIGS = {
    "id": "", "name": "", "vendor": "", "facts": (), "total_params": 0, "active_params": 0,
    "vision": None, "index_key_bytes": None, "native_precision": "",
}  # fmt: skip
"""Fields that a config does not tell, or that are tested by themselves."""


def imported(tmp_path, config, identity="mine"):
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return import_llm(path, CATALOG, identity)


def loaded(tmp_path, config):
    told = imported(tmp_path, config)
    path = tmp_path / "mine.yaml"
    path.write_text(told.text, encoding="utf-8")
    catalog = load_catalog(path)
    return told, catalog


def refused(tmp_path, config, **changes):
    with pytest.raises(SpecError) as found:
        imported(tmp_path, config | changes if changes else config)
    assert all("config.json" in fault.where for fault in found.value.faults)
    return found.value.faults


def test_every_llm_of_the_catalog_is_imported_or_named_as_one_that_is_not():
    assert set(CONFIGS) | set(UNKNOWN_CONFIGS) == set(CATALOG.ids("llms"))
    assert not set(CONFIGS) & set(UNKNOWN_CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_those_of_the_catalog(name, tmp_path):
    known = CATALOG.llm(name)
    told, catalog = loaded(tmp_path, CONFIGS[name](known))
    read = catalog.llm("mine")
    plain = dict(NOT_IN_CONFIGS)
    if known.dense_layers == 0:
        plain["dense_intermediate"] = None  # nothing has it
    if known.mtp_layers is None:
        plain["mtp_layers"] = None
    assert replace(read, **plain) == replace(known, **plain)
    assert told.total_params == llm_shape(known).total_params
    assert read.total_params == told.total_params
    assert read.active_params <= read.total_params
    wanted = CATALOG.facts[f"llms.{name}.total_params"].value
    assert read.total_params == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_native_precision_is_that_of_the_catalog(name, tmp_path):
    known = CATALOG.llm(name)
    _, catalog = loaded(tmp_path, CONFIGS[name](known))
    assert catalog.llm("mine").native_precision == known.native_precision


def test_every_fact_tells_how_it_is_known(tmp_path):
    _, catalog = loaded(tmp_path, deepseek(CATALOG.llm("deepseek_v3_2")) | {"index_topk": 2048})
    facts = [fact for key, fact in catalog.facts.items() if key.startswith("llms.mine.")]
    for fact in facts:
        assert fact.note
        if fact.value is None:
            assert (fact.kind, fact.source) == ("unknown", ())
        else:
            assert fact.kind in ("vendor_spec", "derived")
            assert fact.source == ("mine_config",)
            assert fact.low == fact.high, fact.id
    assert "SHA-256" in catalog.sources["mine_config"].title
    unknown = {fact.id for fact in facts if fact.value is None}
    assert "llms.mine.price.input" in unknown
    assert "llms.mine.attention.sparse_indexer.key_bytes" in unknown


def test_what_a_class_takes_is_said(tmp_path):
    """Gemma 3 4B states little more than its widths: the rest is its class's."""
    text = {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "sliding_window": 1024,
    }  # fmt: skip
    config = {"model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16"}
    told, catalog = loaded(tmp_path, config)
    llm = catalog.llm("mine")
    assert (llm.heads, llm.kv_heads, llm.head_dim, llm.vocab) == (8, 4, 256, 262_208)
    assert (llm.kv_layers, llm.window_layers, llm.window) == (5, 29, 1024)
    assert llm.tied_embeddings
    assert "vocab_size: 262208" in told.usual
    assert told.total_params == pytest.approx(3.88e9, rel=0.01)  # "4B", its encoder apart


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"dtype": "float16"}, "fp16"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "int4"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "int8"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "int4"),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
                }
            },
            "fp8",
        ),
    ],
)
def test_native_precision(config, wanted, tmp_path):
    base = llama(CATALOG.llm("llama_3_1_8b"))
    del base["torch_dtype"]
    _, catalog = loaded(tmp_path, base | config)
    assert catalog.llm("mine").native_precision == wanted


def test_a_hybrid_without_experts(tmp_path):
    """Nemotron-H 8B: 24 Mamba-2 layers, 24 networks, 4 of attention; 8.1e9 parameters."""
    config = {
        "model_type": "nemotron_h", "hidden_size": 4096, "intermediate_size": 21504,
        "num_hidden_layers": 52, "num_attention_heads": 32, "num_key_value_heads": 8,
        "attention_head_dim": 128, "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8,
        "ssm_state_size": 128, "conv_kernel": 4, "vocab_size": 131072,
        "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
        "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    }  # fmt: skip
    told, catalog = loaded(tmp_path, config)
    llm = catalog.llm("mine")
    assert (llm.dense_layers, llm.mamba_layers, llm.kv_layers) == (24, 24, 4)
    assert told.total_params == pytest.approx(8.1e9, rel=0.01)


def test_a_null_is_not_silence(tmp_path):
    """Mistral's class takes a window of 4096 where the file is silent, and none for a null."""
    base = llama(CATALOG.llm("llama_3_1_8b")) | {"model_type": "mistral"}
    (fault,) = refused(tmp_path, base)
    assert fault.key == "sliding_window"
    _, catalog = loaded(tmp_path, base | {"sliding_window": None})
    assert catalog.llm("mine").window is None
    gqa = {key: value for key, value in base.items() if key != "num_key_value_heads"}
    told, catalog = loaded(tmp_path, gqa | {"sliding_window": None})
    assert catalog.llm("mine").kv_heads == 8
    assert "attention.kv_heads: 8" in told.usual


def test_lists_of_later_files_say_the_same(tmp_path):
    known = CATALOG.llm("nemotron_3_nano")
    config = nemotron_h(known)
    letters = config.pop("hybrid_override_pattern")
    names = {"M": "linear_attention", "*": "full_attention", "E": "moe"}
    config["layers_block_type"] = [names[letter] for letter in letters]
    _, catalog = loaded(tmp_path, config)
    assert catalog.llm("mine").mamba_layers == known.mamba_layers
    known = CATALOG.llm("deepseek_v3_2")
    config = deepseek(known, "DeepseekV32", "deepseek_v32")
    del config["first_k_dense_replace"]
    config["mlp_layer_types"] = ["dense"] * 3 + ["sparse"] * 58
    _, catalog = loaded(tmp_path, config)
    assert catalog.llm("mine").dense_layers == 3
    known = CATALOG.llm("deepseek_v4_flash")
    config = CONFIGS["deepseek_v4_flash"](known)
    names = {
        0: "sliding_attention",
        4: "compressed_sparse_attention",
        128: "heavily_compressed_attention",
    }
    ratios = config.pop("compress_ratios")[:-1]
    config["layer_types"] = [names[ratio] for ratio in ratios]
    _, catalog = loaded(tmp_path, config)
    llm = catalog.llm("mine")
    assert (llm.layers_ratio_4, llm.layers_ratio_128) == (21, 20)


def test_windows_by_each_rule(tmp_path):
    base = llama(CATALOG.llm("llama_3_1_8b")) | {"max_position_embeddings": 32768}
    rules = [
        ({"model_type": "mistral", "sliding_window": 32768}, (32, 0)),
        ({"model_type": "mistral", "sliding_window": None}, (32, 0)),
        ({"model_type": "gemma2", "head_dim": 128, "sliding_window": 4096}, (16, 16)),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, (32, 0)),
        (
            {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True,
             "max_window_layers": 20},
            (20, 12),
        ),
    ]  # fmt: skip
    for change, (full, windowed) in rules:
        _, catalog = loaded(tmp_path, base | change)
        llm = catalog.llm("mine")
        assert (llm.kv_layers, llm.window_layers) == (full, windowed), change


LLAMA = llama(CATALOG.llm("llama_3_1_8b"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"num_hidden_layers": "32"}, "num_hidden_layers"),
        ({"num_hidden_layers": 32.0}, "num_hidden_layers"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": [4096]}, "hidden_size"),
        ({"hidden_size": 4097}, "num_attention_heads"),
        ({"num_key_value_heads": 7}, "num_key_value_heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"torch_dtype": 16}, "torch_dtype"),
        ({"torch_dtype": "posit8"}, "torch_dtype"),
        ({"quantization_config": "fp8"}, "quantization_config"),
        ({"quantization_config": {"quant_method": "secret"}}, "quantization_config.quant_method"),
        ({"sliding_window": 4096, "layer_types": ["full_attention"]}, "layer_types"),
        ({"sliding_window": 4096, "layer_types": ["linear_attention"] * 32}, "layer_types"),
        ({"layer_types": ["sliding_attention"] * 32}, "sliding_window"),
        ({"text_config": 5}, "text_config"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding_window"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(changes, key, tmp_path):
    assert key in {fault.key for fault in refused(tmp_path, LLAMA, **changes)}


def test_all_faults_are_told_at_once(tmp_path):
    config = {
        key: value for key, value in LLAMA.items() if key not in ("vocab_size", "hidden_size")
    }
    faults = refused(tmp_path, config, num_attention_heads="32")
    assert {f.key for f in faults} == {"vocab_size", "hidden_size", "num_attention_heads"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "broken JSON"),
        ("layers: 32", "broken JSON"),
        ("[1, 2]", "a list of 2"),
        ("[" * 100_000, "nesting"),
        ('{"a": ' * 100_000, "nesting"),
        ('{"hidden_size": NaN}', "NaN is no number"),
        ('{"hidden_size": 1, "hidden_size": 2}', "comes twice"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "broken JSON"),
        ('{"a": "' + "x" * 2_100_000 + '"}', "over 2,000,000 bytes"),
    ],
)
def test_what_is_no_config_is_refused(text, word, tmp_path):
    (fault,) = refused(tmp_path, text)
    assert word in fault.found


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SpecError, match="not UTF-8"):
        import_llm(path, CATALOG)
    with pytest.raises(SpecError, match="no such file"):
        import_llm(tmp_path / "none.json", CATALOG)
    with pytest.raises(SpecError, match="a folder"):
        import_llm(tmp_path, CATALOG)


def test_an_unknown_architecture_is_named_with_what_it_would_take(tmp_path):
    config = {"model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"]}
    (fault,) = refused(tmp_path, config)
    assert "kimi_linear" in fault.found
    assert "KimiLinearForCausalLM" in fault.found
    assert "llama" in fault.expected
    assert "kind of attention of each layer" in fault.cure
    (fault,) = refused(tmp_path, {"hidden_size": 4096})
    assert fault.key == "model_type"


def test_more_experts_for_a_token_than_there_are_is_refused(tmp_path):
    config = gpt_oss(CATALOG.llm("gpt_oss_20b"))
    (fault,) = refused(tmp_path, config, num_experts_per_tok=64)
    assert fault.key == "num_experts_per_tok"


def test_what_the_catalog_would_refuse_is_refused_in_the_words_of_the_config(tmp_path):
    """DeepSeek V4 has one head of KV for all; 65 for 64 heads is a record that does not load."""
    config = deepseek_v4(CATALOG.llm("deepseek_v4_flash"))
    faults = refused(tmp_path, config, num_key_value_heads=65)
    assert [(fault.key, fault.found) for fault in faults] == [("num_key_value_heads", "65")]


def test_a_pattern_of_another_length_is_refused(tmp_path):
    config = nemotron_h(CATALOG.llm("nemotron_3_nano"))
    assert refused(tmp_path, config, hybrid_override_pattern="MME*")
    assert refused(tmp_path, config, hybrid_override_pattern="X" * 52)


@pytest.mark.parametrize("identity", ["a b", "", "../x", "llama_3_1_8b", "ä", "x" * 200])
def test_an_id_that_is_none_or_taken_is_refused(identity, tmp_path):
    with pytest.raises(SpecError) as found:
        imported(tmp_path, LLAMA, identity)
    assert found.value.faults[0].key == "--id"


@pytest.mark.parametrize(
    ("config", "folder", "wanted"),
    [
        ({"_name_or_path": "me/My-Llama-8B"}, "x", "my_llama_8b"),
        ({}, "my-llama", "my_llama"),
        ({}, "models--me--My-Own/snapshots/0a1b", "my_own"),
    ],
)
def test_the_id_follows_from_the_name(config, folder, wanted, tmp_path):
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(LLAMA | config))
    assert import_llm(place / "config.json", CATALOG).id == wanted


def test_an_imported_name_takes_no_name_from_the_catalog(tmp_path):
    config = qwen3(CATALOG.llm("qwen3_8b")) | {"_name_or_path": "Qwen/Qwen3-8B"}
    _, catalog = loaded(tmp_path, config)
    assert catalog.find("llms", "Qwen/Qwen3-8B") == "qwen3_8b"
    assert catalog.find("llms", "mine") == "mine"
