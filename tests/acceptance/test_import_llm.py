"""`factorysim catalog import-llm`: a config.json, then a prediction with its LLM."""

import json

import pytest

from factorysim.catalog import load_catalog
from tests.acceptance.program import factorysim
from tests.unit.load.hf_configs import CONFIGS, llama

CATALOG = load_catalog()
LLAMA = llama(CATALOG.llm("llama_3_1_8b"))


def written(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def predicted(tmp_path, config, *more):
    """Import, and predict with what came of it."""
    path, out = written(tmp_path, config), tmp_path / "mine.yaml"
    told = factorysim("catalog", "import-llm", path, "--id", "mine", "--out", out)
    assert (told.code, told.out) == (0, ""), told.err
    point = factorysim(
        "predict", "--llm", "mine", "--catalog", out, "--isl", 2000, "--osl", 50,
        "--concurrency", 4, "--calls", 40, "--json", *more,
    )  # fmt: skip
    assert point.code == 0, point.err
    return json.loads(point.out)


def test_what_is_imported_serves_as_the_llm_of_the_catalog_does(tmp_path):
    mine = predicted(tmp_path, LLAMA, "--device", "h100_sxm")
    theirs = factorysim(
        "predict", "--llm", "llama_3_1_8b", "--isl", 2000, "--osl", 50, "--concurrency", 4,
        "--calls", 40, "--json", "--device", "h100_sxm",
    )  # fmt: skip
    known = json.loads(theirs.out)
    for key in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        assert mine[key] == known[key]


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("deepseek_v3_2", ("--device", "b200_sxm", "--tp", 8, "--ep", 8)),
        ("gpt_oss_20b", ("--device", "h100_sxm")),
        ("gemma_4_31b", ("--device", "h100_sxm", "--tp", 2)),
        ("nemotron_3_nano", ("--device", "h100_sxm")),
        ("kimi_k2_5", ("--device", "b200_sxm", "--tp", 8)),
    ],
)
def test_each_kind_of_attention_serves(name, layout, tmp_path):
    assert predicted(tmp_path, CONFIGS[name](CATALOG.llm(name)), *layout)


def test_windows_in_every_second_layer_serve(tmp_path):
    config = LLAMA | {"model_type": "gemma2", "sliding_window": 1024}
    assert predicted(tmp_path, config, "--device", "h100_sxm")


def test_a_hybrid_without_experts_serves(tmp_path):
    config = {
        "model_type": "nemotron_h", "hidden_size": 4096, "intermediate_size": 21504,
        "num_hidden_layers": 3, "num_attention_heads": 32, "num_key_value_heads": 8,
        "attention_head_dim": 128, "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8,
        "ssm_state_size": 128, "conv_kernel": 4, "vocab_size": 131072,
        "max_position_embeddings": 8192, "hybrid_override_pattern": "M-*",
    }  # fmt: skip
    assert predicted(tmp_path, config, "--device", "h100_sxm")


def test_it_prints_where_no_file_is_named_and_tells_what_is_unknown(tmp_path):
    told = factorysim("catalog", "import-llm", written(tmp_path, LLAMA), "--id", "mine")
    assert told.code == 0
    assert told.out.startswith("schema: factorysim.catalog/1\n")
    assert "mine: LlamaForCausalLM, 8.03e9 parameters" in told.err
    assert "unknown: price.input" in told.err
    (tmp_path / "mine.yaml").write_text(told.out)
    assert factorysim("validate", tmp_path / "mine.yaml").code == 0


def test_nothing_is_written_where_something_is_wrong(tmp_path):
    path, out = written(tmp_path, LLAMA | {"vocab_size": "128256"}), tmp_path / "mine.yaml"
    told = factorysim("catalog", "import-llm", path, "--id", "mine", "--out", out)
    assert told.code == 2
    assert "vocab_size: found '128256', expected a whole number" in told.err
    assert "without quotes" in told.err
    assert sorted(tmp_path.iterdir()) == [path]


def test_control_characters_of_a_config_reach_no_terminal(tmp_path):
    config = LLAMA | {"_name_or_path": "a\x1b[31mb", "architectures": ["X\x1b[2J"]}
    told = factorysim("catalog", "import-llm", written(tmp_path, config))
    assert told.code == 0
    assert "\x1b" not in told.out + told.err
    told = factorysim("catalog", "import-llm", written(tmp_path, config | {"model_type": "\x1b"}))
    assert told.code == 2
    assert "\x1b" not in told.err


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    path = written(tmp_path, LLAMA)
    told = factorysim("catalog", "import-llm", path, "--id", "mine", "--out", tmp_path)
    assert told.code == 2
    assert "expected a place to write" in told.err
