"""Options of pools, the scenario that they make, and points against arithmetic by hand."""

import json
import re

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError
from factorysim.run.prepare import prepare
from factorysim.spec.layout import ParallelSpec
from factorysim.study.operating_point import Ask, set_up
from factorysim.study.pools import PoolAsk, Wanted, read_pools
from factorysim.study.predict import as_json, predict
from factorysim.study.standing import stand, stand_chips

SMALL = {"llm": "llama_3_1_8b", "device": "h100_sxm", "isl": 1000, "osl": 100, "concurrency": 1}
KV_TOKEN_BYTES = 2 * 32 * 8 * 128 * 2
"""Of Llama 3.1 8B in BF16: keys and values of 32 layers, 8 heads of 128."""
ONE = {"tp": 1, "ep": 1, "pp": 1, "dp": 1}


def point(**changes):
    return predict(**SMALL | {"calls": 40} | changes)


def pools(prefill="2xtp4", decode="tp8", device="h200_sxm", **changes):
    return read_pools(Wanted(prefill, decode, **changes), device, ONE)


def setting(*, wanted, overrides=(), llm="llama_3_3_70b", concurrency=8, **changes):
    ask = Ask(llm, "h200_sxm", 1, 1, 2000, 200, concurrency, 0.0, None, wanted=wanted)
    return set_up(ask._replace(**changes), overrides, load_catalog(), None)


# Reading.


@pytest.mark.parametrize(
    ("text", "replicas", "parallel", "device"),
    [
        ("tp4", 1, {"tp": 4, "ep": 1}, "h200_sxm"),
        ("3xtp4", 3, {"tp": 4, "ep": 1}, "h200_sxm"),
        ("12xtp8,ep4@b200_sxm", 12, {"tp": 8, "ep": 4}, "b200_sxm"),
        ("1xep2, tp=4", 1, {"tp": 4, "ep": 2}, "h200_sxm"),
    ],
)
def test_a_pool_is_replicas_of_a_layout_on_a_device(text, replicas, parallel, device):
    option = "--prefill-pool" if "@" in text else "--device"
    read = PoolAsk("prefill", "prefill", option, device, replicas, parallel)
    assert pools(prefill=text).pools[0] == read


@pytest.mark.parametrize(
    "text", ["", "@", "x", "0xtp4", "3x", "3xtp", "tp4,tp2", "tp-4", "-1xtp4", "tp4@", "tp4.5"]
)
def test_other_texts_are_no_pools(text):
    with pytest.raises(SpecError, match=re.escape("--prefill-pool: found")) as told:
        pools(prefill=text)
    assert "3xtp4,ep2" in str(told.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decode": None}, "--decode-pool: found nothing, expected replicas too"),
        ({"prefill": None}, "--prefill-pool: found nothing, expected replicas too"),
        ({"prefill": "tp4,ep3"}, "--prefill-pool: ep: found 3, expected a divisor of tp"),
        ({"decode": "tp4,pp2"}, "--decode-pool: pp: found 2, expected tp and ep"),
        ({"decode": "tp4,qq2"}, "sizes are tp and ep"),
        ({"decode": "tp0"}, "--decode-pool: tp: found 0"),
        ({"split": "afd"}, "--split: found 'afd', expected a kind"),
        ({"split": "moe=tp8@groq3_lpu"}, "--split: found 'moe', expected one of afd, draft"),
        ({"split": "afd=tp8"}, "name the LPUs, like @groq3_lpu"),
        ({"split": "afd=2xtp8@groq3_lpu"}, "as many of the devices as what is on them needs"),
        ({"split": "afd=tp8@groq3_lpu", "decode": "tp4,ep4"}, "--decode-pool: found ep4"),
    ],
)
def test_slips_are_told_by_option(changes, said):
    with pytest.raises(SpecError) as told:
        pools(**changes)
    assert said in str(told.value)


def test_all_slips_are_told_at_once():
    with pytest.raises(SpecError) as told:
        read_pools(Wanted("tp", None, "x"), "h200_sxm", ONE | {"tp": 4})
    options = [fault.where for fault in told.value.faults]
    assert options == ["--decode-pool", "--tp", "--prefill-pool", "--split"]


def test_what_says_how_pools_work_together_needs_pools():
    with pytest.raises(SpecError) as told:
        read_pools(Wanted(first_token_from="decode", overlap="none"), "h200_sxm", ONE)
    assert [fault.where for fault in told.value.faults] == ["--first-token-from", "--overlap"]


# The scenario.


def test_both_roles_have_racks_of_their_own_and_a_network_between():
    made = setting(wanted=Wanted("3xtp4", "1xtp8", overlap="layers", first_token_from="decode"))
    scenario = made.scenario
    racks = {name: (one.rack, one.count) for name, one in scenario.topology.racks.items()}
    assert racks == {"prefill": ("hgx_h200", 2), "decode": ("hgx_h200", 1)}
    assert scenario.topology.fabric.kind == "leaf_spine"
    prefill, decode = (scenario.deployments[role] for role in ("prefill", "decode"))
    assert (prefill.role, prefill.replicas, prefill.parallel.tp) == ("prefill", 3, 4)
    assert (decode.role, decode.replicas, decode.parallel.tp) == ("decode", 1, 8)
    told = scenario.serving.disaggregation
    assert (told.overlap, told.first_token_from) == ("layers", "decode")
    assert made.crosses


@pytest.mark.parametrize(
    ("device", "tp", "replicas", "rack", "count"),
    [
        ("h200_sxm", 4, 3, "hgx_h200", 2),
        ("h200_sxm", 8, 3, "hgx_h200", 3),
        ("h200_sxm", 1, 1, "h200_sxm", 1),
        ("h200_sxm", 1, 9, "hgx_h200", 2),
        ("h200_sxm", 3, 4, "hgx_h200", 2),
        ("h200_sxm", 16, 2, "hgx_h200", 4),
        ("rubin_gpu", 8, 2, "hgx_rubin_nvl8", 2),
        ("rubin_gpu", 8, 9, "vera_rubin_nvl72", 1),
        ("rubin_gpu", 8, 10, "hgx_rubin_nvl8", 10),
        ("l40s", 1, 3, "l40s", 3),
    ],
)
def test_racks_are_those_that_leave_the_fewest_devices_over(device, tp, replicas, rack, count):
    catalog = load_catalog()
    stands = stand(catalog, catalog.device(device), ParallelSpec(tp=tp), replicas)
    assert (stands.rack, stands.number) == (rack, count)


@pytest.mark.parametrize(
    ("chips", "replicas", "count"), [(8, 1, 1), (256, 1, 1), (257, 1, 2), (128, 3, 2), (200, 2, 2)]
)
def test_lpus_stand_in_as_many_racks_as_it_takes(chips, replicas, count):
    catalog = load_catalog()
    stands = stand_chips(catalog, catalog.device("groq3_lpu"), chips, replicas)
    assert (stands.rack, stands.number) == ("groq3_lpx", count)


def test_a_pool_of_lpus_holds_the_kv_of_all_calls():
    """8 calls of 2,200 tokens, 138 blocks of 16 each, on two replicas."""
    made = setting(wanted=Wanted("1xtp4", "2xtp8@groq3_lpu"))
    scenario = made.scenario
    assert scenario.deployments["decode"].sram.kv_tokens == 4 * 138 * 16
    assert scenario.llms["llm"].precision.model_dump() == dict.fromkeys(
        ("weights", "compute", "kv"), "fp8"
    )
    plan = prepare(scenario).plan
    decode = plan.serve[1]
    assert decode.kv_blocks >= 4 * 138
    chips = len(decode.replicas) * decode.devices_per_replica
    assert made.standings["decode"].number == -(-chips // 256)


def test_the_ffn_of_a_split_has_as_many_racks_as_it_takes():
    """DeepSeek V3: 0.658 TB of FFN and experts, 115.2 GB usable a rack."""
    made = setting(llm="deepseek_v3", tp=8, wanted=Wanted(split="afd=tp64,ep64@groq3_lpu"))
    assert made.standings["ffn"] == ("groq3_lpx", 6, ())
    assert made.scenario.deployments["serve"].split.pool == "ffn"
    assert len(prepare(made.scenario).plan.serve[0].replicas[0].partners) > 5 * 256


def test_racks_follow_what_is_set():
    more = ("deployments.prefill.replicas=5", "deployments.decode.parallel.tp=4")
    made = setting(wanted=Wanted("1xtp8", "2xtp8"), overrides=more)
    assert made.standings["prefill"].number == 5
    assert made.standings["decode"].number == 1
    low = ("serving.kv.memory_fraction=0.45",)
    split = {"llm": "deepseek_v3", "tp": 8, "wanted": Wanted(split="afd=tp64,ep64@groq3_lpu")}
    assert setting(**split, overrides=low).standings["ffn"].number == 12


def test_drafts_are_the_decode_pools():
    drafts = {"draft": "ngram", "draft_tokens": 3, "acceptance": 0.6}
    made = setting(wanted=Wanted("1xtp4", "1xtp4"), **drafts).scenario.deployments
    assert made["prefill"].speculation is None
    assert made["decode"].speculation.draft_tokens == 3


DRAFTS = {"draft": "llama_3_1_8b", "draft_tokens": 4, "acceptance": 0.7}


def test_lpus_that_draft_hold_the_kv_of_all_calls():
    """8 calls of 2,200 tokens and 4 drafts, 138 blocks of 16 each; the LLM keeps BF16."""
    made = setting(wanted=Wanted(split="draft=tp8@groq3_lpu"), tp=8, **DRAFTS)
    serve = made.scenario.deployments["serve"]
    assert serve.split.sram.kv_tokens == 8 * 138 * 16
    assert serve.speculation.draft.precision.compute == "fp8"
    assert made.scenario.llms["llm"].precision.compute == "bf16"
    plan = prepare(made.scenario).plan
    assert plan.serve[0].kv_blocks >= 8 * 138
    assert made.standings["draft"] == ("groq3_lpx", 1, ())


def test_drafts_on_lpus_beside_a_decode_pool():
    shape = {"llm": "llama_3_1_70b", "isl": 200, "osl": 50, "calls": 8, "concurrency": 2}
    apart = {"prefill_pool": "tp4", "decode_pool": "2xtp4"}
    same = point(**shape, **apart, **DRAFTS)
    found = point(**shape, **apart, **DRAFTS, split="draft=tp8@groq3_lpu")
    assert [pool.role for pool in found.pools] == ["prefill", "decode", "draft"]
    assert found.pools[2].devices == 2 * 8 * found.pools[2].stages
    assert found.pools[2].kv is None
    assert found.tpot_s.mean < 0.6 * same.tpot_s.mean
    felt = {fact.id for fact in found.assumed}
    assert {"racks.groq3_lpx.gpu_link_per_tray", "accelerators.groq3_lpu.tdp"} <= felt


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "--draft: found nothing, expected an LLM of the catalog"),
        (DRAFTS | {"draft": "ngram"}, "--draft: found ngram, 4 drafts, expected an LLM"),
        (DRAFTS | {"draft_tokens": 0}, "--draft: found llama_3_1_8b, 0 drafts"),
        (DRAFTS | {"split": "afd=tp8@groq3_lpu"}, "--draft: found llama_3_1_8b, expected nothing"),
        (DRAFTS | {"split": "draft=tp8@h200_sxm"}, "--split: found h200_sxm, expected LPUs"),
    ],
)
def test_splits_of_drafts_that_cannot_be_are_refused(changes, said):
    with pytest.raises(SpecError) as told:
        point(**{"split": "draft=tp8@groq3_lpu"} | changes)
    assert said in str(told.value)


# Points, by hand.


@pytest.mark.parametrize("layout", ["tp1", "tp2"])
def test_alone_it_is_the_replica_that_does_both_but_for_the_hand_off(layout):
    """TTFT is that of one replica and two legs of the network; the hand-off is in TPOT."""
    one = point(tp=int(layout[2:]))
    two = point(prefill_pool=layout, decode_pool=layout)
    assert 0 < two.ttft_s.mean - one.ttft_s.mean < 10e-6
    spent = 99 * (two.tpot_s.mean - one.tpot_s.mean)
    assert spent == pytest.approx(two.handoff.time_s.mean, rel=1e-9)
    assert two.handoff.moved_bytes_per_call == 1000 * KV_TOKEN_BYTES
    assert two.devices == 2 * one.devices
    assert two.output_tokens_per_s_per_device == two.output_tokens_per_s / two.devices


def test_the_hand_off_is_bytes_over_the_nic_of_the_catalog():
    """One NIC of 50 GB/s a GPU; what is left over are latencies and protocol."""
    two = point(prefill_pool="tp1", decode_pool="tp1")
    by_hand = 1000 * KV_TOKEN_BYTES / 50e9
    assert two.handoff.time_s.mean == pytest.approx(by_hand, rel=0.01)
    assert two.handoff.time_s.mean > by_hand
    hidden = point(prefill_pool="tp1", decode_pool="tp1", overlap="layers").handoff
    assert hidden.time_s.mean == pytest.approx(by_hand / 32, rel=0.05)
    assert hidden.moved_bytes_per_call == 1000 * KV_TOKEN_BYTES


def test_a_first_token_from_decode_comes_a_hand_off_and_a_step_later():
    one = point()
    two = point(prefill_pool="tp1", decode_pool="tp1", first_token_from="decode")
    later = two.ttft_s.mean - one.ttft_s.mean
    assert later == pytest.approx(two.handoff.time_s.mean + one.tpot_s.mean, rel=2e-3)
    assert two.tpot_s.mean == pytest.approx(one.tpot_s.mean, rel=1e-9)


def test_what_pools_do_adds_up():
    two = point(prefill_pool="3xtp1", decode_pool="1xtp2", concurrency=24, calls=96)
    prefill, decode = two.pools
    assert (prefill.name, decode.name) == ("prefill", "decode")
    assert (prefill.devices, decode.devices, two.devices) == (3, 2, 5)
    assert (two.device, two.tp, two.kv, two.bound) == ("h100_sxm", 2, decode.kv, decode.bound)
    watts = sum(pool.devices * pool.watts_per_device for pool in two.pools)
    assert two.j_per_output_token == pytest.approx(watts / two.output_tokens_per_s, rel=1e-9)
    assert two.handoff.calls_per_s == pytest.approx(two.calls_per_s, rel=0.05)
    moved = two.handoff.calls_per_s * two.handoff.moved_bytes_per_call
    assert two.handoff.moved_bytes_per_s == pytest.approx(moved, rel=1e-9)
    assert two.calls_per_s * two.latency_s.mean == pytest.approx(24, rel=5e-3)
    for pool in two.pools:
        assert 0 < pool.utilization <= 1
        assert sum(pool.bound) == pytest.approx(1, abs=1e-9)
        assert 0 <= pool.kv.share_mean <= pool.kv.share_max <= 1
    assert prefill.bound.word == "compute"
    assert decode.bound.word == "memory"


def test_the_pool_that_binds_is_the_one_that_calls_pile_up_at():
    """Long prompts on one of four devices; then long answers on one of four."""
    shape = {"concurrency": 24, "calls": 48, "spread": 0.1, "osl": 20}
    prompts = point(**shape | {"isl": 8000}, prefill_pool="1xtp1", decode_pool="3xtp1")
    answers = point(**shape | {"osl": 400}, prefill_pool="3xtp1", decode_pool="1xtp1")
    assert prompts.bottleneck.startswith("prefill: ")
    assert answers.bottleneck.startswith("decode: ")
    prefill, decode = prompts.pools
    assert prefill.saturation > 0.95 > 0.5 > decode.saturation


def test_a_replica_holds_its_own_part_of_the_kv():
    """Two replicas of half the calls each hold the share that one of them alone does."""
    one = point(concurrency=8, spread=0.1)
    two = point(concurrency=16, spread=0.1, overrides=["deployments.serve.replicas=2"])
    assert two.devices == 2 * one.devices
    assert two.kv.share_mean == pytest.approx(one.kv.share_mean, rel=0.1)


def test_prompts_that_stay_leave_the_prefill_pool_idle():
    local = ["serving.disaggregation.local_prefill_below=100000"]
    prefill, decode = point(prefill_pool="tp1", decode_pool="tp1", overrides=local).pools
    assert (prefill.utilization, prefill.bound, prefill.queue_s) == (0, None, None)
    idle_w = load_catalog().device("h100_sxm").idle_w
    assert prefill.watts_per_device == idle_w < decode.watts_per_device


def test_answers_of_one_token_leave_the_decode_pool_idle():
    found = point(osl=1, prefill_pool="tp1", decode_pool="tp1")
    assert (found.bound, found.batch_max, found.tpot_s.mean) == (None, 0, None)
    assert found.handoff.time_s.mean is None
    assert found.handoff.moved_bytes_per_call == found.handoff.calls_per_s == 0
    assert found.ttft_s.mean == pytest.approx(point(osl=1).ttft_s.mean, abs=10e-6)


@pytest.mark.parametrize(
    "more",
    [
        {"overlap": "layers", "first_token_from": "decode", "blocks": 300},
        {"split": "afd=tp8@groq3_lpu"},
        {"split": "draft=tp8@groq3_lpu", **DRAFTS},
    ],
)
def test_walking_steps_gives_the_same_point(more):
    shape = {"isl": 300, "osl": 60, "concurrency": 24, "spread": 0.4, "calls": 48}
    shape |= {"prefill_pool": "2xtp1", "decode_pool": "1xtp2"} | more
    blocks = shape.pop("blocks", None)
    tight = [] if blocks is None else [f"serving.kv.blocks={blocks}"]
    runs, steps = (
        point(**shape, overrides=[*tight, f"run.clock={clock}"])
        for clock in ("run_length", "stepwise")
    )
    assert (runs.preemptions_per_call > 0) == bool(tight)
    for name in ("ttft_s", "tpot_s", "latency_s", "calls_per_s", "handoff"):
        assert getattr(runs, name) == getattr(steps, name), name


def test_gpus_compute_prompts_and_lpus_make_tokens():
    found = predict(
        "gpt_oss_120b", "h200_sxm", isl=1000, osl=100, concurrency=4, calls=8,
        prefill_pool="1xtp2", decode_pool="tp8@groq3_lpu",
    )  # fmt: skip
    prefill, decode = found.pools
    assert (prefill.device, decode.device) == ("h200_sxm", "groq3_lpu")
    assert decode.devices == 8 * decode.stages > 256
    assert decode.racks == 2
    assert found.model_error.reason.startswith("groq3_lpu: no measurement of serving on LPUs")
    assert found.model_error.bands == {}
    assert "prompts and outputs on pools of their own" in found.model_error.never_compared
    felt = {fact.id for fact in found.assumed}
    assert "racks.groq3_lpx.gpu_link_per_tray" in felt


def test_a_split_has_a_third_pool_of_which_nothing_waits():
    found = predict(
        "gpt_oss_120b", "h200_sxm", isl=1000, osl=100, concurrency=4, calls=8,
        prefill_pool="1xtp2", decode_pool="1xtp4", split="afd=tp64,ep64@groq3_lpu",
    )  # fmt: skip
    prefill, decode, ffn = found.pools
    assert (ffn.role, ffn.device, ffn.tp, ffn.ep) == ("ffn", "groq3_lpu", 64, 64)
    assert ffn.devices == 64 * ffn.stages
    assert (ffn.kv, ffn.queue_s) == (None, None)
    assert ffn.utilization == decode.utilization
    assert found.devices == prefill.devices + decode.devices + ffn.devices
    assert any("nobody has published the link" in note for note in found.notes)


def test_json_has_the_same_keys_for_every_pool():
    alone, apart = (
        json.loads(json.dumps(as_json(point(calls=4, **more)), allow_nan=False))
        for more in ({}, {"prefill_pool": "tp1", "decode_pool": "tp1"})
    )
    assert set(alone) == set(apart)
    assert alone["handoff"] is None
    assert [one["role"] for one in alone["pools"]] == ["serve"]
    assert [one["role"] for one in apart["pools"]] == ["prefill", "decode"]
    assert len({frozenset(one) for one in alone["pools"] + apart["pools"]}) == 1
    assert apart["pools"][1]["bound"] == apart["bound"]
    assert apart["handoff"]["time_s"]["mean"] > 0


# What is refused.


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (SpecError, {"prefill_pool": "tp1@nosuch"}, "--prefill-pool: devices: found"),
        (SpecError, {"decode_pool": "tp8@groq3_lpu", "precision": "bf16"}, "--precision: found"),
        (
            SpecError,
            {"prefill_pool": "tp1@a100_sxm_80gb", "decode_pool": "tp8@groq3_lpu"},
            "--prefill-pool: found a100_sxm_80gb, which computes in bf16, int8",
        ),
        (SpecError, {"split": "afd=tp8@h200_sxm"}, "--split: found h200_sxm, expected LPUs"),
        (
            SpecError,
            {"split": "afd=tp8@groq3_lpu", "decode_pool": "tp8@groq3_lpu"},
            "--decode-pool: found groq3_lpu",
        ),
        (CapacityError, {"llm": "llama_3_1_405b"}, "GB of weights"),
        (
            CapacityError,
            {"overrides": ["serving.kv.blocks=64"]},
            "1 x h100_sxm (decode): isl + osl - 1: found 1,099 tokens",
        ),
        (SpecError, {"overrides": ["deployments.decode=null"]}, "`decode` among them"),
    ],
)
def test_pools_that_cannot_be_are_refused(kind, changes, said):
    with pytest.raises(kind) as told:
        point(**{"prefill_pool": "tp1", "decode_pool": "tp1"} | changes)
    assert said in str(told.value)


def test_no_precision_goes_with_devices_that_share_none(monkeypatch):
    """A device of INT8 alone beside one of FP8 alone: KV could not move as it is."""
    catalog = load_catalog()
    found = catalog.device

    def device(name, *more):
        from dataclasses import replace

        one = found(name, *more)
        flops = {"h100_sxm": {"int8": 1e15}, "h200_sxm": {"fp8": 1e15}}[name]
        return replace(one, flops=flops)

    monkeypatch.setattr(catalog, "device", device)
    ask = Ask("llama_3_1_8b", "h100_sxm", 1, 1, 100, 10, 1, 0.0, None)
    ask = ask._replace(wanted=Wanted("tp1", "tp1@h200_sxm"))
    with pytest.raises(SpecError, match="a precision that all pools compute in"):
        set_up(ask, (), catalog, None)
