"""A user's file overrides and adds; whatever is wrong with it is told at once."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.fact import is_number
from factorysim.catalog.limits import ORDERS, limit
from factorysim.errors import CapacityError, SpecError
from tests.acceptance.doc_pages import read_page

GOOD = """\
schema: factorysim.catalog/1
sources:
  bench: {title: "Our own measurement, rack 7", date: "2026-11"}
accelerators:
  rubin_gpu:
    idle_power: {value: 180 W, low: 170 W, high: 190 W, kind: measured, source: bench}
    interconnect: {scale_up_latency: 400 ns}
  my_chip:
    kind: accelerator
    aliases: [MC-1]
    memory_bytes: 96 GB
    memory_bandwidth: {value: 4.0e+12, unit: B/s}
    flops: {bf16: 1 PFLOP/s}
    tdp: 600 W
cpus:
  smt_yield: {value: 1.3, kind: measured, source: [bench]}
  core_speed: {vera: 1.7}
  my_cpu:
    {cores: 8, memory_bytes: 64 GiB, memory_bandwidth: 800 Gb/s, flops: {bf16: 1 TFLOP/s}, tdp: 9 W}
racks:
  mine:
    {accelerator: my_chip, gpus: 4, cpu: my_cpu, cpus: 1, nic: CX-9, nics: 2, scale_up_domain: 4}
  mine_pod: {kind: pod, contents: {mine: 3, gb200_nvl72: 1}}
sites:
  home: {energy_price: 0.30 EUR/kWh, carbon_intensity: 300 g/kWh, pue: 1.2}
efficiency:
  vllm: {rubin: {host_step_s: 1 ms}}
llms:
  qwen3_8b: {context_length: 131072, tied_embeddings: true}
"""


@pytest.fixture
def overlaid(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return load_catalog(path)


def test_a_fact_is_overridden_whole(overlaid):
    fact = overlaid.facts["accelerators.rubin_gpu.idle_power"]
    assert (fact.value, fact.low, fact.high) == (180.0, 170.0, 190.0)
    assert (fact.kind, fact.source, fact.unit) == ("measured", ("bench",), "W")
    assert overlaid.sources["bench"].title == "Our own measurement, rack 7"
    assert overlaid.device("rubin_gpu").idle_w == 180.0
    assert overlaid.device("rubin_gpu").memory_bytes == 288e9
    assert overlaid.device("rubin_gpu").scale_up_latency_s == pytest.approx(4e-7)


def test_the_shipped_catalog_stays_as_it_is(overlaid):
    assert load_catalog().device("rubin_gpu").idle_w != 180.0
    assert overlaid.digest != load_catalog().digest


def test_a_device_is_added_in_any_unit(overlaid):
    chip, cpu = overlaid.device("MC-1"), overlaid.device("my_cpu")
    assert (chip.memory_bytes, chip.memory_bandwidth, chip.tdp_w) == (96e9, 4e12, 600.0)
    assert chip.flops == {"bf16": 1e15}
    assert chip.generation == "generic"
    assert (cpu.memory_bytes, cpu.memory_bandwidth, cpu.cores) == (64 * 2**30, 100e9, 8)
    assert overlaid.facts["accelerators.my_chip.tdp"].kind == "assumed"


def test_memory_of_ones_own_takes_the_place_of_usable_memory_too(tmp_path):
    """Half an H100 holds 40 GB, and not what a whole one was found to hold."""
    own = tmp_path / "own.yaml"
    head = "schema: factorysim.catalog/1\naccelerators:\n  h100_sxm: "
    own.write_text(head + "{memory_bytes: 40 GB}\n")
    half = load_catalog(own)
    assert half.device("h100_sxm").capacity_bytes == 40e9
    assert "accelerators.h100_sxm.usable_memory_bytes" not in half.facts
    own.write_text(head + "{memory_bytes: 40 GB, usable_memory_bytes: 41 GB}\n")
    assert load_catalog(own).device("h100_sxm").capacity_bytes == 41e9
    own.write_text(head + "{usable_memory_bytes: 79 GB}\n")
    whole = load_catalog(own).device("h100_sxm")
    assert (whole.memory_bytes, whole.capacity_bytes) == (80e9, 79e9)
    less = load_catalog().with_values({"accelerators.h100_sxm.memory_bytes": 3e10})
    assert less.device("h100_sxm").capacity_bytes == 3e10


def test_facts_of_a_whole_section_are_overridden(overlaid):
    vera = overlaid.device("vera")
    assert (vera.smt_yield, vera.core_speed) == (1.3, 1.7)
    assert overlaid.facts["efficiency.vllm.rubin.host_step_s"].value == 1e-3


def test_racks_pods_sites_and_llms_are_added_or_changed(overlaid):
    rack = overlaid.rack("mine")
    assert (rack.accelerator.id, rack.accelerator.count, rack.nic.id) == ("my_chip", 4, "connectx9")
    assert rack.memory_per_cpu == 64 * 2**30
    assert overlaid.rack("mine_pod").contents == (("mine", 3), ("gb200_nvl72", 1))
    assert (overlaid.site("home").energy_price, overlaid.site("home").currency) == (0.3, "EUR")
    assert overlaid.llm("qwen3_8b").context_length == 131072
    assert overlaid.llm("qwen3_8b").tied_embeddings is True


def faults(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as refused:
        load_catalog(path)
    return refused.value.faults


BAD = """\
schema: factorysim.catalog/1
accelerator: {x: 1}
accelerators:
  rubin_gpu:
    tdp: {value: 2 GB, kind: guessed, sauce: 3}
    memory_bandwith: 3 TB/s
    idle_power: {value: 300 W, low: 400 W}
    memory_bytes: -3 GB
  a b: {}
  q: {kind: gpuu, tdp: 9**9**8 W, flops: 3}
racks:
  mine: {kind: server, accelerator: nosuch, contents: {zzz: 3}}
llms:
  qwen3_8b: {tied_embeddings: maybe, layers: [1], aliases: x}
sites:
  us_texas: {pue: {value: 1.2, source: nowhere}, energy_price: 0.1}
network: 7
sources: {s: {url: 3}}
"""


def test_all_faults_are_told_at_once_with_their_lines(tmp_path):
    told = faults(tmp_path, BAD)
    found = [(int(fault.where.rsplit(":", 1)[1]), fault.key) for fault in told]
    assert found == [
        (2, "accelerator"),
        (5, "accelerators.rubin_gpu.tdp.sauce"),
        (5, "accelerators.rubin_gpu.tdp.value"),
        (5, "accelerators.rubin_gpu.tdp.kind"),
        (6, "accelerators.rubin_gpu.memory_bandwith"),
        (7, "accelerators.rubin_gpu.idle_power"),
        (8, "accelerators.rubin_gpu.memory_bytes.value"),
        (9, "accelerators.'a b'"),
        (10, "accelerators.q.kind"),
        (10, "accelerators.q.tdp.value"),
        (10, "accelerators.q.flops"),
        (12, "racks.mine.accelerator"),
        (12, "racks.mine.contents.zzz"),
        (14, "llms.qwen3_8b.tied_embeddings.value"),
        (14, "llms.qwen3_8b.layers.value"),
        (14, "llms.qwen3_8b.aliases"),
        (16, "sites.us_texas.pue.source"),
        (16, "sites.us_texas.energy_price.value"),
        (17, "network"),
        (18, "sources.s.url"),
        (18, "sources.s"),
    ]
    cures = {fault.key: fault.cure for fault in told}
    assert cures["accelerator"] == 'did you mean "accelerators"?'
    assert cures["accelerators.rubin_gpu.memory_bandwith"] == 'did you mean "memory_bandwidth"?'
    assert cures["accelerators.q.kind"] == 'did you mean "gpu"?'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("accelerators: {}\n", "schema"),
        ("schema: factorysim.scenario/1\n", "schema"),
        ("schema: factorysim.catalog/1\ncpus: {smt_yield: .nan}\n", "cpus.smt_yield"),
        ("schema: factorysim.catalog/1\ncpus: {smt_yield: 1e999}\n", "cpus.smt_yield"),
        ("schema: factorysim.catalog/1\ncpus: {vera: {tdp: 1e400 W}}\n", "cpus.vera.tdp.value"),
        ("schema: factorysim.catalog/1\ncpus: {vera: {tdp: 3}}\n", "cpus.vera.tdp.value"),
        ("schema: factorysim.catalog/1\ncpus: {vera: {tdp: ~}}\n", "cpus.vera.tdp.value"),
        ("schema: factorysim.catalog/1\ncpus: {vera: {tdp: {low: 1 W}}}\n", "cpus.vera.tdp"),
        ("schema: factorysim.catalog/1\nrules: {mine: 3}\n", "rules.mine"),
        ("schema: factorysim.catalog/1\ncpus: {vera: {}, vera: {}}\n", "cpus.vera"),
        ("schema: factorysim.catalog/1\ncpus: [1]\n", "cpus"),
    ],
)
def test_what_is_refused(tmp_path, text, key):
    assert key in [fault.key for fault in faults(tmp_path, text)]


def test_code_is_not_run(tmp_path):
    text = "schema: factorysim.catalog/1\nx: !!python/object/apply:os.system ['true']\n"
    assert any("tag" in fault.found for fault in faults(tmp_path, text))


def test_a_missing_file_is_a_fault(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        load_catalog(tmp_path / "none.yaml")


def test_the_example_of_the_documentation_loads(tmp_path):
    text = next(
        block.text
        for block in read_page("docs/catalog.md")
        if block.text.startswith("schema: factorysim.catalog/1")
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    catalog = load_catalog(path)
    assert catalog.rack("my_rack").accelerator.count == 8
    assert catalog.device("my_chip").generation == "hopper"


def one(tmp_path, key, value):
    """Faults of a file that says one thing."""
    *outer, last = key.split(".")
    text = "schema: factorysim.catalog/1\n"
    for depth, name in enumerate(outer):
        text += f"{'  ' * depth}{name}:\n"
    return faults(tmp_path, f"{text}{'  ' * len(outer)}{last}: {value}\n")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("accelerators.h100_sxm.flops.bf16", "0 FLOP/s", "a quantity above zero"),
        ("accelerators.h100_sxm.memory_bandwidth", "0 B/s", "a quantity above zero"),
        (
            "accelerators.h100_sxm.memory_bytes",
            "{value: 80 GB, low: 0 GB}",
            "a quantity above zero",
        ),
        ("accelerators.h100_sxm.interconnect.scale_up_bidir", "0 B/s", "a quantity above zero"),
        ("accelerators.h100_sxm.tdp", "0 W", "a power above zero"),
        ("cpus.grace.clock", "0 Hz", "a quantity above zero"),
        ("cpus.grace.cores", "0", "a whole number, 1 or more"),
        ("cpus.core_speed.vera", "0", "a ratio above zero"),
        ("cpus.smt_yield", "0", "a ratio above zero"),
        ("racks.dgx_h100.gpus", "0.5", "a whole number, 1 or more"),
        ("racks.vera_rubin_nvl72.scale_up_switches", "0", "a whole number, 1 or more"),
        ("llms.mistral_small_4.attention.kv_layers", "0", "a whole number, 1 or more"),
        ("llms.llama_3_1_8b.layers", "0", "a whole number, 1 or more"),
        ("llms.llama_3_1_8b.layers", "1.5", "a whole number, 1 or more"),
        ("llms.llama_3_1_8b.context_length", "0.5", "a whole number, 1 or more"),
        ("llms.gpt_oss_120b.ffn.dense_layers", "0.5", "a whole number, 0 or more"),
        ("efficiency.vllm.hopper.kv_bandwidth", "0", "a share above 0 and at most 1"),
        ("efficiency.vllm.hopper.kv_bandwidth", "120 %", "a share above 0 and at most 1"),
        ("rules.accelerator_idle_share", "1.2", "a share from 0 to 1"),
        ("sites.us_texas.pue", "0.9", "a ratio of 1 or more"),
    ],
)
def test_a_number_that_nothing_can_be_computed_with_is_refused(tmp_path, key, value, expected):
    (fault,) = one(tmp_path, key, value)
    assert fault.where.endswith(f"bad.yaml:{1 + len(key.split('.'))}")
    assert fault.key.startswith(f"{key}.")
    assert fault.expected == expected
    assert fault.cure


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("accelerators.h100_sxm.idle_power", "701 W", "idle_power 701, tdp 700"),
        ("accelerators.h100_sxm.tdp", "10 W", "idle_power 75, tdp 10"),
        ("cpus.grace.threads", "36", "cores 72, threads 36"),
        ("llms.llama_3_1_8b.attention.kv_heads", "64", "attention.kv_heads 64, attention.heads 32"),
        ("llms.gpt_oss_120b.layers", "4", "attention.kv_layers 18, layers 4"),
        ("llms.mixtral_8x7b.ffn.experts_active", "9", "ffn.experts_active 9, ffn.experts 8"),
    ],
)
def test_facts_that_contradict_what_ships_are_refused(tmp_path, key, value, found):
    fault = one(tmp_path, key, value)[0]
    assert fault.where.endswith(f"bad.yaml:{1 + len(key.split('.'))}")
    assert (fault.key, fault.found) == (key, found)
    assert fault.cure


def test_facts_that_agree_with_one_another_may_differ_from_what_ships(tmp_path):
    path = tmp_path / "fine.yaml"
    path.write_text(
        "schema: factorysim.catalog/1\n"
        "accelerators: {h100_sxm: {tdp: 50 W, idle_power: 50 W}}\n"
        "llms: {gpt_oss_120b: {ffn: {dense_layers: 0, shared_experts: 0}}}\n",
        encoding="utf-8",
    )
    device = load_catalog(path).device("h100_sxm")
    assert (device.tdp_w, device.idle_w) == (50.0, 50.0)


def test_the_shipped_facts_keep_to_what_is_asked_of_a_user():
    catalog = load_catalog()
    for name, fact in catalog.facts.items():
        told = limit(tuple(name.split(".")), fact.unit)
        if told is not None and is_number(fact.value):
            assert told.holds(fact.value), f"{name}: {fact.value}, expected {told.expected}"
    pairs = [
        (f"{section}.{record}.{order.smaller}", f"{section}.{record}.{order.larger}")
        for section, orders in ORDERS.items()
        for record in catalog.sections[section]
        for order in orders
    ]
    values = {name: fact.value for name, fact in catalog.facts.items() if is_number(fact.value)}
    known = [pair for pair in pairs if values.keys() >= set(pair)]
    assert len(known) > 100
    assert [pair for pair in known if values[pair[0]] > values[pair[1]]] == []


def test_an_llm_gets_an_encoder_or_an_indexer_from_a_users_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: factorysim.catalog/1\n"
        "llms:\n"
        "  qwen3_8b: {vision: {encoder_params: 6.0e+8, patches_per_token: 4}}\n"
        "  mistral_small_4: {attention: {sparse_indexer: {heads: 16, head_dim: 64, topk: 1024}}}\n",
        encoding="utf-8",
    )
    catalog = load_catalog(path)
    vision = catalog.llm("qwen3_8b").vision
    assert vision is not None
    assert (vision.params, vision.patches_per_token) == (6e8, 4)
    sparse = catalog.llm("mistral_small_4")
    assert (sparse.topk, sparse.indexer_layers, sparse.index_key_bytes) == (1024, 36, None)


@pytest.mark.parametrize(
    "text",
    [
        "qwen3_8b: {vision: {encoder_params: 6.0e+8, patches_per_token: 0}}",
        "glm_5_2: {attention: {sparse_indexer: {layers: 79}}}",
        "deepseek_v4_pro: {attention: {layers_ratio_4: 62}}",
        "deepseek_v4_pro: {attention: {indexer_topk: 0}}",
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(f"schema: factorysim.catalog/1\nllms:\n  {text}\n", encoding="utf-8")
    with pytest.raises(SpecError):
        load_catalog(path)


def test_a_number_that_nobody_knows_can_be_said_to_be_unknown(tmp_path):
    path = tmp_path / "mine.yaml"
    text = "schema: factorysim.catalog/1\nllms: {qwen3_8b: {layers: %s}}\n"
    path.write_text(text % "{value: null, kind: unknown, note: secret}")
    catalog = load_catalog(path)
    fact = catalog.facts["llms.qwen3_8b.layers"]
    assert (fact.value, fact.low, fact.kind, fact.note) == (None, None, "unknown", "secret")
    with pytest.raises(CapacityError, match=r"llms\.qwen3_8b\.layers"):
        catalog.llm("qwen3_8b")
    for wrong in (
        "null",
        "{value: null}",
        "{value: null, kind: measured}",
        "{value: 3, kind: unknown}",
        "{value: null, kind: unknown, low: 3}",
    ):
        path.write_text(text % wrong)
        with pytest.raises(SpecError) as refused:
            load_catalog(path)
        assert refused.value.faults[0].key.startswith("llms.qwen3_8b.layers")
