import math

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.graph.build import build_graph
from factorysim.graph.factory import compile_graph
from factorysim.graph.links import replica_links
from factorysim.physics.collectives import Links


@pytest.fixture(scope="module")
def linked(catalog, topology):
    """Links of one replica over the first devices of a rack kind's pool."""

    def links(rack, size, count=2, pool="r", **fabric):
        graph = build_graph(topology({"r": {"rack": rack, "count": count}}, **fabric), catalog)
        factory = compile_graph(graph)
        return replica_links(graph, factory, [factory.pools[pool][:size]])

    return links


def test_one_device_crosses_nothing(linked):
    assert linked("hgx_h200", 1) == Links(math.inf, 0.0, 1)


@pytest.mark.parametrize(
    ("rack", "bandwidth", "domain"),
    [("hgx_h200", 4.5e11, 8), ("mi355x_8", 5.76e11, 8), ("vera_rubin_nvl72", 1.8e12, 72)],
)
def test_inside_a_domain_all_scale_up_links_count(linked, rack, bandwidth, domain):
    links = linked(rack, 4)
    assert links.bandwidth == pytest.approx(bandwidth)
    assert links.devices == domain
    assert links.latency_s == pytest.approx(1e-6)


def test_lpus_are_as_near_as_published(linked):
    """350 ns from SRAM to SRAM: hc26_lpx."""
    assert linked("groq3_lpx", 64).latency_s == pytest.approx(3.5e-7)


def test_across_domains_the_nics_decide(linked):
    links = linked("hgx_h200", 16)
    assert links.bandwidth == pytest.approx(5e10)  # one NIC of 400 Gb/s a GPU
    assert links.devices == 16
    assert links.latency_s > 1e-6
    assert linked("vera_rubin_nvl72", 144).bandwidth == pytest.approx(2e11)


def test_oversubscription_narrows_what_straddles(linked):
    wide = linked("vera_rubin_nvl72", 144, oversubscription=1.0)
    narrow = linked("vera_rubin_nvl72", 144, oversubscription=3.0)
    assert wide.bandwidth / narrow.bandwidth == pytest.approx(3.0, rel=0.15)


def test_two_sockets_share_the_nic_of_their_server(linked):
    assert linked("x86_rack", 2).bandwidth == pytest.approx(2.5e10 / 2)


def test_chips_without_nics_go_through_their_neighbours(linked):
    """The way between two host CPUs of a server leads over its GPUs' NICs or PCIe."""
    assert linked("hgx_h200", 2, pool="r.cpu").bandwidth > 0


def test_a_domain_of_unknown_bandwidth_is_asked_for_once_a_replica_needs_it(tmp_path, topology):
    """A device of the user's own, in a rack that says its devices are neighbours."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "schema: factorysim.catalog/1\n"
        "accelerators:\n"
        "  x1: {kind: accelerator, memory_bytes: 96 GB, memory_bandwidth: 4 TB/s, tdp: 600 W,\n"
        "       flops: {bf16: 1 PFLOP/s}}\n"
        "racks: {own: {accelerator: x1, gpus: 8, cpu: epyc_9755, cpus: 2, scale_up_domain: 8}}\n",
        encoding="utf-8",
    )
    graph = build_graph(topology({"r": {"rack": "own", "count": 1}}), load_catalog(own))
    factory = compile_graph(graph)
    assert replica_links(graph, factory, [factory.pools["r"][:1]]).bandwidth == math.inf
    with pytest.raises(CapacityError, match=r"x1\.interconnect\.scale_up_per_direction"):
        replica_links(graph, factory, [factory.pools["r"][:2]])
