"""Operating points against arithmetic by hand, and what is refused."""

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import factorysim as fs
from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError
from factorysim.metrics.inputs import Window
from factorysim.physics.step import Activity
from factorysim.run.prepare import prepare
from factorysim.study.operating_point import choose_precision
from factorysim.study.predict import as_json, predict
from factorysim.study.usage import usage

SMALL = {"llm": "llama_3_1_8b", "device": "h100_sxm", "isl": 512, "osl": 64, "concurrency": 4}
VLLM = ("serving.engine=vllm",)
KV_BOUND = {
    "llm": "llama_3_1_70b",
    "device": "h100_sxm",
    "tp": 2,
    "precision": "fp8",
    "isl": 8192,
    "osl": 1024,
}


def point(**changes):
    return predict(**SMALL | changes)


def law_of(found):
    return prepare(found.scenario).plan.serve[0].law


# One call at a time: the law, and nothing else.


def test_alone_tpot_is_the_mean_decode_step_of_the_law():
    """Step j of 1 .. osl - 1 reads isl + j tokens, so the mean one reads isl + osl / 2."""
    found = point(concurrency=1, isl=1000, osl=200, calls=40)
    law = law_of(found)
    step_fs = law.base(1, 0, 0, 1) + law.slope_fs * (1000 + 200 / 2)
    assert found.tpot_s.mean == pytest.approx(step_fs / 1e15, rel=1e-9)
    assert found.itl_s.mean == pytest.approx(step_fs / 1e15, rel=1e-9)


def test_alone_ttft_is_the_prompt_step_and_the_door():
    found = point(concurrency=1, isl=1000, osl=20, calls=40)
    law, door = law_of(found), prepare(found.scenario).plan.serve[0].replicas[0].latency_fs
    prompt_fs = law.base(0, 1000, 1, 1) + law.chunk(1000, 0)
    extra_fs = found.ttft_s.mean * 1e15 - prompt_fs - door
    request_fs = load_catalog().facts["efficiency.generic.neutral.request_s"].value * 1e15
    assert extra_fs == pytest.approx(request_fs, rel=1e-6) or extra_fs == pytest.approx(0, abs=1e3)


def test_alone_tpot_on_an_h100_is_its_weights_kv_and_kernels():
    """Llama-3.1-8B in BF16, by hand: 8.03e9 parameters less the embedding table."""
    found = point(concurrency=1, isl=1000, osl=200, calls=40)
    weights = 2 * (8.030e9 - 128_256 * 4096)
    kv = 2 * 32 * 8 * 128 * 2 * (1000 + 100)
    by_hand = weights / (3.35e12 * 0.86) + kv / (3.35e12 * 0.85) + 64 * 18e-6
    assert found.tpot_s.mean == pytest.approx(by_hand, rel=0.01)
    assert found.bound.word == "memory"
    assert found.batch_mean == found.batch_max == 1


def test_tokens_per_user_is_one_over_tpot_and_all_is_concurrency_over_latency():
    found = point(concurrency=1)
    assert found.tokens_per_s_per_user == 1 / found.tpot_s.mean
    assert found.output_tokens_per_s == pytest.approx(64 / found.latency_s.mean, rel=1e-9)


def test_one_output_token_has_no_tpot():
    found = point(osl=1, calls=40)
    assert found.tpot_s.mean is None
    assert found.tokens_per_s_per_user is None
    assert found.reasons["tpot_s.mean"]


# Any load.


@pytest.mark.parametrize(
    "changes",
    [
        {"concurrency": 4},
        {"concurrency": 24, "isl": 2000},
        {"concurrency": 50, "isl": 3000, "osl": 30},
        {"concurrency": 8, "overrides": ["serving.scheduler=prefill_first"]},
    ],
)
def test_throughput_is_concurrency_over_latency(changes):
    """Little's law, exact over whole waves."""
    found = point(**changes)
    assert found.calls_per_s * found.latency_s.mean == pytest.approx(found.concurrency, rel=5e-3)
    assert found.output_tokens_per_s == pytest.approx(found.calls_per_s * found.osl, rel=5e-3)


def test_start_up_is_in_no_number():
    """A longer measurement says the same: with the start-up in it, it would dilute it."""
    short = point(concurrency=24, isl=3000, calls=72)
    long = point(concurrency=24, isl=3000, calls=1200)
    assert long.ttft_s.mean == pytest.approx(short.ttft_s.mean, rel=0.01)
    assert long.tpot_s.mean == pytest.approx(short.tpot_s.mean, rel=0.01)
    assert long.output_tokens_per_s == pytest.approx(short.output_tokens_per_s, rel=0.01)
    assert 2 * 24 <= long.calls_left_out == short.calls_left_out <= 15 * 24


def test_a_full_kv_cache_makes_calls_wait():
    """49 calls of 9,215 tokens fit: 16 do not wait for room, 64 do."""
    free, full = (predict(**KV_BOUND, concurrency=n) for n in (16, 64))
    assert free.kv.sequences_that_fit == 28_703 // 576 == 49
    assert full.ttft_s.mean > 5 * free.ttft_s.mean
    assert full.kv.share_mean > 0.9 > 0.5 > free.kv.share_mean
    assert full.kv.share_max <= 1
    assert full.queue_mean > 64 - 55 > free.queue_mean
    assert full.calls_per_s * full.latency_s.mean == pytest.approx(64, rel=0.03)


def test_power_lies_between_idle_and_tdp_and_joules_follow():
    found = point()
    idle_w = load_catalog().device("h100_sxm").idle_w
    assert idle_w < found.watts_per_device < found.tdp_w
    per_token = found.watts_per_device * found.devices / found.output_tokens_per_s
    assert found.j_per_output_token == pytest.approx(per_token, rel=1e-12)


def test_shares_of_the_bound_add_up():
    for concurrency in (1, 64):
        assert sum(point(concurrency=concurrency).bound) == pytest.approx(1, abs=1e-9)


def test_more_bandwidth_never_slows(tmp_path):
    """From the shipped 3.35 TB/s upwards, by a catalog file of the user."""
    found = [point(concurrency=8)]
    for factor in (1.1, 1.5, 3.0):
        overlay = tmp_path / f"{factor}.yaml"
        leaf = f"{{value: {3.35e12 * factor}, unit: B/s, kind: assumed}}"
        overlay.write_text(
            "schema: factorysim.catalog/1\n"
            f"accelerators: {{h100_sxm: {{memory_bandwidth: {leaf}}}}}\n"
        )
        found.append(point(concurrency=8, catalog=overlay))
    for slower, faster in pairwise(found):
        assert faster.tpot_s.mean < slower.tpot_s.mean
        assert faster.ttft_s.mean <= slower.ttft_s.mean
        assert faster.output_tokens_per_s > slower.output_tokens_per_s
    assert "accelerators.h100_sxm.memory_bandwidth" in [fact.id for fact in found[-1].assumed]


def test_lengths_may_vary_by_override():
    found = point(
        overrides=["streams.calls.calls.output_tokens={kind: uniform, mean: 64, spread: 0.5}"]
    )
    assert found.latency_s.p50 < found.latency_s.p95


def test_lengths_that_vary_break_the_burst():
    """Alike, the eight prompts meet in one step for ever; else they come one by one."""
    alike, varied = (point(concurrency=8, osl=200, spread=spread) for spread in (0.0, 0.2))
    door_s = load_catalog().facts["efficiency.generic.neutral.request_s"].value
    assert alike.ttft_s.mean - door_s > 3 * (varied.ttft_s.mean - door_s)
    assert varied.spread == 0.2


# The factory behind it.


@pytest.mark.parametrize(
    ("device", "tp", "rack", "racks", "crosses"),
    [
        ("h100_sxm", 1, "h100_sxm", 1, False),
        ("h100_sxm", 2, "dgx_h100", 1, False),
        ("h100_sxm", 16, "dgx_h100", 2, True),
        ("rubin_gpu", 8, "hgx_rubin_nvl8", 1, False),
        ("rubin_gpu", 16, "vera_rubin_nvl72", 1, False),
        ("l40s", 2, "l40s", 2, True),
        ("epyc_9965", 1, "epyc_9965", 1, False),
        ("epyc_9965", 2, "x86_rack", 1, True),
    ],
)
def test_the_smallest_rack_with_a_domain_wide_enough(device, tp, rack, racks, crosses):
    found = point(device=device, tp=tp, calls=4)
    assert (found.rack, found.racks, found.devices) == (rack, racks, tp)
    assert bool(found.notes) == crosses


@pytest.mark.parametrize("device", ["epyc_9965", "apple_m4_max", "a100_sxm_80gb", "mi300x"])
def test_cpus_laptops_and_other_vendors_are_devices_too(device):
    found = point(device=device, calls=40)
    assert found.output_tokens_per_s > 0
    assert (found.model_error.reason is not None) == (device == "epyc_9965")


def test_a_point_is_bounded_by_the_models_own_error():
    found, facts = point(calls=40, overrides=VLLM), load_catalog().facts
    told = facts["residuals.seen.tpot.closed.ratio"]
    band = found.model_error.bands["tpot_s"]
    assert found.model_error.title == "seen"
    assert band.low == pytest.approx(found.tpot_s.mean * told.low)
    assert band.high == pytest.approx(found.tpot_s.mean * told.high)
    assert band.sources == len(told.source)
    assert found.model_error.bands.keys() >= {"ttft_s", "tpot_s", "output_tokens_per_s"}


def test_an_unseen_generation_has_bands_of_its_own():
    unseen = point(calls=40, device="rubin_gpu", overrides=VLLM)
    told = load_catalog().facts["residuals.generation.tpot.closed.ratio"]
    assert unseen.model_error.title == "unseen generation"
    assert unseen.model_error.bands["tpot_s"].high == pytest.approx(unseen.tpot_s.mean * told.high)
    assert point(calls=40).model_error.title == "unseen engine"  # the generic one
    told = json.loads(json.dumps(as_json(unseen)))["model_error"]
    assert told["class"] == "unseen generation"
    assert told["bands"]["tpot_s"]["low"] < told["bands"]["tpot_s"]["high"]


@pytest.mark.parametrize(
    ("llm", "device", "weights", "compute", "kv"),
    [
        ("deepseek_v3", "h200_sxm", "fp8", "fp8", "fp8"),
        ("deepseek_v3", "a100_sxm_80gb", "fp8", "bf16", "bf16"),
        ("llama_3_1_8b", "b200_sxm", "bf16", "bf16", "bf16"),
        ("llama_2_70b", "h100_sxm", "bf16", "bf16", "bf16"),
        ("gpt_oss_20b", "b200_sxm", "mxfp4", "fp4", "bf16"),
        ("gpt_oss_20b", "h100_sxm", "mxfp4", "bf16", "bf16"),
        ("kimi_k2_5", "h200_sxm", "w4a16", "bf16", "bf16"),
        ("llama_3_1_8b", "groq3_lpu", "fp8", "fp8", "fp8"),
    ],
)
def test_precision_is_the_published_one_in_native_arithmetic(llm, device, weights, compute, kv):
    catalog = load_catalog()
    chosen, told = choose_precision(None, catalog.llm(llm), catalog.device(device))
    assert (chosen.weights, chosen.compute, chosen.kv) == (weights, compute, kv)
    assert told.startswith("chosen: published in")


def test_every_precision_that_is_chosen_can_be_built():
    catalog = load_catalog()
    for name in catalog.ids("devices"):
        try:
            device = catalog.device(name)
        except CapacityError:
            continue  # a fact of it is unpublished
        for llm in ("llama_3_1_8b", "deepseek_v3", "gpt_oss_20b"):
            chosen, _ = choose_precision(None, catalog.llm(llm), device)
            assert chosen.compute in device.flops


def test_a_word_stands_for_all_three():
    assert point(precision="fp8", calls=4).precision.model_dump() == {
        "weights": "fp8",
        "compute": "fp8",
        "kv": "fp8",
    }


def test_assumed_facts_are_those_that_count():
    dense = {fact.id for fact in point(calls=4).assumed}
    assert not any("expert" in name or name.startswith(("sites.", "racks.")) for name in dense)
    moe = {fact.id for fact in point(llm="gpt_oss_20b", device="b200_sxm", calls=4).assumed}
    assert "efficiency.generic.neutral.expert_compute_fp4" in moe


# What is refused.


def refused(kind, **changes):
    with pytest.raises(kind) as told:
        point(**changes)
    return str(told.value)


def test_both_unknown_names_are_told_with_what_was_meant():
    told = refused(SpecError, llm="lama_3_1_8b", device="h100sxmm")
    assert 'did you mean "llama_3_1_8b"' in told
    assert 'did you mean "h100_sxm"' in told


def test_weights_that_do_not_fit_are_refused_with_the_arithmetic():
    told = refused(CapacityError, llm="llama_3_1_405b", tp=2)
    assert "GB of weights" in told
    assert "90% of 85.5 GB" in told


def test_a_call_that_no_empty_replica_holds_is_refused():
    told = refused(
        CapacityError,
        **KV_BOUND
        | {"isl": 120_000, "tp": 2, "concurrency": 1}
        | {"overrides": ["serving.kv.blocks=100"]},
    )
    assert "121,023 tokens = 7,564 KV blocks" in told
    assert "at most 100 blocks" in told


def test_a_context_longer_than_the_llm_takes_is_refused():
    told = refused(CapacityError, llm="llama_3_8b", isl=8000, osl=200)
    assert "(8,000 + 200) = 8,200 tokens" in told
    assert "8,192" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"precision": "q5"}, "--precision"),
        ({"precision": "weights=fp9"}, "fp9"),
        ({"precision": "wieghts=fp8"}, "weights"),
        ({"overrides": ["serving.tokens=3"]}, "serving"),
        ({"overrides": ["serving.token_budget"]}, "key=value"),
        ({"overrides": ["streams.other={llm: llm, trace: x.jsonl}"]}, "use `run`"),
        ({"concurrency": 0}, "concurrency"),
        ({"isl": 0}, "prompt_tokens"),
        ({"tp": 4, "ep": 3}, "divisor of tp"),
        ({"calls": 0}, "from 1 to 200,000"),
        ({"concurrency": 20_001}, "from 1 to 20,000"),
        ({"spread": 1.5}, "spread"),
    ],
)
def test_slips_are_told(changes, said):
    assert said in refused(SpecError, **changes)


def test_experts_of_a_dense_llm_are_refused():
    assert "without experts" in refused(CapacityError, tp=2, ep=2)


# What a point looks like as data.


def test_json_holds_everything_but_the_scenario():
    import json

    found = point()
    told = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert set(told) == set(found._fields) - {"scenario"} | {"assumed_count"}
    assert told["bound"]["by"] == found.bound.word
    assert told["assumed_count"] == len(told["assumed"]) > 0
    assert set(told["assumed"][0]) == {"id", "value", "low", "high", "unit", "kind"}


def test_it_is_public():
    assert fs.predict is predict


# Sums over steps, from rows by hand.


def steps(**changes):
    """One run of 3 steps of 2 decodes that hold 10 tokens each: 22, 24, 26 tokens read."""
    row = {
        "started_s": 1.0, "finished_s": 4.0, "steps": 3, "decodes": 2, "prompts": 0,
        "prompt_tokens": 0, "emitted_tokens": 6, "accepted_tokens": 0, "context_tokens": 72,
        "window_tokens": 0, "pair_tokens": 0, "prior_tokens": 0, "active_j": 30.0,
    } | changes  # fmt: skip
    return {name: np.array([value]) for name, value in row.items()}


def serving(compute_s, memory_s, link_s):
    def activity(runs):
        return Activity(
            *(np.full(len(runs.steps), x) for x in (0, 0, 0, compute_s, memory_s, link_s, 0))
        )

    return SimpleNamespace(law=SimpleNamespace(activity=activity))


def test_usage_of_a_whole_run():
    used = usage(steps(), serving(0.3, 1.5, 0.6), Window(0.0, 10.0))
    assert (used.batch_mean, used.batch_max) == (2, 2)
    assert (used.kv_tokens_mean, used.kv_tokens_max) == (24, 26)
    assert used.bound == pytest.approx((0.0, 0.5, 0.2, 0.3))
    assert used.bound.word == "memory"
    assert used.active_j == 30


def test_usage_counts_the_share_inside():
    used = usage(steps(), serving(2.4, 1.5, 0.0), Window(2.0, 3.0))
    assert used.active_j == pytest.approx(10)
    assert used.bound == pytest.approx((0.8, 0.0, 0.0, 0.2))


def test_usage_without_steps_is_an_error():
    with pytest.raises(ValueError, match="no step"):
        usage(steps(), serving(0, 0, 0), Window(5.0, 6.0))


def test_a_pipeline_over_two_servers_has_twice_the_throughput_of_one_when_it_is_full():
    """Equal micro-batches of 2 x 8 calls: each stage does half the LLM's work for them."""
    shape = {"llm": "llama_3_1_405b", "device": "h200_sxm", "precision": "fp8", "tp": 8}
    one = predict(**shape, isl=16, osl=400, concurrency=8, calls=40)
    two = predict(**shape, pp=2, isl=16, osl=400, concurrency=16, calls=80)
    assert (two.devices, two.racks, two.pp) == (16, 2, 2)
    ratio = two.output_tokens_per_s / one.output_tokens_per_s
    assert 1.7 < ratio < 2.05
    assert "pp 2 crosses the network" in " ".join(two.notes)
    assert 0 < two.kv.share_mean <= two.kv.share_max < 0.1


def test_ranks_hold_more_kv_than_tensor_parallel_devices():
    """MLA keeps its latent on every device of TP; on ranks it is kept once."""
    shape = {"llm": "deepseek_v3", "device": "h200_sxm", "isl": 500, "osl": 50}
    wide = predict(**shape, tp=8, ep=8, concurrency=64, calls=64)
    ranks = predict(**shape, dp=8, ep=8, concurrency=64, calls=64)
    assert ranks.devices == wide.devices == 8
    assert ranks.kv.blocks > 4 * wide.kv.blocks
    assert ranks.kv.sequences_that_fit % 8 == 0


def test_lpus_rest_on_the_dram_behind_them_only_where_kv_is_in_it():
    def assumed(*overrides):
        point = predict(
            "llama_3_1_8b", "groq3_lpu", isl=64, osl=8, concurrency=1, tp=8, calls=1,
            overrides=("deployments.serve.sram.kv=dram", *overrides)
            if overrides
            else ("deployments.serve.sram.kv_tokens=4096",),
        )  # fmt: skip
        return {fact.id.rpartition(".")[2] for fact in point.assumed}

    assert "one_hop_chips" in assumed()
    assert "bandwidth_per_8lpu_tray" not in assumed()
    assert "bandwidth_per_8lpu_tray" in assumed("serving.max_sequences=2")
