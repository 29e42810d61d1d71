"""What a command of vLLM's becomes: layout, formats, the engine's settings, and notes."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError, UserError
from factorysim.load.vllm_command import read_command
from factorysim.study.vllm_scenario import Site, scenario_of
from factorysim.yaml_reader import parse_yaml

CATALOG = load_catalog()
DENSE, MOE = "meta-llama/Llama-3.1-70B-Instruct", "deepseek-ai/DeepSeek-V3"


def made(flags, model=DENSE, **site):
    site = {"device": "h100_sxm"} | site
    return scenario_of(read_command(f"vllm serve {model} {flags}"), Site(**site), CATALOG)


def tree(flags, model=DENSE, **site):
    return parse_yaml(made(flags, model, **site).text, "made").plain()


def layout(flags, model=DENSE, **site):
    serve = tree(flags, model, **site)["deployments"]["serve"]
    return serve["parallel"], serve["replicas"]


def test_layouts():
    assert layout("-tp 4 -pp 2") == ({"tp": 4, "pp": 2}, 1)
    assert layout("-tp 4", replicas=3) == ({"tp": 4}, 3)
    # Of a dense LLM, data parallelism is so many replicas; experts it has none.
    assert layout("-tp 2 -dp 4 --enable-expert-parallel") == ({"tp": 2}, 4)
    moe = {"model": MOE, "device": "b200_sxm"}
    assert layout("-dp 8 --enable-expert-parallel", **moe) == ({"tp": 1, "dp": 8, "ep": 8}, 1)
    assert layout("-tp 8 --enable-expert-parallel", **moe) == ({"tp": 8, "ep": 8}, 1)
    assert layout("-tp 8", **moe) == ({"tp": 8}, 1)


@pytest.mark.parametrize(
    ("model", "flags", "device", "wanted"),
    [
        (DENSE, "", "h100_sxm", ("bf16", "bf16", "bf16")),
        (DENSE + "-FP8", "", "h100_sxm", ("fp8", "fp8", "bf16")),
        (DENSE, "--quantization fp8 --kv-cache-dtype fp8_e4m3", "h100_sxm", ("fp8", "fp8", "fp8")),
        (DENSE, "-q fp8", "a100_sxm_80gb", ("fp8", "bf16", "bf16")),
        (DENSE, "-q awq", "a100_sxm_80gb", ("w4a16", "bf16", "bf16")),
        ("nvidia/DeepSeek-R1-NVFP4", "", "b200_sxm", ("nvfp4", "fp4", "bf16")),
        (MOE, "", "h100_sxm", ("fp8", "fp8", "bf16")),
        ("openai/gpt-oss-120b", "", "h100_sxm", ("mxfp4", "bf16", "bf16")),
        (DENSE, "--dtype float32", None, ("fp32", "fp32", "bf16")),
    ],
)
def test_formats(model, flags, device, wanted):
    told = tree(flags, model, device=device)["llms"]["llm"]["precision"]
    assert (told["weights"], told["compute"], told["kv"]) == wanted


def test_a_precision_that_is_given_goes_first():
    told = tree("-q fp8", precision="bf16")["llms"]["llm"]["precision"]
    assert told == {"weights": "bf16", "compute": "bf16", "kv": "bf16"}


def test_settings_of_the_engine():
    told = tree(
        "--max-num-seqs 128 --max-num-batched-tokens 4096 --gpu-memory-utilization 0.8 "
        "--block-size 32 --no-enable-prefix-caching --scheduling-policy priority "
        "--num-gpu-blocks-override 5000 --no-async-scheduling"
    )["serving"]
    assert told == {
        "engine": "vllm", "order": "priority", "token_budget": 4096, "max_sequences": 128,
        "overlap": "none",
        "kv": {"memory_fraction": 0.8, "block_tokens": 32, "blocks": 5000, "retain": "none"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("device", "flags", "wanted"),
    [
        ("h100_sxm", "", (8192, 1024)),
        ("a100_sxm_80gb", "", (2048, 256)),
        ("l40s", "", (2048, 256)),
        (None, "", (8192, 1024)),
        ("h100_sxm", "--max-num-batched-tokens 512", (512, 512)),
        ("h100_sxm", "--max-num-seqs 64", (8192, 64)),
    ],
)
def test_what_is_not_told_is_as_vllm_chooses(device, flags, wanted):
    told = tree(flags, "meta-llama/Llama-3.1-8B-Instruct", device=device)["serving"]
    assert (told["token_budget"], told["max_sequences"]) == wanted


def test_without_chunked_prefill_prompts_are_whole():
    told = tree("--no-enable-chunked-prefill --max-model-len 32768")["serving"]
    assert (told["scheduler"], told["token_budget"]) == ("prefill_first", 32768)


def test_speculation():
    config = """'{"method": "%s", "num_speculative_tokens": 3%s}'"""
    flag = "--speculative-config " + config
    told = tree(flag % ("ngram", ""), acceptance=0.6)["deployments"]["serve"]["speculation"]
    assert told == {"method": "ngram", "draft_tokens": 3, "acceptance": 0.6}
    told = tree(flag % ("deepseek_mtp", ""), MOE, device="b200_sxm", acceptance=0.8)
    assert told["deployments"]["serve"]["speculation"]["method"] == "mtp"
    assert told["serving"]["max_sequences"] == 1024
    model = ', "model": "meta-llama/Llama-3.1-8B-Instruct"'
    told = tree(flag % ("draft_model", model), acceptance=0.7)["deployments"]["serve"]
    assert told["speculation"]["draft"]["llm"] == "llama_3_1_8b"
    wide = """--speculative-config '{"method": "ngram", "num_speculative_tokens": 15}'"""
    assert tree(wide, acceptance=0.6)["serving"]["max_sequences"] == 512  # of 8192 tokens
    for flags, word in (
        (flag % ("ngram", ""), "acceptance"),
        (flag % ("eagle3", ', "model": "x"'), "EAGLE"),
        ("""--speculative-config '{"method": "ngram"}'""", "num_speculative_tokens"),
    ):
        given = None if word == "acceptance" else 0.5
        with pytest.raises(SpecError, match=word):
            made(flags, acceptance=given)


def test_racks():
    def racks(flags, **site):
        return tree(flags, **site)["topology"]["racks"]["gpus"]

    assert racks("-tp 4") == {"rack": "dgx_h100", "count": 1}
    assert racks("-tp 4", replicas=5) == {"rack": "dgx_h100", "count": 3}
    assert racks("-tp 4", device=None, rack="hgx_b200") == {"rack": "hgx_b200", "count": 1}
    assert racks("-tp 4", device=None, rack="hgx_b200", replicas=3)["count"] == 2
    assert racks("-tp 16", device=None, rack="hgx_b200")["count"] == 2
    assert racks("-tp 4", device=None, rack="hgx_b200", racks=4)["count"] == 4


def test_without_a_device_it_is_a_part_of_a_scenario():
    part = made("-tp 4", device=None)
    assert not part.whole
    assert set(parse_yaml(part.text, "part").plain()) == {"llms", "deployments", "serving"}
    assert made("-tp 4").whole


def test_flags_without_effect_are_listed_above():
    told = made("--port 80 --enable-lora")
    assert "# of no consequence here: --port" in told.text
    assert "# not modelled: --enable-lora: adapters" in told.text
    assert told.text.startswith("# from `vllm serve meta-llama/")


@pytest.mark.parametrize(
    ("flags", "site", "word"),
    [
        ("-q secret", {}, "--quantization"),
        ("--kv-cache-dtype int2", {}, "--kv-cache-dtype"),
        ("--dtype posit", {}, "--dtype"),
        ("--dtype float32", {}, "no rate"),
        ("--scheduling-policy lottery", {}, "--scheduling-policy"),
        ("--max-num-batched-tokens 16 --max-num-seqs 64", {}, "token_budget"),
        ("--max-model-len 1000", {}, "at most 1,000"),
        ("", {"isl": 200_000}, "at most 131,072"),
        ("", {"device": "h100"}, "several"),
        ("", {"device": None, "rack": "nowhere"}, "--rack"),
        ("", {"rack": "hgx_b200"}, "nothing beside --rack"),
        ("", {"device": None, "rack": "vera_rubin_pod"}, "rack of accelerators"),
        ("-tp 100000", {}, "4096"),
        ("", {"precision": "fp3"}, "precision"),
    ],
)
def test_what_cannot_be_written_is_refused(flags, site, word):
    with pytest.raises(UserError) as refused:
        made(flags, **site)
    assert word in str(refused.value)


def test_stages_of_ranks_are_refused():
    with pytest.raises(SpecError, match="pp"):
        made("-pp 2 -dp 2", MOE, device="b200_sxm")


def test_an_llm_that_is_in_no_catalog_is_refused():
    with pytest.raises(SpecError, match="vllm serve: model"):
        made("", "me/my-llm")
