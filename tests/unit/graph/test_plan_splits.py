"""Placing LLMs on LPUs, and over two pools: how many chips, and what is refused."""

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory
from factorysim.physics.afd import AfdLaw, ffn_bytes
from factorysim.physics.sram import SramLaw
from factorysim.spec.llm import PrecisionSpec

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
AFD = {"kind": "afd", "pool": "lpx"}
ALONE = {"llm": "chat", "pool": "lpx", "parallel": {"tp": 8}}
SPLIT = {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}, "split": AFD}


@pytest.fixture(scope="module")
def planned(catalog, topology, scenario):
    """Plan deployments on an NVL72 beside some LPX racks."""
    specs = {
        racks: topology(
            {
                "nvl72": {"rack": "vera_rubin_nvl72"},
                "lpx": {"rack": "groq3_lpx", "count": racks},
            },
            kind="leaf_spine",
            leaf="spectrum6",
            spine="spectrum6",
        )
        for racks in (1, 3)
    }

    def plan(deployments, racks=1, **fields):
        fields = {"llm": "gpt_oss_120b", "precision": FP8} | fields
        return plan_factory(scenario(deployments, **fields), specs[racks], catalog)

    return plan


def refusal(planned, deployments, **fields):
    with pytest.raises((CapacityError, SpecError)) as caught:
        planned(deployments, **fields)
    return str(caught.value)


def test_an_llm_alone_takes_as_many_chips_as_its_bytes_want(planned):
    """Gemma 4 31B: 32.1 GB, 16,384 tokens of KV 0.7 GB, 4 windows 1.7 GB; 3.6 GB a stage."""
    plan = planned(
        {"a": ALONE | {"replicas": 2, "sram": {"kv_tokens": 16_384}}},
        llm="gemma_4_31b",
        serving={"max_sequences": 4},
    )
    (serve,) = plan.serve
    assert isinstance(serve.law, SramLaw)
    assert serve.law.stages == 10
    assert serve.devices_per_replica == 80
    assert [len(replica.devices) for replica in serve.replicas] == [80, 80]
    assert serve.law.window is None
    assert 16_384 <= serve.kv_blocks * 16 < 130_000
    assert not set(serve.replicas[0].devices) & set(serve.replicas[1].devices)


def test_lpus_have_no_engines_host_work(planned):
    sram = {"sram": {"kv_tokens": 16_384}}
    laws = [
        planned({"a": ALONE | sram}, llm="llama_3_1_8b", serving={"engine": engine}).serve[0].law
        for engine in ("generic", "vllm")
    ]
    assert laws[0] == laws[1]
    assert laws[0].engine.step_s == pytest.approx(1e-5)


def test_what_an_llm_alone_cannot_hold_is_refused_with_the_racks(planned):
    found = refusal(planned, {"a": ALONE}, llm="mistral_large_3", racks=3)
    assert "deployments.a.sram.stages" in found
    assert "675.4 GB of weights" in found
    assert "6.5 racks" in found
    assert "at most 3 racks: pool lpx has 768 of them, 128 GB a rack" in found


def test_other_formats_are_refused(planned):
    found = refusal(planned, {"a": ALONE}, precision={"weights": "mxfp4", "compute": "fp8"})
    assert "precision.weights: found gpt_oss_120b on groq3_lpu: mxfp4, expected one of fp8" in found
    found = refusal(planned, {"a": SPLIT}, precision=None)
    assert "precision.compute" in found


def test_a_split_takes_devices_of_both_pools(planned):
    """115 GB of experts in FP8 want 256 chips of 450 MB."""
    plan = planned({"a": SPLIT | {"replicas": 1}})
    (serve,) = plan.serve
    assert isinstance(serve.law, AfdLaw)
    assert (serve.devices_per_replica, serve.partner.devices_per_replica) == (8, 256)
    assert (serve.pool, serve.partner.pool) == ("nvl72", "lpx")
    (replica,) = serve.replicas
    assert len(set(replica.partners)) == 256
    assert {plan.racks[plan.rack_of[node]].pool for node in replica.partners} == {"lpx"}
    assert len(replica.ways) == 2 * 32  # a pair a tray, there and back
    assert {node for way in replica.ways for node in way} <= {*replica.devices, *replica.partners}
    assert serve.law.partner.groups == 32
    assert "racks.groq3_lpx.gpu_link_latency" in plan.facts
    assert "racks.groq3_lpx.gpu_link_per_tray" in plan.facts


def test_partners_are_deployed_and_do_not_idle(planned):
    idle = planned({"a": {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}}})
    split = planned({"a": SPLIT | {"replicas": 1}})
    rest = [next(r.rest_w for r in plan.racks if r.pool == "lpx") for plan in (idle, split)]
    assert rest[0] - rest[1] == pytest.approx(256 * split.serve[0].partner.power.idle_w)


def test_as_many_replicas_as_both_pools_have_room_for(planned):
    assert len(planned({"a": SPLIT}, racks=3).serve[0].replicas) == 3
    found = refusal(planned, {"a": SPLIT | {"replicas": 4}}, racks=3)
    assert "deployments.a.split.pool: found 4 replicas x 256 devices = 1,024" in found
    assert "at most 3: pool lpx has 768 devices left" in found


def test_the_experts_alone_may_be_too_many(planned):
    found = refusal(planned, {"a": SPLIT}, llm="mistral_large_3", racks=3)
    assert "of FFN and experts" in found
    assert "racks" in found
    assert "at most 3 racks" in found


def test_the_rest_of_the_llm_leaves_room_for_kv(planned, catalog):
    """A block of 16 tokens is 18 layers x 2 x 64 B on each of eight GPUs."""
    llm, form = catalog.llm("gpt_oss_120b"), PrecisionSpec(**FP8)
    here = {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}, "replicas": 1}
    whole, split = (planned({"a": spec}).serve[0] for spec in (here, here | {"split": AFD}))
    moved = ffn_bytes(llm, form) / 8 / (18 * 2 * 64 * 16)
    assert split.kv_blocks - whole.kv_blocks == pytest.approx(moved, abs=1)


def test_the_link_is_assumed_and_said_so_unless_given(planned):
    plan = planned({"a": SPLIT | {"replicas": 1}})
    assert any("nobody has published the link" in note for note in plan.notes)
    assert plan.serve[0].law.exchange.bandwidth == pytest.approx(1e11 * 0.7)
    assert plan.serve[0].law.exchange.latency_s > 5e-6
    given = AFD | {"link_bandwidth": "1 TB/s", "link_latency": "2 us"}
    plan = planned({"a": SPLIT | {"replicas": 1, "split": given}})
    assert plan.notes == ()
    assert plan.serve[0].law.exchange.bandwidth == pytest.approx(0.7e12)
    assert plan.serve[0].law.exchange.latency_s == 2e-6
    assert plan.serve[0].replicas[0].ways == ()


def test_wider_groups_have_more_trays_of_links(planned):
    wide = AFD | {"parallel": {"tp": 32}}
    plan = planned({"a": SPLIT | {"replicas": 1, "split": wide}})
    assert plan.serve[0].law.exchange.bandwidth == pytest.approx(4e11 * 0.7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": AFD | {"pool": "lxp"}}, 'did you mean "lpx"'),
        ({"split": AFD | {"pool": "nvl72"}}, "another pool than the deployment's own"),
        ({"split": AFD | {"pool": "nvl72.cpu"}}, "a pool of GPUs or LPUs"),
        ({"split": AFD | {"parallel": {"tp": 3, "ep": 3}}}, "deployments.a.split.parallel.ep: "),
        ({"parallel": {"tp": 80}}, "scale-up domain"),
        ({"split": None, "sram": {"stages": 3}}, "whose memory is DRAM"),
    ],
)
def test_what_makes_no_split_is_refused(planned, change, told):
    deployment = SPLIT | change
    if deployment["split"] is None:
        del deployment["split"]
    assert told in refusal(planned, {"a": deployment})


def test_groups_that_do_not_fill_racks_are_refused(planned):
    wide = {"parallel": {"tp": 24}, "sram": {"kv_tokens": 16_384}}
    found = refusal(planned, {"a": ALONE | wide}, llm="gpt_oss_120b", racks=3)
    assert "a divisor of 256, those of a rack" in found


@pytest.mark.parametrize(
    ("deployment", "told"),
    [
        ({"role": "tools", "pool": "nvl72.cpu", "split": AFD}, "nothing, since the role is tools"),
        (SPLIT | {"sram": {}}, "nothing, since the pool holds attention only"),
        (SPLIT | {"parallel": {"tp": 8, "ep": 8}}, "1, since there is a split"),
        (SPLIT | {"split": AFD | {"parallel": {"tp": 8, "dp": 2}}}, "bytes decide how many groups"),
        (SPLIT | {"law": {"kind": "fixed", "decode": "1 ms"}}, "roofline, since there is a split"),
        (ALONE | {"sram": {"stages": 2, "kv_tokens": 5}}, "since the stages are given"),
        (ALONE | {"sram": {"kv": "dram", "kv_tokens": 5}}, "since KV is in DRAM"),
        (ALONE | {"expert_skew": -1}, "greater than or equal to 0"),
        (
            ALONE | {"expert_skew": 0.5, "law": {"kind": "fixed", "decode": "1 ms"}},
            "only the roofline law",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(scenario, deployment, told):
    with pytest.raises(ValueError, match=told):
        scenario({"a": deployment})


def test_skew_and_fewer_racks_reach_the_law(planned):
    skewed = SPLIT | {"replicas": 1, "expert_skew": 0.7}
    skewed["split"] = AFD | {"parallel": {"tp": 8, "ep": 8}}
    law = planned({"a": skewed}).serve[0].law
    assert (law.ffn.experts.skew, law.ffn.experts.groups) == (0.7, 8)
    plain = planned(
        {"a": {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8, "ep": 8}, "expert_skew": 0.7}}
    )
    assert plain.serve[0].law.experts.skew == 0.7


def test_what_is_handed_to_lpus_is_each_ones_stage(planned):
    """Decode in ten stages of eight: of ten full layers a KV head each, and a tenth of them."""
    roles = {
        "here": {"llm": "chat", "pool": "nvl72", "role": "prefill", "replicas": 1},
        "there": ALONE | {"role": "decode", "replicas": 1, "sram": {"kv_tokens": 16_384}},
    }
    plan = planned(roles, llm="gemma_4_31b", serving={"max_sequences": 4})
    decode = next(serve for serve in plan.serve if serve.role == "decode")
    assert decode.kv_state.token_bytes == 10 * 2 * 512 / 10
    assert decode.devices_per_replica == 80
    assert [n for _, n in decode.replicas[0].receivers] == [8] * 10
    assert {node for node, _ in decode.replicas[0].receivers} <= {*decode.replicas[0].devices}
    split = {"split": AFD, "role": "decode", "replicas": 1}
    roles["here"]["parallel"] = {"tp": 8}
    plan = planned({"here": roles["here"], "there": SPLIT | split})
    decode = next(serve for serve in plan.serve if serve.role == "decode")
    assert decode.kv_state.token_bytes == 18 * 2 * 64


def test_skew_without_experts_is_refused(planned):
    found = refusal(
        planned,
        {"a": {"llm": "chat", "pool": "nvl72", "expert_skew": 0.5}},
        llm="llama_3_1_8b",
    )
    assert "deployments.a.expert_skew" in found
    assert "none for an LLM without experts" in found
