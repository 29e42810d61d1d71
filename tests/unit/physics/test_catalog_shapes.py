"""Every LLM of the catalog: parameters, KV bytes and step times, against its own record.

One table-driven test a claim, over whatever the catalog holds: an LLM that is
added is tested, one that cannot be built must be named below with what it lacks.
"""

from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.errors import CapacityError, UserError
from factorysim.physics.collectives import Links
from factorysim.physics.memory import kv_bytes_per_token, sequence_bytes
from factorysim.physics.roofline import roofline_law
from factorysim.physics.shape import llm_shape
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

CATALOG = load_catalog()
UNBUILT = {"nemotron_4_coalition", "gpt_moe_2t_nvidia"}
BUILT = [name for name in CATALOG.ids("llms") if name not in UNBUILT]
ALONE = ParallelSpec(tp=1)

PUBLISHED = 0.02
"""Of shapes against `total_params`: cards and names round to two or three digits."""
ROUNDED_NAMES = {
    "nemotron_3_nano": 0.053,  # "30B" of 31.6e9
    "kimi_k2": 0.027,  # "1T" of 1.03e12
    "kimi_k2_5": 0.027,
    "qwen3_8b": 0.024,  # "8B" of 8.19e9
    "phi_2": 0.030,  # "2.7B" of 2.78e9
}
"""LLMs whose total is their name, and how far the name rounds."""

INDEX_KEYS = {"deepseek_v3_2": 61 * 132, "glm_5": 78 * 132, "glm_5_2": 21 * 132}
"""Bytes of a token that the record's `kv_bytes_per_token` leaves out: an indexer's keys."""

DEVICES = ("h100_sxm", "b200_sxm", "rubin_gpu", "mi355x", "tpu_v7_ironwood")


def fact(name, key):
    return CATALOG.facts[f"llms.{name}.{key}"].value


@pytest.mark.parametrize("name", sorted(UNBUILT))
def test_an_unknown_architecture_is_refused_with_what_is_missing(name):
    with pytest.raises(CapacityError) as refused:
        llm_shape(CATALOG.llm(name))
    assert all(fault.key.startswith(f"llms.{name}.") for fault in refused.value.faults)
    assert all("catalog:" in fault.cure for fault in refused.value.faults)
    assert len(refused.value.faults) >= 3


@pytest.mark.parametrize("name", BUILT)
def test_counts_close_on_the_records_own(name):
    """`param_check` was counted from the same shapes by others: 1e-5 for biases."""
    shape = llm_shape(CATALOG.llm(name))
    assert shape.total_params == pytest.approx(fact(name, "param_check"), rel=1e-5)


@pytest.mark.parametrize("name", BUILT)
def test_counts_are_those_published(name):
    shape = llm_shape(CATALOG.llm(name))
    off = abs(shape.total_params / fact(name, "total_params") - 1)
    assert off <= ROUNDED_NAMES.get(name, PUBLISHED)
    if name in ROUNDED_NAMES:
        assert off > PUBLISHED, "no exception any more"


@pytest.mark.parametrize("name", BUILT)
def test_active_counts_agree_with_the_cards(name):
    """Cards count both embedding matrices, one, or neither, and round: 5 % of one of them."""
    known = fact(name, "active_params")
    if known is None:
        assert name == "kimi_k3"
        return
    shape = llm_shape(CATALOG.llm(name))
    active, table = shape.active_params, shape.table
    counts = (active - table, active, active + table)
    assert any(count == pytest.approx(known, rel=0.05) for count in counts)


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_kv_bytes_are_those_of_the_record(name, form):
    held = kv_bytes_per_token(CATALOG.llm(name), PrecisionSpec(kv=form), ALONE)
    stated = fact(name, f"attention.kv_bytes_per_token_{form}")
    assert held == stated + INDEX_KEYS.get(name, 0)


def test_what_a_sequence_holds_whatever_its_length():
    """Windows and states as the records give them; what V4 adds is ours (see docs/attention.md)."""
    forms = PrecisionSpec()
    held = {name: sequence_bytes(CATALOG.llm(name), forms, ALONE) for name in BUILT}
    wanted = {
        "gpt_oss_120b": 18 * 128 * 2 * 8 * 64 * 2,
        "gpt_oss_20b": 12 * 128 * 2 * 8 * 64 * 2,
        "gemma_4_31b": 50 * 1024 * 8192 * 2,
        "llama_4_maverick": 36 * 8192 * 2048 * 2,
        "deepseek_v4_pro": 61 * 128 * 512 * 2 + 4 * (30 * 8 * 4 * 640 + 31 * 128 * 2 * 512),
        "deepseek_v4_flash": 43 * 128 * 512 * 2 + 4 * (21 * 8 * 4 * 640 + 20 * 128 * 2 * 512),
    }
    for name in BUILT:
        state = next(
            (
                value
                for key in ("mamba_state", "linear_state")
                if (found := CATALOG.facts.get(f"llms.{name}.attention.{key}_bytes_per_sequence"))
                and (value := found.value)
            ),
            0,
        )
        assert held[name] == wanted.get(name, state), name


def law_of(name, device_id, bandwidth=1.0):
    device = CATALOG.device(device_id)
    device = replace(device, memory_bandwidth=device.memory_bandwidth * bandwidth)
    compute = "fp8" if "fp8" in device.flops else "bf16"
    form = PrecisionSpec(weights=compute, compute=compute, kv="bf16")
    factors = efficiency(CATALOG, device, "generic")
    links = Links(device.scale_up_bw or 1e10, 1e-6, 8)
    law = roofline_law(CATALOG.llm(name), device, form, ParallelSpec(tp=8), links, factors, "full")
    return device, law


def decode_fs(law, decodes, context):
    """A decode step, as the clock sums it."""
    piece = law.piece(decodes, decodes * context)
    spent = law.base(decodes, 0, 0, decodes) + piece.fixed_fs
    spent += piece.slope_fs * decodes * context
    return spent + law.window_fs * decodes * min(context, law.window or 0)


CONTEXTS = (1, 100, 2048, 2049, 9000, 131_072, 1_048_576)
CHUNKS = ((1, 0), (512, 0), (2048, 0), (8192, 2048), (8192, 1_000_000), (16, 262_144))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BUILT)
def test_more_bandwidth_never_slows_and_more_context_never_quickens(name, device):
    _, law = law_of(name, device)
    _, wide = law_of(name, device, bandwidth=1.7)
    for decodes in (1, 300):
        times = [decode_fs(law, decodes, context) for context in CONTEXTS]
        assert times == sorted(times)
        assert all(
            decode_fs(wide, decodes, context) <= time
            for context, time in zip(CONTEXTS, times, strict=True)
        )
    for tokens, prior in CHUNKS:
        assert wide.chunk(tokens, prior) <= law.chunk(tokens, prior)
        assert (
            law.chunk(tokens, prior)
            <= law.chunk(tokens, prior + 1)
            <= law.chunk(tokens + 1, prior + 1)
        )


@pytest.mark.parametrize("device_id", DEVICES)
@pytest.mark.parametrize("name", BUILT)
def test_no_step_beats_the_bytes_and_flops_of_its_own_record(name, device_id):
    """Counted here from the record: active weights, the cache that must be read, the attention."""
    device, law = law_of(name, device_id)
    shape = llm_shape(CATALOG.llm(name))
    peak, rate = 8 * max(device.flops.values()), 8 * device.memory_bandwidth
    topk, ratio = sparse_of(name)
    for context in CONTEXTS:
        seconds = decode_fs(law, 1, context) * 1e-15
        weights = shape.active_params - shape.table  # FP8 at least, the head apart
        read = min(context, topk * ratio) if topk else context
        cache = fact(name, "attention.kv_bytes_per_token_bf16") * read
        assert seconds >= weights / rate
        assert seconds >= (weights + cache / 2) / rate or ratio > 1
        assert seconds >= 2 * weights / peak
    for tokens, prior in CHUNKS:
        seconds = (law.base(0, tokens, 1, 1) + law.chunk(tokens, prior)) * 1e-15
        assert seconds >= 2 * tokens * (shape.active_params - shape.table) / peak


def sparse_of(name):
    """What the record says is read: how many entries, of how many tokens."""
    for key, ratio in (("sparse_indexer.topk", 1), ("indexer_topk", 4)):
        found = CATALOG.facts.get(f"llms.{name}.attention.{key}")
        if found is not None:
            return int(found.value), ratio
    return 0, 1


def test_the_devices_of_these_tests_are_in_the_catalog():
    for name in DEVICES:
        try:
            CATALOG.device(name)
        except UserError as error:
            pytest.fail(str(error))


def test_a_long_context_costs_what_it_must():
    """At 1M tokens: dense MLA reads 61 x 576 elements a token, DSA 61 keys of 132 B."""
    _, dense = law_of("deepseek_v3", "b200_sxm")
    _, sparse = law_of("deepseek_v3_2", "b200_sxm")
    million = 1_048_576
    growth = [
        (decode_fs(law, 1, million) - decode_fs(law, 1, million // 2)) / (million // 2)
        for law in (dense, sparse)
    ]
    bandwidth = CATALOG.device("b200_sxm").memory_bandwidth
    factors = efficiency(CATALOG, CATALOG.device("b200_sxm"), "generic")
    read = [
        61 * 576 * 2 / (bandwidth * factors.kv_bandwidth),
        61 * 132 / (bandwidth * factors.kv_bandwidth),
    ]
    assert growth[0] * 1e-15 == pytest.approx(read[0], rel=0.01)
    assert growth[1] * 1e-15 == pytest.approx(read[1], rel=0.01)
