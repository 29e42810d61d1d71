import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory
from factorysim.physics.table import parse_table

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}


@pytest.fixture(scope="module")
def planned(catalog, shipped, scenario):
    """Plan deployments on a shipped topology."""

    def plan(name, deployments, tables=None, **fields):
        spec = scenario(deployments, **fields)
        return plan_factory(spec, shipped(name), catalog, table_files=tables)

    return plan


def refusal(planned, name, deployments, **fields):
    with pytest.raises((CapacityError, SpecError)) as caught:
        planned(name, deployments, **fields)
    return str(caught.value)


def test_the_agents_benchmark_fits_the_pod(planned):
    """144 replicas of 8 on 1,152 GPUs, tools on 512 Vera CPUs."""
    plan = planned(
        "closed/vera-rubin-pod",
        {
            "serve": {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}},
            "tools": {"role": "tools", "pool": "vera_cpu"},
        },
        llm="mistral_large_3",
        precision=FP8,
    )
    (serve,) = plan.serve
    assert (len(serve.replicas), serve.devices_per_replica) == (144, 8)
    used = [node for replica in serve.replicas for node in replica.devices]
    assert len(set(used)) == 1152
    (tools,) = plan.tools
    assert len(tools.hosts) == 512
    host = tools.hosts[0]
    assert (host.cores, host.threads, host.speed, host.memory_bytes) == (88, 176, 1.6, 1.5e12)
    assert tools.smt_yield == 1.25
    assert plan.racks[host.rack].name == "vera_cpu/0"


def test_the_peers_benchmark_has_sixteen_replicas(planned):
    plan = planned(
        "open/hgx-a100",
        {"a": {"llm": "chat", "pool": "a100", "parallel": {"tp": 2}}},
        serving={"kv": {"blocks": 27_904}},
    )
    assert len(plan.serve[0].replicas) == 16
    assert plan.serve[0].kv_blocks == 27_904


def test_replicas_fill_scale_up_domains_whole(planned):
    plan = planned(
        "open/hgx-h200",
        {"a": {"llm": "chat", "pool": "hgx", "parallel": {"tp": 4}, "replicas": 5}},
    )
    assert [replica.rack for replica in plan.serve[0].replicas] == [0, 0, 1, 1, 2]
    for replica in plan.serve[0].replicas:
        assert len({plan.rack_of[node] for node in replica.devices}) == 1


def test_deployments_with_counts_go_first_and_the_rest_takes_what_is_left(planned):
    plan = planned(
        "open/hgx-h200",
        {
            "rest": {"llm": "chat", "pool": "hgx", "parallel": {"tp": 4}},
            "some": {"llm": "chat", "pool": "hgx", "parallel": {"tp": 8}, "replicas": 3},
        },
    )
    assert [serve.name for serve in plan.serve] == ["rest", "some"]
    assert [len(serve.replicas) for serve in plan.serve] == [10, 3]
    devices = [n for serve in plan.serve for replica in serve.replicas for n in replica.devices]
    assert len(devices) == len(set(devices)) == 64


def test_cpus_serve_and_run_tools_side_by_side(planned):
    plan = planned(
        "open/cpu-only",
        {
            "serve": {"llm": "chat", "pool": "cpu", "replicas": 40},
            "tools": {"role": "tools", "pool": "cpu"},
        },
    )
    assert plan.serve[0].device.id == "epyc_9965"
    assert len(plan.tools[0].hosts) == 24
    used = {replica.devices[0] for replica in plan.serve[0].replicas}
    assert not used & {host.node for host in plan.tools[0].hosts}


def test_a_laptop_serves_and_hosts_on_one_chip_and_draws_once(planned):
    plan = planned(
        "open/laptop",
        {
            "serve": {"llm": "chat", "pool": "laptop"},
            "tools": {"role": "tools", "pool": "laptop.cpu"},
        },
    )
    assert plan.serve[0].power.peak_w == 80
    assert (plan.tools[0].hosts[0].idle_w, plan.tools[0].hosts[0].peak_w) == (0.0, 0.0)
    assert plan.serve[0].replicas[0].latency_fs == 0
    assert plan.racks[0].rest_w == 5  # its Ethernet port


def test_rest_is_rack_power_less_peaks_of_its_devices(planned):
    """230 kW less 72 x 2,300 W and 36 x 300 W; all GPUs deployed, the CPUs idle."""
    gpus = {"serve": {"llm": "chat", "pool": "nvl72"}}
    plan = planned("closed/vera-rubin-nvl72", gpus)
    assert plan.racks[0].rest_w == pytest.approx(230e3 - 72 * 2300 - 36 * 300 + 36 * 60)
    hosts = {"tools": {"role": "tools", "pool": "nvl72.cpu"}}
    plan = planned("closed/vera-rubin-nvl72", gpus | hosts)
    assert plan.racks[0].rest_w == pytest.approx(230e3 - 72 * 2300 - 36 * 300)
    assert plan.notes == ()


def test_devices_that_nothing_runs_on_draw_idle_power(planned):
    def rest(replicas):
        plan = planned(
            "closed/vera-rubin-nvl72",
            {"serve": {"llm": "chat", "pool": "nvl72", "replicas": replicas}},
        )
        assert plan.idle_devices == 72 - replicas
        return plan.racks[0].rest_w, plan.serve[0].power.idle_w

    few, idle_w = rest(10)
    many, _ = rest(70)
    assert few - many == pytest.approx(60 * idle_w)
    assert idle_w > 0


def test_the_fabrics_own_rack_draws_its_switches(planned):
    plan = planned("closed/vera-rubin-nvl72", {"serve": {"llm": "chat", "pool": "nvl72"}})
    (fabric,) = [rack for rack in plan.racks if rack.name == "fabric/0"]
    assert fabric.rest_w == 5 * 1500  # three leaves, two spines


def test_a_rack_power_below_its_devices_gives_a_note_and_no_negative_rest(
    catalog, topology, scenario
):
    spec = topology({"h": {"rack": "hgx_h200"}})
    short = type(catalog)(_with_power(catalog.sections, 5000), {}, catalog._rules)
    plan = plan_factory(scenario({"a": {"llm": "chat", "pool": "h"}}), spec, short)
    parts = 8 * 25 + 4 * 100
    assert plan.racks[0].rest_w == parts + 2 * 100  # and two idle CPUs
    assert "5,000 W published less 6,600 W of device peaks leaves -1,600 W" in plan.notes[0]


def _with_power(sections, value):
    racks = dict(sections["racks"])
    racks["hgx_h200"] = racks["hgx_h200"] | {"power": {"value": value, "unit": "W", "kind": "a"}}
    return dict(sections) | {"racks": racks}


def test_facts_are_those_of_all_that_was_reached(planned):
    plan = planned(
        "closed/vera-rubin-nvl72", {"serve": {"llm": "chat", "pool": "nvl72"}}, site="eu_west"
    )
    assert plan.facts == tuple(sorted(set(plan.facts)))
    for fact in (
        "accelerators.rubin_gpu.memory_bandwidth",
        "racks.vera_rubin_nvl72.power",
        "network.spectrum6.hop_latency",
        "sites.eu_west.pue",
        "llms.llama_3_1_8b.layers",
    ):
        assert fact in plan.facts
    assert any(fact.startswith("efficiency.generic.") for fact in plan.facts)
    assert plan.pue == 1.15


def test_a_site_of_the_scenarios_own_gives_its_pue(planned):
    site = {"schema": "factorysim.site/1", "pue": 1.3}
    plan = planned("teaching/one-gpu", {"a": {"llm": "chat", "pool": "gpu"}}, site=site)
    assert plan.pue == 1.3
    assert not [fact for fact in plan.facts if fact.startswith("sites.")]


def test_laws_are_as_the_deployment_says(planned):
    fixed = {"kind": "fixed", "prompt": {"kind": "exponential", "mean": "1 s"}}
    plan = planned("teaching/mm1", {"a": {"llm": "chat", "pool": "gpu", "law": fixed}})
    assert plan.serve[0].law.draws
    assert plan.serve[0].replicas[0].latency_fs == 0
    rows = parse_table(
        "phase,tokens,context_tokens,step_s\ndecode,1,0,0.010\ndecode,1,1000,0.012\n", "mine.csv"
    )
    table = {"a": {"llm": "chat", "pool": "gpu", "law": {"kind": "table", "file": "mine.csv"}}}
    plan = planned("teaching/mm1", table, tables={"mine.csv": rows})
    piece = plan.serve[0].law.piece(1, 500)
    assert piece.fixed_fs + 500 * piece.slope_fs == 11 * 10**12


def test_a_profile_is_read_where_it_is_not_given(planned, tmp_path):
    path = tmp_path / "mine.csv"
    law = {"kind": "table", "file": str(path)}
    deployments = {"a": {"llm": "chat", "pool": "gpu", "law": law}}
    assert "mine.csv" in refusal(planned, "teaching/mm1", deployments)
    path.write_text("phase,tokens,context_tokens,step_s\ndecode,1,0,0.010\n")
    plan = planned("teaching/mm1", deployments)
    assert plan.serve[0].law.piece(1, 0).fixed_fs == 10**13
    path.write_bytes(b"\xff\xfe")
    assert "a CSV file in UTF-8" in refusal(planned, "teaching/mm1", deployments)


def test_tensor_parallelism_over_nvlink_is_quicker_than_over_ethernet(planned):
    def step_fs(name, pool, tp):
        plan = planned(name, {"a": {"llm": "chat", "pool": pool, "parallel": {"tp": tp}}})
        return plan.serve[0].law.base(64, 0, 0, 64)

    inside = step_fs("open/hgx-h200", "hgx", 8)
    across = step_fs("open/hgx-h200", "hgx", 16)
    assert across > 1.5 * inside


@pytest.mark.parametrize(
    ("deployment", "told"),
    [
        (
            {"pool": "hgx", "parallel": {"tp": 8}, "replicas": 9},
            "found 9 replicas x 8 devices = 72, expected at most 8: pool hgx has 64 devices "
            "(in scale-up domains: 8 x 8)",
        ),
        ({"pool": "hgx", "parallel": {"tp": 96}}, "found 1 replica x 96 devices = 96"),
        ({"pool": "hgx", "parallel": {"tp": 8}, "replicas": 1, "llm": "chart"}, '"chat"?'),
        ({"pool": "hgxx"}, 'found "hgxx", expected a pool of the topology: hgx, hgx.cpu, x86'),
        ({"pool": "hgx", "role": "tools", "llm": None}, 'its hosts are the pool "hgx.cpu"'),
        (
            {"pool": "hgx.cpu", "role": "tools", "llm": None, "replicas": 17},
            "found 17 hosts, expected at most 16: pool hgx.cpu has 16 devices",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sum(planned, deployment, told):
    ok = {"b": {"llm": "chat", "pool": "x86", "replicas": 1}}
    found = refusal(planned, "open/hgx-h200", {"a": {"llm": "chat"} | deployment} | ok)
    assert told in found


def test_devices_are_not_shared(planned):
    half = {"llm": "chat", "pool": "hgx", "parallel": {"tp": 8}, "replicas": 4}
    all_left = {"llm": "chat", "pool": "hgx", "parallel": {"tp": 8}}
    found = refusal(planned, "open/hgx-h200", {"a": half, "b": all_left, "c": all_left})
    assert "deployments.c.replicas" in found
    assert "of which 0 are left (taken: a 32, b 32)" in found


def test_an_llm_that_is_too_large_is_refused_with_the_sum(planned):
    found = refusal(
        planned, "teaching/one-gpu", {"a": {"llm": "chat", "pool": "gpu"}}, llm="llama_3_1_70b"
    )
    assert "deployments.a.parallel.tp" in found
    assert "141.1 GB of weights" in found
    assert "90% of 85.5 GB" in found


def test_the_sram_of_lpus_is_what_they_have(planned):
    found = refusal(
        planned,
        "closed/vera-rubin-pod",
        {"a": {"llm": "chat", "pool": "lpx", "parallel": {"tp": 8}, "sram": {"stages": 100}}},
        llm="mistral_large_3",
        precision=FP8,
    )
    assert "675.4 GB of weights" in found
    assert "at most 360 GB: 800 chips, SRAM" in found


def test_all_faults_of_a_plan_come_at_once(planned):
    found = refusal(
        planned,
        "open/hgx-h200",
        {
            "a": {"llm": "chat", "pool": "hgx"},
            "b": {"role": "tools", "pool": "x87"},
            "c": {"llm": "chat", "pool": "x86", "parallel": {"tp": 64}},
        },
        llm="llama_3_1_405b",
    )
    for key in ("deployments.a.parallel.tp", "deployments.b.pool", "deployments.c.replicas"):
        assert key in found


def test_a_stream_to_an_llm_that_nobody_serves_is_refused(planned):
    tools = {"t": {"role": "tools", "pool": "hgx.cpu"}}
    assert 'streams.all.llm: found "chat"' in refusal(planned, "open/hgx-h200", tools)


def test_straddling_without_a_fabric_is_refused(catalog, topology, scenario):
    spec = topology({"h": {"rack": "hgx_h200", "count": 2}}, kind="none")
    wide = scenario({"a": {"llm": "chat", "pool": "h", "parallel": {"tp": 16}}})
    with pytest.raises(CapacityError, match="no link that joins them"):
        plan_factory(wide, spec, catalog)


def test_an_encoder_is_planned_for_streams_with_images_only(planned):
    """Its weights, 5 GB over 8 devices, are not left to the KV cache."""
    deployments = {"serve": {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}}}
    calls = {"prompt_tokens": {"mean": 500}, "output_tokens": {"mean": 100}}
    arrivals = {"process": "poisson", "rate": "1/s"}
    plans = [
        planned(
            "closed/vera-rubin-nvl72",
            deployments,
            llm="mistral_large_3",
            precision=FP8,
            streams={"s": {"llm": "chat", "calls": calls, "arrivals": arrivals, **more}},
        )
        for more in ({}, {"images": {"tokens": 1000}})
    ]
    (plain,), (pictured,) = plans[0].serve, plans[1].serve
    assert plain.encoder is None
    assert pictured.encoder is not None
    assert plain.context_tokens == pictured.context_tokens == 262_144
    block = 16 * 61 * 576
    assert plain.kv_blocks - pictured.kv_blocks == pytest.approx(5e9 / 8 / block, abs=1)
    assert set(plans[1].facts) - set(plans[0].facts) == {
        "llms.mistral_large_3.vision.encoder_params",
        "llms.mistral_large_3.vision.patches_per_token",
    }


def test_images_for_an_llm_without_an_encoder_are_refused_with_the_facts(planned):
    calls = {"prompt_tokens": {"mean": 500}, "output_tokens": {"mean": 100}}
    stream = {"llm": "chat", "calls": calls, "arrivals": {"process": "poisson", "rate": "1/s"}}
    told = refusal(
        planned,
        "closed/vera-rubin-nvl72",
        {"serve": {"llm": "chat", "pool": "nvl72", "parallel": {"tp": 8}}},
        llm="qwen3_8b",
        streams={"s": {**stream, "images": {"tokens": 1000}}},
    )
    assert "not qwen3_8b" in told
    assert "llms.qwen3_8b.vision.encoder_params" in told


def test_drafts_take_the_memory_of_kv_blocks_and_the_time_of_steps(planned):
    def of(speculation):
        own = {"a": {"llm": "chat", "pool": "gpu", "speculation": speculation}}
        plan = planned("teaching/one-gpu", own, llm="llama_3_1_8b")
        return plan.serve[0], plan.facts

    asked = {"method": "ngram", "draft_tokens": 3, "acceptance": 0.5}
    plain, _ = of(None)
    none, _ = of(asked | {"draft_tokens": 0})
    ngram, _ = of(asked)
    draft = {"llm": "llama_3_8b", "precision": {"weights": "w4a16"}}
    drafted, facts = of(asked | {"method": "draft_model", "draft": draft})
    assert (none.law, none.kv_blocks) == (plain.law, plain.kv_blocks)
    assert ngram.kv_blocks == plain.kv_blocks
    assert drafted.kv_blocks < plain.kv_blocks / 2  # as many KV heads, and weights besides
    assert ngram.law.base(8, 0, 0, 8) == plain.law.base(8, 24, 0, 32)
    assert drafted.law.base(8, 0, 0, 8) > ngram.law.base(8, 0, 0, 8)
    assert "llms.llama_3_8b.layers" in facts


def test_a_draft_that_does_not_fit_is_refused_with_the_sum(planned):
    asked = {"method": "draft_model", "draft_tokens": 3, "acceptance": 0.5}
    big = {"a": {"llm": "chat", "pool": "gpu", "speculation": asked | {
        "draft": {"llm": "llama_3_1_70b"}}}}  # fmt: skip
    told = refusal(planned, "teaching/one-gpu", big)
    assert "deployments.a.parallel.tp" in told
    assert "of them what drafts" in told
    mtp = {"a": {"llm": "chat", "pool": "gpu", "speculation": asked | {"method": "mtp"}}}
    assert "deployments.a.speculation.method" in refusal(planned, "teaching/one-gpu", mtp)
