"""What always holds of small random topologies and the plans on them."""

import math

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.graph.build import build_graph
from factorysim.graph.check import check_graph
from factorysim.graph.exchange import (
    read_graphml,
    read_node_link,
    write_graphml,
    write_node_link,
)
from factorysim.graph.factory import compile_graph
from factorysim.graph.links import replica_links
from factorysim.graph.placement import place_deployments
from factorysim.graph.schema import COMPUTE, NODE_KINDS
from factorysim.spec.deployment import DeploymentSpec
from factorysim.spec.topology import TopologySpec

RACKS = [
    "hgx_h200",
    "hgx_a100",
    "mi355x_8",
    "gb200_nvl72",
    "vera_rubin_nvl72",
    "x86_rack",
    "h100_sxm",
    "apple_m4_max",
    "epyc_9965",
]


@st.composite
def topologies(draw):
    racks = {
        f"pool{k}": {"rack": draw(st.sampled_from(RACKS)), "count": draw(st.integers(1, 3))}
        for k in range(draw(st.integers(1, 3)))
    }
    fabric = {
        "kind": draw(st.sampled_from(["leaf_spine", "rail_optimised", "none"])),
        "leaf": draw(st.sampled_from(["spectrum6", "ethernet_51t"])),
        "oversubscription": draw(st.sampled_from([1.0, 1.5, 4.0])),
    }
    return TopologySpec.model_validate(
        {"schema": "factorysim.topology/1", "racks": racks, "fabric": fabric}
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(topologies())
def test_no_device_is_lost_or_made(topology):
    catalog = load_catalog()
    graph = build_graph(topology, catalog)
    expected = 0
    for spec in topology.racks.values():
        rack = catalog.rack(spec.rack)
        parts = (rack.accelerator, rack.cpu)
        expected += spec.count * sum(part.count for part in parts if part)
    factory = compile_graph(graph)
    members = [node for nodes in factory.pools.values() for node in nodes]
    assert len(members) == len(set(members)) == expected
    check_graph(graph, catalog, "random")


@settings(max_examples=10, deadline=None, derandomize=True)
@given(topologies())
def test_compiled_arrays_tell_the_same_graph(topology):
    graph = build_graph(topology, load_catalog())
    factory = compile_graph(graph)
    assert [NODE_KINDS[k] for k in factory.kinds] == [graph.nodes[n]["kind"] for n in graph]
    total = math.fsum(edge["bandwidth"] for *_, edge in graph.edges(data=True))
    assert math.isclose(math.fsum(factory.links.bandwidth), 2 * total)
    clients = factory.names.index("clients")
    for nodes in factory.pools.values():
        path = factory.routes(clients, nodes[0])
        bands = factory.links.bandwidth[list(path.links)]
        assert path.bandwidth == min(bands)
        back = factory.routes(nodes[0], clients)
        assert back.links == tuple(link ^ 1 for link in reversed(path.links))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(topologies())
def test_files_give_back_what_they_were_given(topology):
    graph = build_graph(topology, load_catalog())
    for again in (
        read_graphml(write_graphml(graph).encode(), "x"),
        read_node_link(write_node_link(graph).encode(), "x"),
    ):
        assert nx.utils.graphs_equal(again, graph)
        assert again.graph == graph.graph


@st.composite
def deployments(draw, pools):
    return {
        f"d{k}": DeploymentSpec.model_validate(
            {
                "llm": "any",
                "pool": draw(st.sampled_from(pools)),
                "replicas": draw(st.none() | st.integers(1, 4)),
                "parallel": {"tp": draw(st.sampled_from([1, 2, 3, 4, 8, 12]))},
            }
        )
        for k in range(draw(st.integers(1, 4)))
    }


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data(), topologies())
def test_replicas_share_no_device_and_stay_in_one_domain(data, topology):
    graph = build_graph(topology, load_catalog())
    factory = compile_graph(graph)
    specs = data.draw(deployments(sorted(factory.pools)))
    placed, errors, _ = place_deployments(specs, factory)
    assert len(placed) + len(errors) == len(specs)
    assert all(isinstance(error, CapacityError) for error in errors)
    used = [node for replicas in placed.values() for nodes in replicas for node in nodes]
    assert len(used) == len(set(used))
    domains = factory.scale_up_domains
    for name, replicas in placed.items():
        spec = specs[name]
        members = factory.pools[spec.pool]
        sizes = [int((domains[list(members)] == domains[m]).sum()) for m in members]
        largest = max(1 if domains[m] < 0 else n for m, n in zip(members, sizes, strict=True))
        if spec.replicas is not None:
            assert len(replicas) == spec.replicas
        for nodes in replicas:
            assert len(nodes) == spec.parallel.tp
            assert set(nodes) <= set(members)
            assert factory.kind(nodes[0]) in COMPUTE
            if spec.parallel.tp <= largest and spec.parallel.tp > 1:
                assert len({int(domains[node]) for node in nodes}) == 1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(topologies(), st.sampled_from([2, 4, 8]))
def test_a_wider_replica_never_has_better_links(topology, tp):
    graph = build_graph(topology, load_catalog())
    factory = compile_graph(graph)
    for nodes in factory.pools.values():
        if topology.fabric.kind == "none" or len(nodes) < 2 * tp:
            continue
        narrow = replica_links(graph, factory, [nodes[:tp]])
        wide = replica_links(graph, factory, [nodes])
        assert wide.bandwidth <= narrow.bandwidth * (1 + 1e-9)
        assert wide.latency_s >= narrow.latency_s * (1 - 1e-9)
