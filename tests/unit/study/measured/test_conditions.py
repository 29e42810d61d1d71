"""From the words of a row to an experiment."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.study.measured.conditions import Closed, Offered, Queued, Static, Steady
from factorysim.study.measured.layout import Cut, read_layout
from factorysim.study.measured.rows import NotUnderstoodError, Row
from factorysim.study.measured.understand import understand

PLAIN = {
    "line": 2, "id": "r", "value": 10.0, "model": "Llama-3.1-70B-Instruct", "precision": "fp8",
    "hardware": "H100-SXM-80GB", "n_gpus": "2", "parallelism": "TP2", "engine": "vLLM 0.9",
    "scenario": "server", "isl": "1024", "osl": "512", "concurrency_or_batch": "16",
    "metric": "ttft_ms",
}  # fmt: skip


def row(**changes):
    return Row(**(PLAIN | changes))


def read(others=(), **changes):
    return understand(row(**changes), load_catalog(), others)


def test_a_closed_loop():
    found = read().conditions
    assert (found.llm, found.device, found.engine) == ("llama_3_1_70b", "h100_sxm", "vllm")
    assert found.cut == Cut(tp=2)
    assert found.load == Closed(16, 160)
    assert (found.weights, found.compute, found.kv) == ("fp8", "fp8", "bf16")
    assert (found.prompt.mean, found.output.mean) == (1024, 512)


def test_what_a_row_does_not_say_is_told():
    assumed = read().assumed
    assert "KV cache in bf16" in assumed
    assert any("lest they stay in step" in text for text in assumed)


def test_nominal_lengths_are_drawn_as_the_source_says():
    notes = "lengths uniform in 0.8-1.0 x nominal (random-range-ratio 0.8)"
    found = read(notes=notes)
    assert found.conditions.prompt.mean == pytest.approx(0.9 * 1024)
    assert found.conditions.prompt.spread == pytest.approx(1 / 9)
    assert not any("in step" in text for text in found.assumed)


def test_trtllm_keeps_kv_in_fp8_unless_told():
    assert read(engine="TensorRT-LLM (TensorRT 10.2)").conditions.kv == "fp8"
    assert read(engine="trtllm", notes="kv cache dtype bf16").conditions.kv == "bf16"
    assert read(engine="vLLM", notes="kv_cache_dtype=fp8").conditions.kv == "fp8"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("TP2 x 4 replicas (NVIDIA reference config)", Cut(tp=2, replicas=4)),
        ("TP8 (MoE EP setting not stated)", Cut(tp=8)),
        ("TP4 EP1 DP1", Cut(tp=4, replicas=2)),
        ("tp=4, dp=2", Cut(tp=4, replicas=2)),
    ],
)
def test_layouts(text, cut):
    assert read(parallelism=text, n_gpus="8").conditions.cut == cut


def test_attention_dp_has_a_rank_on_each_device():
    found = read(model="DeepSeek-V3", parallelism="DEP8", n_gpus="8", hardware="H200-SXM-141GB")
    assert found.conditions.cut == Cut(ep=8, dp=8)


def test_experts_are_dealt_evenly_where_ranks_do_not_divide_them():
    found = read(model="DeepSeek-V3", parallelism="EP72 attention-DP decode", n_gpus="72",
                 hardware="H200-SXM-141GB")  # fmt: skip
    assert found.conditions.cut == Cut(ep=64, dp=64)
    assert "64 ranks for 72: as many as divide 256 experts" in found.assumed


def test_experts_of_a_dense_llm_are_not_cut():
    assert read(parallelism="TP2 EP2").conditions.cut == Cut(tp=2)


def test_layers_dealt_over_cards_are_a_pipeline():
    found = read(parallelism="layer split", precision="Q4_K_M", hardware="RTX-4090-24GB",
                 engine="llama.cpp (May 2024)", scenario="static",
                 concurrency_or_batch="1")  # fmt: skip
    assert found.conditions.cut == Cut(pp=2)
    assert found.conditions.weights == "q4_k_m"


def test_a_layout_that_is_not_told_leaves_room_for_kv():
    """70 GB of weights take more than 60 % of one H100 and of no H200 nor of two H100."""
    assert read(parallelism="", n_gpus="8").conditions.cut == Cut(tp=2, replicas=4)
    h200 = read(parallelism="", n_gpus="8", hardware="H200-SXM-141GB").conditions
    assert h200.cut == Cut(tp=1, replicas=8)


def test_devices_follow_from_littles_law():
    """64 calls of 8294 tokens in 30 s at 2000 tokens/s a device are about 9 devices' worth."""
    others = [
        row(n_gpus="", metric="ttft_ms", value=1000.0),
        row(n_gpus="", metric="tpot_ms", value=29.0),
    ]
    one = row(n_gpus="", parallelism="not printed", isl="8192", osl="1024", value=4500.0,
              concurrency_or_batch="64", metric="total_tokens_per_s_per_gpu")  # fmt: skip
    found = understand(one, load_catalog(), others)
    latency_s = 1.0 + 0.029 * (0.9 * 1024 - 1)
    expected = round(64 * 0.9 * (8192 + 1024) / latency_s / 4500)
    assert found.conditions.cut.devices == expected == 4


def test_operating_points_beside_the_device_set_the_clock():
    found = read(hardware="H200-SXM-141GB CTS (1000W)")
    assert (found.conditions.device, found.conditions.clock) == ("h200_sxm", 1.08)
    assert read(hardware="H200-SXM-141GB (power-capped MaxQ)").conditions.clock == 0.8


def test_loads():
    assert read(scenario="static").conditions.load == Static(16)
    steady = read(notes="steady state, max_num_seqs 8; batch = measured", concurrency_or_batch="8")
    assert steady.conditions.load == Steady(8)
    assert steady.conditions.max_sequences == 8
    queued = read(scenario="offline", concurrency_or_batch="max", isl="128", osl="2048",
                  notes="30000 for 128/128, 3000 for 128/2048,500/2000; 1500 for 9/9")  # fmt: skip
    assert queued.conditions.load == Queued(3000)


def test_poisson_arrivals_have_the_rate_and_the_limits_of_the_notes():
    words = {"concurrency_or_batch": "max valid QPS (Server limits)", "isl": "OpenOrca<=1024",
             "osl": "OpenOrca<=1024"}  # fmt: skip
    notes = "mean OSL=290.3; 74.42 samples/s; p99 limits TTFT 450 ms TPOT 40 ms"
    found = read(**words, notes=notes).conditions
    assert found.load == Offered(74.42, 0.45, 0.04)
    assert (found.prompt.mean, found.output.mean) == (294.0, 290.3)
    rate = read(**words, notes=notes, metric="output_tokens_per_s_total").conditions
    assert rate.load == Offered(None, 0.45, 0.04)
    assert read(**words).conditions.load == Offered(None, 2.0, 0.2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "NoSuchLLM"}, 'LLM "NoSuchLLM"'),
        ({"hardware": "Abacus"}, 'device "Abacus"'),
        ({"precision": "fp3"}, 'precision "fp3"'),
        ({"precision": "fp4"}, None),
        ({"metric": "speed"}, 'metric "speed"'),
        ({"n_gpus": "three"}, 'n_gpus is "three"'),
        ({"n_gpus": "3"}, "3 devices are no whole replicas of 2"),
        ({"isl": "long"}, 'prompt lengths "long"'),
        ({"scenario": "dream"}, 'scenario "dream" with load "16"'),
    ],
)
def test_what_cannot_be_understood_says_why(changes, reason):
    if reason is None:  # computed in the next best format
        assert read(**changes).conditions.compute == "fp8"
        return
    with pytest.raises(NotUnderstoodError) as caught:
        read(**changes)
    assert str(caught.value).startswith(reason)


def test_layout_words():
    assert read_layout("EP32 attention-DP prefill, 4 nodes").dp == 32
    assert not read_layout("GPU count/TP not printed: infer from concurrency").says_something


@pytest.mark.parametrize("notes", ["Mean OSL=290.3.", "... 74.42 samples/s.", "at the end 3."])
def test_a_full_stop_after_a_number_ends_a_sentence(notes):
    found = read(
        concurrency_or_batch="max valid QPS", isl="OpenOrca", osl="OpenOrca", notes=notes
    ).conditions
    assert found.output.mean == (290.3 if "OSL" in notes else 294.0)
    assert found.load.rate_per_s == (74.42 if "samples" in notes else None)


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ("lengths 1..2-3 x nominal", 'lengths "1..2-3" x nominal'),
        (f"max batch {'9' * 5000}", "its numbers make no experiment: "),
    ],
)
def test_numbers_that_are_none_set_the_row_aside(notes, reason):
    with pytest.raises(NotUnderstoodError) as caught:
        read(notes=notes)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("scenario", "text", "load"),
    [
        ("server", "concurrency 64", Closed(64, 640)),
        ("online", "concurrency=64", Closed(64, 640)),
        ("closed loop", "c=64", Closed(64, 640)),
        ("server", "64 concurrency", Closed(64, 640)),
        ("Closed-Loop", "64 users", Closed(64, 640)),
        ("Server", "64 concurrent requests", Closed(64, 640)),
        ("server", "1,024", Closed(1024, 10240)),
        ("static", "batch 32", Static(32)),
        ("Static", "bs=32", Static(32)),
        ("server", "2 QPS", Offered(2.0, 2.0, 0.2)),
        ("server", "2.5 req/s", Offered(2.5, 2.0, 0.2)),
        ("online", "2 requests/s", Offered(2.0, 2.0, 0.2)),
        ("server", "QPS=2", Offered(2.0, 2.0, 0.2)),
        ("Offline", "200", Queued(200)),
        ("offline", "200 requests", Queued(200)),
        ("OFFLINE", "max", Queued(3000)),
    ],
)
def test_loads_in_other_words(scenario, text, load):
    assert read(scenario=scenario, concurrency_or_batch=text).conditions.load == load


def test_a_rate_that_is_told_is_kept_for_throughputs_too():
    found = read(concurrency_or_batch="2 QPS", metric="output_throughput", notes="9 samples/s")
    assert found.conditions.load == Offered(2.0, 2.0, 0.2)
    assert "the rate is told: a throughput below capacity follows it" in found.assumed


@pytest.mark.parametrize(
    ("scenario", "text"),
    [("static", "2 QPS"), ("offline", "2 QPS"), ("server", "some QPS"), ("server", "64 tokens")],
)
def test_loads_that_are_none(scenario, text):
    with pytest.raises(NotUnderstoodError, match=f'scenario "{scenario}" with load "{text}"'):
        read(scenario=scenario, concurrency_or_batch=text)


@pytest.mark.parametrize("text", ["0 QPS", "0"])
def test_loads_of_nothing(text):
    with pytest.raises(NotUnderstoodError, match="calls"):
        read(concurrency_or_batch=text)


@pytest.mark.parametrize("text", ["1k", "1K tokens", "1,024", "1024.0", "1024 tokens"])
def test_lengths_in_other_words(text):
    found = read(isl=text, osl=text)
    assert (found.conditions.prompt.mean, found.conditions.output.mean) == (1024, 1024)
    assert (f"{text} is 1,024 tokens" in found.assumed) == text.lower().startswith("1k")


@pytest.mark.parametrize("text", ["8 GPUs", "8x", "8.0", "x8", "8 gpu"])
def test_numbers_of_devices_in_other_words(text):
    assert read(n_gpus=text).conditions.cut == Cut(tp=2, replicas=4)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("8", Cut(tp=8)),
        ("TP=8", Cut(tp=8)),
        ("TP 8", Cut(tp=8)),
        ("tp8", Cut(tp=8)),
        ("tensor parallel 8", Cut(tp=8)),
        ("--tensor-parallel-size 8", Cut(tp=8)),
        ("tp_size=8", Cut(tp=8)),
        ("8-way TP", Cut(tp=8)),
        ("8-way tensor parallelism", Cut(tp=8)),
        ("PP2", Cut(pp=2, replicas=4)),
        ("TP4 PP2", Cut(tp=4, pp=2)),
        ("TP4xPP2", Cut(tp=4, pp=2)),
        ("DP8", Cut(replicas=8)),
        ("DP8 EP8", Cut(replicas=8)),
        ("4x TP2", Cut(tp=2, replicas=4)),
        ("single GPU", Cut(replicas=8)),
    ],
)
def test_layouts_of_a_dense_llm(text, cut):
    assert read(parallelism=text, n_gpus="8").conditions.cut == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("DP8 EP8", Cut(ep=8, dp=8)),
        ("DP8+EP8", Cut(ep=8, dp=8)),
        ("DP8 + EP", Cut(ep=8, dp=8)),
        ("TP8 DP8 EP8", Cut(ep=8, dp=8)),
        ("attention DP8", Cut(ep=8, dp=8)),
        ("DP-attention 8", Cut(ep=8, dp=8)),
        ("TP8 DP-attention", Cut(ep=8, dp=8)),
        ("DPA8", Cut(ep=8, dp=8)),
        ("DEP4", Cut(ep=4, dp=4, replicas=2)),
        ("EP8", Cut(tp=8, ep=8)),
        ("TEP8", Cut(tp=8, ep=8)),
        ("TP8 + EP", Cut(tp=8, ep=8)),
        ("TP8 EP8", Cut(tp=8, ep=8)),
        ("TP8 w/o EP", Cut(tp=8)),
        ("TP8, no EP", Cut(tp=8)),
        ("TP4 DP2", Cut(tp=4, replicas=2)),
        ("TP8 attention DP1", Cut(tp=8)),
    ],
)
def test_layouts_of_experts(text, cut):
    found = read(model="DeepSeek-V3", hardware="H200-SXM-141GB", parallelism=text, n_gpus="8")
    assert found.conditions.cut == cut
    assert ("tp 8, over which its experts are spread" in found.assumed) == (text == "EP8")
    assert ("DP2: whole replicas" in found.assumed) == (text == "TP4 DP2")


@pytest.mark.parametrize(
    ("llm", "text", "reason"),
    [
        ("Llama-3.1-70B", "ring", 'parallelism "ring"'),
        ("Llama-3.1-70B", "TP4 CP2", 'parallelism "TP4 CP2"'),
        ("Llama-3.1-70B", "attention DP8", "attention-DP, but llama_3_1_70b has no experts"),
        ("Llama-3.1-70B", "EP8", "EP8 alone, but llama_3_1_70b has no experts"),
        ("DeepSeek-V3", "TP4 DP2 EP8", "experts over 8 devices, attention over tp 4, dp 2"),
        ("DeepSeek-V3", "TP8 DPA2", "attention-DP over 2 with tp 8, ep 1, pp 1"),
        ("DeepSeek-V3", "DEP4 PP2", "attention-DP over 4 with tp 1, ep 4, pp 2"),
        ("DeepSeek-V3", "DEP16", "8 devices are no whole replicas of 16"),
    ],
)
def test_layouts_that_are_none(llm, text, reason):
    with pytest.raises(NotUnderstoodError) as caught:
        read(model=llm, hardware="H200-SXM-141GB", parallelism=text, n_gpus="8")
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("name", "formats", "words"),
    [
        ("Llama-3.1-70B-Instruct-FP8", ("fp8", "fp8"), "fp8"),
        ("RedHatAI/Llama-3.1-70B-Instruct-FP8-dynamic", ("fp8", "fp8"), "fp8"),
        ("nvidia/Llama-3.1-70B-Instruct-FP4", ("nvfp4", "fp4"), "fp4"),
        ("Llama-3.1-70B-Instruct-NVFP4", ("nvfp4", "fp4"), "nvfp4"),
        ("Llama-3.1-70B-MXFP4", ("mxfp4", "fp4"), "mxfp4"),
        ("Llama-3.1-70B-Instruct-AWQ", ("w4a16", "bf16"), "awq"),
        ("Llama-3.1-70B-Instruct-GPTQ-Int4", ("w4a16", "bf16"), "gptq int4"),
        ("Llama-3.1-70B-Instruct.w4a16", ("w4a16", "bf16"), "w4a16"),
        ("Llama-3.1-70B-Instruct-quantized.w4a16", ("w4a16", "bf16"), "w4a16"),
    ],
)
def test_a_blank_precision_is_that_of_the_name(name, formats, words):
    found = read(model=name, precision="", hardware="B200", n_gpus="8", parallelism="TP8")
    assert (found.conditions.weights, found.conditions.compute) == formats
    assert f"precision {words}, from the LLM's name" in found.assumed


@pytest.mark.parametrize("name", ["Llama-3.1-70B-Instruct-INT8", "Llama-3.1-70B-Instruct-w8a8"])
def test_int8_of_the_name(name):
    found = read(model=name, precision="", hardware="A100-SXM-80GB").conditions
    assert (found.weights, found.compute) == ("int8", "int8")


def test_a_precision_that_is_told_goes_before_the_name():
    found = read(model="Llama-3.1-70B-Instruct-FP8", precision="bf16")
    assert found.conditions.weights == "bf16"
    assert read(precision="").conditions.weights == "bf16"


def test_kv_beside_the_precision_and_in_the_notes():
    assert read(precision="FP8 + FP8 KV").conditions.kv == "fp8"
    assert read(notes="with FP8 KV cache").conditions.kv == "fp8"
    assert "KV cache in bf16" not in read(notes="with FP8 KV cache").assumed


def test_a_format_that_stands_for_another_is_told():
    assert "mxfp8 as fp8" in read(precision="MXFP8").assumed


@pytest.mark.parametrize(
    "notes",
    ["max batch size 32", "max-num-seqs 32", "max_num_seqs: 32", "vllm --max-num-seqs 32",
     "--max-num-seqs=32", "max batch 32."],
)  # fmt: skip
def test_sequences_of_a_step_in_other_words(notes):
    assert read(notes=notes).conditions.max_sequences == 32
    assert read(notes="max batch size 1,024").conditions.max_sequences == 1024


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"notes": "EAGLE-3, 3 tokens"}, ["ignored: eagle-3"]),
        ({"notes": "with MTP"}, ["ignored: mtp"]),
        ({"notes": "speculative decoding"}, ["ignored: speculative"]),
        ({"engine": "vLLM (PD disaggregated)"}, ["ignored: pd disaggregated"]),
        ({"parallelism": "TP2 disagg"}, ["ignored: disagg"]),
        ({"notes": "no MTP; without speculative decoding; MTP off"}, []),
    ],
)
def test_what_is_not_modelled_is_told(changes, ignored):
    assert [one for one in read(**changes).assumed if one.startswith("ignored")] == ignored


@pytest.mark.parametrize(
    ("name", "device", "assumed"),
    [
        ("H100", "h100_sxm", True),
        ("NVIDIA H100", "h100_sxm", True),
        ("H100 80GB", "h100_sxm", False),
        ("H200", "h200_sxm", True),
        ("A100", "a100_sxm_80gb", True),
        ("8x H100", "h100_sxm", True),
        ("8 \u00d7 H100", "h100_sxm", True),
        ("H100 x8", "h100_sxm", True),
        ("HGX H100", "h100_sxm", True),
        ("B200", "b200_sxm", False),
        ("DGX B200", "b200_sxm", False),
        ("8xB200", "b200_sxm", False),
        ("8 x H200-SXM-141GB", "h200_sxm", False),
        ("RTX4090", "rtx_4090", False),
        ("MI300X", "mi300x", False),
    ],
)
def test_devices_in_other_words(name, device, assumed):
    found = read(hardware=name, precision="bf16", n_gpus="2")
    assert found.conditions.device == device
    assert (f'"{name}" is {device}' in found.assumed) == assumed


@pytest.mark.parametrize("name", ["H100 PCIe", "H100 (PCIe)", "A100 40GB", "8x Abacus"])
def test_devices_that_the_catalog_lacks_or_several(name):
    with pytest.raises(NotUnderstoodError, match="device "):
        read(hardware=name)


def test_devices_are_counted_beside_their_name():
    assert read(hardware="8x H100", n_gpus="").conditions.cut == Cut(tp=2, replicas=4)
    assert read(hardware="8x H100", n_gpus="16").conditions.cut == Cut(tp=2, replicas=8)
    blank = read(hardware="8x H100", n_gpus="", parallelism="").conditions
    assert blank.cut == Cut(tp=2, replicas=4)
