"""No step of any shipped device beats the roofline of its data sheet."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.errors import UserError
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import roofline_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.step import StepRuns
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

LLMS = (
    *("llama_3_1_8b", "mistral_small_4", "gpt_oss_120b", "nemotron_3_super", "bloom_176b"),
    *("deepseek_v3_2", "deepseek_v4_pro"),
)
BEST = ("fp4", "fp8", "int8", "bf16", "fp32")
STEPS = [
    # decodes, context of each, prompt tokens, prior tokens
    (1, 100, 0, 0),
    (64, 4000, 0, 0),
    (512, 1000, 0, 0),
    (0, 0, 512, 0),
    (0, 0, 8192, 20_000),
    (100, 2000, 2048, 1000),
]


def devices():
    catalog = load_catalog()
    found = []
    for name in (*catalog.ids("accelerators"), *catalog.ids("cpus")):
        try:
            found.append(catalog.device(name))
        except UserError:
            continue
    return found


@pytest.mark.parametrize("device", devices(), ids=lambda device: device.id)
@pytest.mark.parametrize("llm", LLMS)
def test_no_step_beats_the_data_sheet(device, llm, runs_of):
    catalog = load_catalog()
    compute = next(form for form in BEST if form in device.flops)
    form = PrecisionSpec(weights=compute, compute=compute, kv="bf16")
    peak = max(device.flops.values())
    links = Links(device.scale_up_bw or 1e10, 1e-6, 8)
    factors = efficiency(catalog, device, "generic")
    for tp in (1, 8):
        parallel = ParallelSpec(tp=tp)
        law = roofline_law(catalog.llm(llm), device, form, parallel, links, factors, "full")
        for decodes, context, tokens, prior in STEPS:
            seconds, run = step(law, runs_of, decodes, context, tokens, prior)
            work = law.activity(run)
            assert seconds >= work.flops[0] / (tp * peak)
            assert seconds >= work.bytes_moved[0] / (tp * device.memory_bandwidth)
            if tp > 1:
                assert seconds >= work.link_bytes[0] / (tp * links.bandwidth)


def step(law, runs_of, decodes, context, tokens, prior):
    """Seconds of one step, and the step as a run."""
    prompts = int(tokens > 0)
    read = decodes * context
    inside = decodes * min(context, law.window or 0)
    spent = law.base(decodes, tokens, prompts, decodes + prompts)
    spent += law.slope_fs * read + law.window_fs * inside
    spent += law.chunk(tokens, prior) if prompts else 0
    pairs = tokens * prior + tokens * (tokens + 1) // 2
    run: StepRuns = runs_of(
        decodes=decodes,
        prompts=prompts,
        prompt_tokens=tokens,
        emitted_tokens=decodes + prompts,
        context_tokens=read,
        window_tokens=inside,
        pair_tokens=pairs,
        prior_tokens=prior,
    )
    return spent * 1e-15, run


def test_efficiencies_are_shares():
    """Every factor that derates a peak is at most 1, with its band around it."""
    for key, fact in load_catalog().facts.items():
        if key.startswith("efficiency."):
            assert fact.source, key
            assert 0 < fact.low <= fact.value <= fact.high, key
            if fact.unit == "ratio" and not key.endswith("_ratio"):
                assert fact.high <= 1, key


def test_every_llm_with_shapes_has_a_law():
    catalog = load_catalog()
    device = catalog.device("rubin_gpu")
    factors = efficiency(catalog, device, "generic")
    built = 0
    for name in catalog.ids("llms"):
        try:
            llm = catalog.llm(name)
            llm_shape(llm)
        except UserError:
            continue
        links, parallel = Links(1.8e12, 1e-6, 72), ParallelSpec(tp=4)
        law = roofline_law(llm, device, PrecisionSpec(), parallel, links, factors, "none")
        assert law.base(1, 0, 0, 1) > 10**12
        built += 1
    assert built >= 30
