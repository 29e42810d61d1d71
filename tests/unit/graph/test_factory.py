import itertools
import math
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.errors import CapacityError
from factorysim.graph.build import build_graph
from factorysim.graph.factory import compile_graph


@pytest.fixture(scope="module")
def factory(pod):
    return compile_graph(pod)


def pairs(factory, n):
    """Random pairs of nodes that carry bytes."""
    draw = random.Random(1)
    members = [node for pool in factory.pools.values() for node in pool]
    return [tuple(draw.sample(members, 2)) for _ in range(n)]


def test_the_way_back_is_the_way_there(factory):
    for a, b in pairs(factory, 60):
        there, back = factory.routes(a, b), factory.routes(b, a)
        assert back.links == tuple(link ^ 1 for link in reversed(there.links))
        assert (back.latency_fs, back.bandwidth) == (there.latency_fs, there.bandwidth)


def test_a_path_sums_latency_and_takes_the_narrowest_link(factory):
    table = factory.links
    for a, b in pairs(factory, 60):
        path = factory.routes(a, b)
        latency_s = math.fsum(table.latency_s[list(path.links)])
        assert path.latency_fs == pytest.approx(latency_s * 1e15, abs=len(path.links))
        assert path.bandwidth == min(table.bandwidth[list(path.links)])


def test_links_of_a_path_follow_each_other(factory):
    for a, b in pairs(factory, 60):
        names = [factory.links.names[k].split(" -> ") for k in factory.routes(a, b).links]
        assert (names[0][0], names[-1][1]) == (factory.names[a], factory.names[b])
        assert all(one[1] == two[0] for one, two in itertools.pairwise(names))


def test_routes_have_the_fewest_links(pod, factory):
    """As networkx counts them, where traffic may not pass through ends."""
    inner = pod.subgraph(n for n, node in pod.nodes(data=True) if node["kind"] not in {"door"})
    for a, b in pairs(factory, 12):
        hops = nx.shortest_path_length(inner, factory.names[a], factory.names[b])
        assert len(factory.routes(a, b).links) == hops


def test_two_gpus_of_a_rack_use_all_nvlink_chips_at_once(factory):
    a, b = (factory.names.index(f"nvl72/0/t00/gpu{k}") for k in (0, 1))  # and not their CPU
    path = factory.routes(a, b)
    assert path.bandwidth == pytest.approx(1.8e12)
    assert factory.links.names[path.links[0]].endswith("x36")


def test_between_racks_one_nic_is_the_narrowest(factory):
    a, b = (factory.names.index(f"nvl72/{rack}/t00/gpu0") for rack in (0, 9))
    path = factory.routes(a, b)
    assert path.bandwidth == pytest.approx(1e11)
    # two NICs of 0.5 us, and one or three switches of 0.5 us each
    assert path.latency_fs in {int(1.5e9), int(2.5e9)}


def test_clients_reach_every_deployable_node_through_the_door(factory):
    clients = factory.names.index("clients")
    for nodes in factory.pools.values():
        path = factory.routes(clients, nodes[-1])
        assert factory.links.names[path.links[0]] == "clients -> door"
        assert path == factory.routes(nodes[-1], clients)._replace(links=path.links)


def test_the_door_is_no_way_between_racks(catalog, topology):
    racks = {"h": {"rack": "hgx_h200", "count": 2}}
    factory = compile_graph(build_graph(topology(racks, kind="none"), catalog))
    a, b = (factory.names.index(f"h/{rack}/t00/gpu0") for rack in (0, 1))
    with pytest.raises(CapacityError, match="h/0/t00/gpu0 -> h/1/t00/gpu0: found no link"):
        factory.routes(a, b)
    assert factory.routes(0, a).latency_fs == 0


def test_a_node_is_at_no_distance_from_itself(factory):
    assert factory.routes(7, 7) == ((), 0, math.inf)


def test_arrays_agree_with_the_graph(pod, factory):
    assert factory.names == tuple(pod)
    for name in random.Random(2).sample(list(pod), 300):
        k, node = factory.names.index(name), pod.nodes[name]
        assert factory.kind(k) == node["kind"]
        assert factory.devices[k] == node.get("device", "")
        for array, attribute in (
            (factory.racks, "rack"),
            (factory.trays, "tray"),
            (factory.parents, "power_parent"),
            (factory.failure_domains, "failure_domain"),
        ):
            found = factory.names[array[k]] if array[k] >= 0 else None
            assert found == node.get(attribute)


def test_merged_links_carry_what_the_edges_do(pod, factory):
    total = math.fsum(edge["bandwidth"] for *_, edge in pod.edges(data=True))
    assert math.fsum(factory.links.bandwidth) == pytest.approx(2 * total)
    assert np.diff(factory.adjacency.starts).sum() == len(factory.links.names)


def test_the_longer_of_two_equal_ways_is_avoided_then_the_lower_index_wins():
    graph = nx.Graph()
    for name in ("a", "slow", "quick", "b", "twin"):
        graph.add_node(name, kind="cpu", device="vera", pool="p")
    for middle, latency_s in (("slow", 2e-6), ("twin", 1e-6), ("quick", 1e-6)):
        for end in ("a", "b"):
            graph.add_edge(end, middle, kind="pcie", bandwidth=1.0, latency_s=latency_s)
    path = compile_graph(graph).routes(0, 3)
    assert path.latency_fs == 2 * 10**9
    table = compile_graph(graph).links
    assert table.names[path.links[0]] == "a -> quick"


PARTS = st.sampled_from(("P", "Q", "R", " -> ", "->", " ", " x2", '"'))
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("".join)


@given(st.lists(NAMES, min_size=4, max_size=12, unique=True), st.integers(0, 10**9))
def test_no_two_links_have_the_same_name(names, seed):
    """Hosts of any names, and interchangeable switches: what reads alike is told apart."""
    graph, draw = nx.Graph(), random.Random(seed)
    for name in names:
        kind = draw.choice(("gpu", "gpu", "leaf_switch"))
        device = {"device": "h100_sxm", "pool": "a"} if kind == "gpu" else {}
        graph.add_node(name, kind=kind, **device)
    for a, b in itertools.combinations(names, 2):
        graph.add_edge(a, b, bandwidth=1e9, latency_s=0.0)
    links = compile_graph(graph).links.names
    assert len(set(links)) == len(links)


def test_only_names_that_read_like_more_than_one_are_in_quotes():
    graph = nx.Graph()
    for name in ("P -> Q", "R", "P", "Q -> R"):
        graph.add_node(name, kind="gpu", device="h100_sxm", pool="a")
    for a, b in (("P -> Q", "R"), ("P", "Q -> R"), ("P", "R")):
        graph.add_edge(a, b, bandwidth=1e9, latency_s=0.0)
    assert set(compile_graph(graph).links.names) == {
        '"P -> Q" -> R', 'R -> "P -> Q"', 'P -> "Q -> R"', '"Q -> R" -> P', "P -> R", "R -> P",
    }  # fmt: skip
