"""Drafts on LPUs, verifies on GPUs: how many chips, what they hold, what is refused."""

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory
from factorysim.physics.speculation import SpeculativeLaw
from factorysim.physics.sram import SramLaw

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
SMALL = {"llm": "llama_3_1_8b", "precision": FP8}
DRAFTS = {"method": "draft_model", "draft_tokens": 4, "acceptance": 0.7, "draft": SMALL}
SPLIT = {"kind": "draft", "pool": "lpx", "sram": {"kv_tokens": 200_000}}
BIG = {
    "llm": "chat",
    "pool": "gpu",
    "parallel": {"tp": 8},
    "speculation": DRAFTS,
    "split": SPLIT,
}
WEIGHTS = 32 * 218_103_808 + 2 * 128_256 * 4096 * 2
"""Of llama_3_1_8b: 32 layers of 218,103,808 parameters in FP8; embeddings and LM head in BF16."""
TOKEN = 32 * 2 * 1024
"""KV of a token in FP8: 32 layers, K and V of eight heads of 128."""


@pytest.fixture(scope="module")
def planned(catalog, topology, scenario):
    """Plan deployments on an HGX H200 beside some LPX racks."""
    specs = {
        racks: topology(
            {"gpu": {"rack": "hgx_h200"}, "lpx": {"rack": "groq3_lpx", "count": racks}},
            kind="leaf_spine",
            leaf="spectrum6",
            spine="spectrum6",
        )
        for racks in (1, 4)
    }

    def plan(deployment, racks=1, **fields):
        fields = {"llm": "llama_3_1_70b", "precision": FP8} | fields
        return plan_factory(scenario({"a": deployment}, **fields), specs[racks], catalog)

    return plan


def refusal(planned, deployment, **fields):
    with pytest.raises((CapacityError, SpecError)) as caught:
        planned(deployment, **fields)
    return str(caught.value)


def test_lpus_hold_the_draft_llm_and_its_kv(planned):
    """9.08 GB and 200,000 tokens of 65,536 B are 22.2 GB: 6.2 stages of 8 x 450 MB, so 7."""
    plan = planned(BIG)
    (serve,) = plan.serve
    assert pytest.approx(6.163, abs=1e-3) == (WEIGHTS + 200_000 * TOKEN) / (8 * 450e6)
    assert (serve.pool, serve.partner.pool) == ("gpu", "lpx")
    assert (serve.devices_per_replica, serve.partner.devices_per_replica) == (8, 56)
    (replica,) = serve.replicas
    assert len(set(replica.partners)) == 56
    assert {plan.racks[plan.rack_of[node]].pool for node in replica.partners} == {"lpx"}
    assert replica.ways == ()
    law = serve.law
    assert isinstance(law, SpeculativeLaw)
    assert isinstance(law.draft, SramLaw)
    assert (law.beside, law.draft.stages) == (True, 7)
    assert serve.partner.side == law.partner()
    assert any(".groq3_lpu." in fact for fact in plan.facts)
    assert any(fact.startswith("llms.llama_3_1_8b.") for fact in plan.facts)


def test_blocks_are_held_on_both_sides(planned):
    """7 stages of 8 x 450 MB less the weights are 246,000 tokens; the GPUs have room for more."""
    plan = planned(BIG)
    (serve,) = plan.serve
    assert serve.kv_blocks == (7 * 8 * 450_000_000 - WEIGHTS) // (16 * TOKEN)
    assert any("KV of llama_3_1_8b on 56 groq3_lpu is of 245,952 tokens" in n for n in plan.notes)


def test_the_gpus_hold_what_they_hold_without_drafts(planned):
    """And as much fits on the LPUs, where nothing else is asked of them."""
    kv = {"serving": {"kv": {"blocks": 10_000}}}
    alone = {key: BIG[key] for key in ("llm", "pool", "parallel")}
    here = alone | {"speculation": DRAFTS}
    split = BIG | {"split": {"kind": "draft", "pool": "lpx"}}
    free = planned(split, racks=4).serve[0]
    assert free.kv_blocks == planned(alone).serve[0].kv_blocks
    assert free.kv_blocks > planned(here).serve[0].kv_blocks
    tokens = 16 * free.kv_blocks
    chips = 8 * -(-(WEIGHTS + tokens * TOKEN) // (8 * 450_000_000))
    assert free.partner.devices_per_replica == chips == 904
    given = planned(split, **kv).serve[0]
    assert given.kv_blocks == 10_000
    assert given.partner.devices_per_replica == 8 * 6  # 9.1 GB and 160,000 tokens: 5.4 stages


def test_kv_of_drafts_may_be_in_dram(planned):
    """Weights alone decide then: 9.08 GB are 2.5 stages."""
    (serve,) = planned(BIG | {"split": SPLIT | {"sram": {"kv": "dram"}}}).serve
    assert serve.partner.devices_per_replica == 24
    assert (
        serve.law.draft.stage.full.slope_s
        > 100 * planned(BIG).serve[0].law.draft.stage.full.slope_s
    )


def test_the_link_is_assumed_and_said_so_unless_given(planned):
    plan = planned(BIG)
    assert any("nobody has published the link" in note for note in plan.notes)
    assert "racks.groq3_lpx.gpu_link_latency" in plan.facts
    law = plan.serve[0].law
    assert law.exchange_fs > 2 * 5 * 10**9  # there and back, 5 us and the network's way each
    given = SPLIT | {"link_latency": "8 us", "link_bandwidth": "1 GB/s"}
    plan = planned(BIG | {"split": given})
    assert not any("published" in note for note in plan.notes)
    law = plan.serve[0].law
    assert law.exchange_fs == 16 * 10**9
    assert law.sent.size_bytes == 4 * (4 + 5)
    assert law.sent.seconds == pytest.approx(36 / 0.72e9)  # 72 % of it is reached from an H200


def test_probabilities_go_with_each_draft(planned):
    link = {"link_bandwidth": "100 GB/s", "sends": "probabilities"}
    law = planned(BIG | {"split": SPLIT | link}).serve[0].law
    assert law.sent.size_bytes == 36 + 4 * 4 * 128_256
    assert law.sent.seconds == pytest.approx(law.sent.size_bytes / 72e9)


def test_more_replicas_take_lpus_each(planned):
    pair = BIG | {"parallel": {"tp": 4}}
    (serve,) = planned(pair).serve
    assert [len(replica.partners) for replica in serve.replicas] == [56, 56]
    assert not set(serve.replicas[0].partners) & set(serve.replicas[1].partners)
    single = BIG | {"parallel": {"tp": 1}}
    assert len(planned(single).serve[0].replicas) == 4  # 256 chips are 4 x 56
    found = refusal(planned, single | {"replicas": 5})
    assert "deployments.a.split.pool: found 5 replicas x 56 devices = 280" in found


def test_what_drafts_do_not_fit_is_refused_with_the_racks(planned):
    found = refusal(planned, BIG | {"split": {"kind": "draft", "pool": "lpx"}})
    assert "deployments.a.split.sram: found lpx: 9.081 GB of weights of llama_3_1_8b" in found
    assert "904 groq3_lpu" in found
    assert "3.5 racks, expected at most 1 rack" in found
    short = BIG | {"split": SPLIT | {"sram": {"stages": 2}}}
    found = refusal(planned, short)
    assert "deployments.a.split.sram.stages" in found
    assert "at most 7.2 GB: 16 chips" in found
    found = refusal(
        planned, BIG | {"split": SPLIT | {"sram": {"stages": 3}}},
        serving={"kv": {"blocks": 10_000}},
    )  # fmt: skip
    assert "10000 KV blocks" in found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": SPLIT | {"pool": "lxp"}}, 'did you mean "lpx"'),
        ({"split": SPLIT | {"pool": "gpu"}}, "another pool than the deployment's own"),
        ({"split": SPLIT | {"pool": "gpu.cpu"}}, "a pool of GPUs or LPUs"),
        ({"pool": "lpx", "split": SPLIT | {"pool": "gpu"}}, "a pool of GPUs, which verify"),
        ({"pool": "lpx", "split": SPLIT | {"pool": "gpu"}}, "expected a pool of LPUs"),
        (
            {"speculation": DRAFTS | {"draft": SMALL | {"precision": {}}}},
            "deployments.a.speculation.draft.precision.weights",
        ),
        ({"speculation": DRAFTS | {"draft": SMALL | {"llm": "qwen3_8b"}}}, "a vocabulary of"),
        ({"parallel": {"tp": 4, "pp": 2}}, "or is split"),
        (
            {"split": SPLIT | {"parallel": {"tp": 8, "ep": 4}}},
            "deployments.a.split.parallel.ep: ",
        ),
    ],
)
def test_what_cannot_draft_elsewhere_is_refused(planned, change, told):
    assert told in refusal(planned, BIG | change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"speculation": None}, "a draft LLM, since drafts are split"),
        ({"speculation": DRAFTS | {"method": "mtp", "draft": None}}, "draft_model, since drafts"),
        ({"speculation": DRAFTS | {"method": "ngram", "draft": None}}, "an LLM of their own"),
        ({"speculation": DRAFTS | {"draft_tokens": 0}}, "1 or more, since drafts are split"),
        ({"speculation": DRAFTS | {"acceptance": 1.5}}, "acceptance"),
        ({"split": {"kind": "afd", "pool": "lpx"}}, "none beside a `split` of the kind afd"),
        ({"split": SPLIT | {"kind": "drafts"}}, "'afd', 'draft'"),
        ({"split": SPLIT | {"micro_batches": 2}}, "micro_batches"),
        ({"split": SPLIT | {"parallel": {"tp": 4, "pp": 2}}}, "bytes decide how many groups"),
        ({"split": SPLIT | {"sends": "probabilities"}}, "since no link is given"),
        ({"sram": {}}, "the draft LLM's is `split.sram`|none beside `sram`"),
        ({"law": {"kind": "fixed", "decode": "1 ms"}}, "roofline, since there is a split"),
        ({"role": "prefill"}, "none, since the role is prefill"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(scenario, change, told):
    with pytest.raises(ValueError, match=told):
        scenario({"a": BIG | change})


def test_groups_that_do_not_fill_racks_are_refused(planned):
    odd = SPLIT | {"parallel": {"tp": 3}, "sram": {"stages": 99}}
    found = refusal(planned, BIG | {"split": odd}, racks=4)
    assert "deployments.a.split.parallel.tp" in found
    assert "a divisor of 256" in found


def test_tiers_below_hbm_are_refused(scenario):
    with pytest.raises(ValueError, match="whose KV has no tier below"):
        scenario({"a": BIG}, serving={"kv": {"tiers": ["hbm", "host"]}})


def test_who_verifies_after_a_prefill_pool_hands_over_its_own_kv(planned, scenario, catalog):
    decode = BIG | {"role": "decode", "parallel": {"tp": 4}, "replicas": 1}
    prefill = {"llm": "chat", "pool": "gpu", "parallel": {"tp": 4}, "role": "prefill"}
    from factorysim.spec.topology import TopologySpec

    topology = TopologySpec.model_validate(
        {
            "schema": "factorysim.topology/1",
            "racks": {"gpu": {"rack": "hgx_h200"}, "lpx": {"rack": "groq3_lpx"}},
            "fabric": {"kind": "leaf_spine", "leaf": "spectrum6", "spine": "spectrum6"},
        }
    )
    spec = scenario(
        {"p": prefill | {"replicas": 1}, "d": decode}, llm="llama_3_1_70b", precision=FP8
    )
    plan = plan_factory(spec, topology, catalog)
    serve = next(one for one in plan.serve if one.role == "decode")
    assert serve.kv_state.token_bytes == 80 * 2 * 2 * 128  # two heads a device, all layers
