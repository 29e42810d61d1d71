"""Step times against measurements: kernel tables, static runs, published serving.

Kernel tables and the static runs were used to fit `catalog/efficiency.yaml`;
the published serving rows were not. Tolerances are what docs/physics.md reports,
with some room: they catch a law that moved, not a better one.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.physics.collectives import Links, Protocol, all_reduce
from factorysim.physics.roofline import roofline_law
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

TABLES = Path(__file__).parents[3] / "shared" / "validation"
pytestmark = pytest.mark.skipif(
    not TABLES.is_dir(), reason="the measured tables are not beside the repository"
)
BF16 = PrecisionSpec()
SYSTEMS = {"a100_sxm": "a100_sxm_80gb", "h100_sxm": "h100_sxm", "h200_sxm": "h200_sxm"}


def build(llm, device, tp, *, engine="generic", precision=BF16):
    catalog = load_catalog()
    found = catalog.device(device)
    factors = efficiency(catalog, found, engine)
    links = Links(found.scale_up_bw or 1e11, 1e-6, 8)
    parallel = ParallelSpec(tp=tp)
    return roofline_law(catalog.llm(llm), found, precision, parallel, links, factors, "full")


def decode_ms(law, batch, context):
    return (law.base(batch, 0, 0, batch) + law.slope_fs * batch * context) / 1e12


def prompt_ms(law, tokens):
    return (law.base(0, tokens, 1, 1) + law.chunk(tokens, 0)) / 1e12


def errors(predicted, measured):
    return np.abs(np.asarray(predicted, dtype=float) / np.asarray(measured, dtype=float) - 1)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("dtype", "form", "width"), [("bfloat16", "bf16", 2), ("fp8", "fp8", 1)])
def test_products(system, dtype, form, width):
    """Dense products, a fixed time of 5 us (14 us with FP8 quantisation) a kernel."""
    table = pd.read_csv(TABLES / "aic_gemm.csv")
    rows = table[(table.system == system) & (table.gemm_dtype == dtype)]
    if rows.empty:
        pytest.skip(f"{system} has no {dtype} products")
    device = load_catalog().device(SYSTEMS[system])
    factors = efficiency(load_catalog(), device, "generic")
    compute = 2.0 * rows.m * rows.n * rows.k / (device.flops[form] * factors.linear_compute[form])
    read = width * rows.n * rows.k / (device.memory_bandwidth * factors.weight_bandwidth)
    fixed = 5e-6 if form == "bf16" else 14e-6
    off = errors((fixed + np.maximum(compute, read)) * 1e3, rows.latency_ms)
    assert np.median(off) < 0.10


@pytest.mark.parametrize("system", SYSTEMS)
def test_prompt_attention(system):
    """Kernels of more than 50 us, which the fixed time of a block does not blur."""
    table = pd.read_csv(TABLES / "aic_attn_prefill.csv")
    rows = table[(table.system == system) & (table.attn_dtype == "bfloat16")]
    rows = rows[(rows.kv_cache_dtype == "bfloat16") & (rows.latency_ms > 0.05)]
    device = load_catalog().device(SYSTEMS[system])
    factors = efficiency(load_catalog(), device, "generic")
    pairs = rows.batch_size * rows.isl * (rows.isl + 1) / 2
    flops = 4.0 * pairs * rows.num_heads * rows.head_dim
    milliseconds = flops / (device.flops["bf16"] * factors.attention_compute) * 1e3
    assert np.median(errors(milliseconds, rows.latency_ms)) < 0.25


@pytest.mark.parametrize("system", ["h100_sxm", "h200_sxm"])
def test_decode_attention(system):
    table = pd.read_csv(TABLES / "aic_attn_decode.csv")
    rows = table[(table.system == system) & (table.kv_cache_dtype == "bfloat16")]
    rows = rows[rows.latency_ms > 0.05]
    device = load_catalog().device(SYSTEMS[system])
    factors = efficiency(load_catalog(), device, "generic")
    cached = rows.batch_size * (rows.kv_len_minus1 + 1)
    size = 2.0 * 2 * cached * rows.num_key_value_heads * rows.head_dim
    milliseconds = 0.011 + size / (device.memory_bandwidth * factors.kv_bandwidth) * 1e3
    assert np.median(errors(milliseconds, rows.latency_ms)) < 0.15


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_reduce(system):
    """Message sizes of this table count elements of two bytes."""
    table = pd.read_csv(TABLES / "aic_nccl.csv")
    rows = table[(table.system == system) & (table.op_name == "all_reduce")]
    rows = rows[rows.nccl_dtype == "half"]
    device = load_catalog().device(SYSTEMS[system])
    factors = efficiency(load_catalog(), device, "generic")
    protocol = Protocol(factors.link_bandwidth, factors.collective_s, factors.collective_hop_s)
    links = Links(device.scale_up_bw, 1e-6, 8)
    predicted = [
        all_reduce(2.0 * row.message_size, row.num_gpus, links, protocol) * 1e3
        for row in rows.itertuples()
    ]
    assert np.median(errors(predicted, rows.latency_ms)) < 0.20


def test_layers_of_code_llama_on_two_a100():
    """Products and elementwise kernels of a layer (vidur), without attention and links."""
    table = pd.read_csv(TABLES / "vidur_mlp_median.csv")
    rows = table[(table.device == "a100") & table.model.str.contains("CodeLlama-34b")]
    rows = rows[(rows.num_tensor_parallel_workers == 2) & (rows.num_tokens >= 16)]
    assert len(rows) >= 5
    layer_ms = rows[[name for name in rows if name.endswith("_ms") and name != "emb_ms"]].sum(
        axis=1
    )
    law = build("code_llama_34b", "a100_sxm_80gb", 2)
    links_s = law.links.step_s
    predicted = [
        (law.base(0, tokens, 1, 0) / 1e12 - 1e3 * (links_s + tokens * law.links.token_s)) / 48
        for tokens in rows.num_tokens
    ]
    off = errors(predicted, layer_ms)
    assert np.median(off) < 0.15
    assert off.max() < 0.35


def test_static_runs_of_llama_2_and_bloom():
    """Splitwise, prompts of one sequence and decodes of up to 32: its own stack's rows."""
    table = pd.read_csv(TABLES / "splitwise_perf_median.csv")
    rows = table[(table.implausible == 0) & (table.batch_size <= 32)]
    llms = {"llama2-70b": "llama_2_70b", "bloom-176b": "bloom_176b"}
    devices = {"a100-80gb": "a100_sxm_80gb", "h100-80gb": "h100_sxm"}
    prompts, decodes = [], []
    for row in rows.itertuples():
        law = build(
            llms[row.model], devices[row.hardware], row.tensor_parallel, engine="splitwise_2023"
        )
        context = row.prompt_size + row.token_size / 2
        predicted = decode_ms(law, row.batch_size, context)
        decodes.append(errors(predicted, row.token_time_ms_median))
        if row.batch_size == 1:
            prompts.append(errors(prompt_ms(law, row.prompt_size), row.prompt_time_ms_median))
    assert np.median(decodes) < 0.10
    assert np.median(prompts) < 0.25


def test_tpot_of_published_serving():
    """Closed-loop rows on H100 and H200, none of them used in the fit.

    A steady mix of decode steps and steps with prompts, as the rows' lengths
    make it; rows that KV capacity limits are not of this form and stay in.
    """
    table = pd.read_csv(TABLES / "published_serving.csv")
    rows = table[(table.metric == "tpot_ms") & (table.scenario == "server")]
    off = [errors(tpot_ms(row), float(row.value)) for row in rows.itertuples() if known(row)]
    assert len(off) >= 60
    assert np.median(off) < 0.10
    assert np.quantile(off, 0.9) < 0.30


LLMS = {
    "Llama-3.1-70B-Instruct": "llama_3_1_70b",
    "Llama-3.1-8B-Instruct": "llama_3_1_8b",
    "Qwen3-32B": "qwen3_32b",
}
HOPPER = {"H100-SXM-80GB": "h100_sxm", "H200-SXM-141GB": "h200_sxm"}


def known(row):
    numbers = (row.concurrency_or_batch, row.isl, row.osl)
    stated = all(re.fullmatch(r"[\d.]+", str(number)) for number in numbers)
    return stated and row.model in LLMS and row.hardware in HOPPER and layout(row) is not None


def layout(row):
    """TP of a row; None where it is not stated."""
    found = re.search(r"TP(\d+)", str(row.parallelism))
    return int(found[1]) if found else None


def tpot_ms(row):
    shrink = 0.9 if row.id.startswith("C-ifx") else 1.0  # lengths uniform in 0.8 to 1.0
    batch = int(float(row.concurrency_or_batch))
    prompt, output = shrink * float(row.isl), shrink * float(row.osl)
    trt = row.engine.startswith("trtllm")
    form = "fp8" if row.precision == "fp8" else "bf16"
    kv = "fp8" if trt and form == "fp8" else "bf16"
    precision = PrecisionSpec(weights=form, compute=form, kv=kv)
    law = build(LLMS[row.model], HOPPER[row.hardware], layout(row), precision=precision)
    context = prompt + output / 2
    plain = decode_ms(law, batch, context)
    tokens = int(min(8192, max(prompt, batch * prompt / output)))
    prompts = max(1, round(tokens / prompt))
    share = min(1.0, batch * prompt / (output * tokens))
    mixed = law.base(batch, tokens, prompts, batch + 1)
    mixed += prompts * law.chunk(int(min(tokens, prompt)), 0)
    return (1 - share) * plain + share * (mixed / 1e12 + law.slope_fs * batch * context / 1e12)
