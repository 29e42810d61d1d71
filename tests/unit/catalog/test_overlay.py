"""A user's file overrides and adds; whatever is wrong with it is told at once."""

import textwrap
from pathlib import Path

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError

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
    text = (Path(__file__).parents[3] / "docs" / "catalog.md").read_text(encoding="utf-8")
    start = text.index("    schema: factorysim.catalog/1")
    block = text[start : text.index("\n\n", start)]
    path = tmp_path / "mine.yaml"
    path.write_text(textwrap.dedent(block), encoding="utf-8")
    catalog = load_catalog(path)
    assert catalog.rack("my_rack").accelerator.count == 8
    assert catalog.device("my_chip").generation == "hopper"
