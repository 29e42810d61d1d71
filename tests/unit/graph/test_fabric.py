import pytest

from factorysim.errors import CapacityError
from factorysim.graph.build import build_graph
from factorysim.graph.check import lanes_of


def sides(graph, leaf):
    """B/s below and above a leaf."""
    down = up = 0.0
    for other, edge in graph.adj[leaf].items():
        if graph.nodes[other]["kind"] == "spine_switch":
            up += edge["bandwidth"]
        else:
            down += edge["bandwidth"]
    return down, up


def of_kind(graph, kind):
    return [name for name, node in graph.nodes(data=True) if node["kind"] == kind]


def test_the_pod_does_not_block(pod):
    for leaf in of_kind(pod, "leaf_switch"):
        down, up = sides(pod, leaf)
        assert 0 < down <= up


def test_oversubscription_divides_the_uplinks(catalog, topology):
    racks = {"r": {"rack": "vera_rubin_nvl72", "count": 4}}
    graph = build_graph(topology(racks, oversubscription=4.0), catalog)
    ratios = [down / up for down, up in (sides(graph, n) for n in of_kind(graph, "leaf_switch"))]
    assert 3.0 < max(ratios) <= 4.0
    even = build_graph(topology(racks), catalog)
    assert len(of_kind(even, "spine_switch")) > len(of_kind(graph, "spine_switch"))


def test_switches_have_the_ports_that_they_use(pod):
    for switch in of_kind(pod, "leaf_switch") + of_kind(pod, "spine_switch"):
        node = pod.nodes[switch]
        assert node["ports"] == 64  # 64 x 1.6 Tb/s: hc26_spectrum
        lanes = sum(
            edge["links"] * lanes_of(edge["bandwidth"] / edge["links"], node["port_bandwidth"])
            for edge in pod.adj[switch].values()
        )
        assert lanes <= 8 * 64


def test_a_rail_has_leaves_of_its_own(pod):
    for leaf in of_kind(pod, "leaf_switch"):
        below = [n for n in pod.adj[leaf] if n.startswith("nvl72") and "/nic" in n]
        if below:
            assert len({n.rsplit("/", 1)[1] for n in below}) == 1
            assert len(below) == pod.degree(leaf) - len(of_kind(pod, "spine_switch"))


def test_switches_stand_in_the_network_racks(pod):
    switches = of_kind(pod, "leaf_switch") + of_kind(pod, "spine_switch")
    assert {pod.nodes[n]["rack"].split("/")[0] for n in switches} == {"spx"}
    assert len({pod.nodes[n]["tray"] for n in switches}) == len(switches)


def test_too_few_network_racks_are_refused(catalog, topology):
    racks = {"r": {"rack": "vera_rubin_nvl72", "count": 16}, "spx": {"rack": "spectrum6_spx"}}
    with pytest.raises(CapacityError, match=r"found 16 switches in 1 network racks, .* the \d+ "):
        build_graph(topology(racks), catalog)


def test_a_small_factory_has_one_leaf_and_no_spine(catalog, topology):
    graph = build_graph(topology({"x": {"rack": "x86_rack", "count": 2}}), catalog)
    assert len(of_kind(graph, "leaf_switch")) == 1
    assert of_kind(graph, "spine_switch") == []
    assert "door" in graph.adj["fabric/leaf00"]


def test_one_switch_for_too_many_ports_is_refused_with_the_sum(catalog, topology):
    """162 ports of 800 Gb/s are 81 of 1.6 Tb/s, and the door's makes 82."""
    racks = {"r": {"rack": "vera_rubin_nvl72"}}
    with pytest.raises(CapacityError, match=r"163 neighbours on 8[12]\.?\d* ports .* its 64 ports"):
        build_graph(topology(racks, kind="single_switch"), catalog)


def test_more_than_two_tiers_are_refused(catalog, topology):
    racks = {"r": {"rack": "vera_rubin_nvl72", "count": 40}}
    with pytest.raises(CapacityError, match=r"found 6,480 ports on \d+ leaves .* at most \d+ leav"):
        build_graph(topology(racks), catalog)


def test_without_a_fabric_the_door_reaches_every_chip_at_once(catalog, topology):
    graph = build_graph(topology({"r": {"rack": "hgx_h200"}}, kind="none"), catalog)
    chips = of_kind(graph, "gpu") + of_kind(graph, "cpu")
    assert set(graph.adj["door"]) == {"clients", *chips}
    assert {graph.edges["door", chip]["latency_s"] for chip in chips} == {0.0}


def test_a_latency_beyond_the_clock_is_refused(catalog, topology):
    spec = topology({"r": {"rack": "hgx_h200"}}, client_latency="1 year")
    with pytest.raises(CapacityError, match=r"fabric\.client_latency: found 3\.15576e\+07 s"):
        build_graph(spec, catalog)


def test_the_client_link_is_as_the_topology_says(catalog, topology):
    fabric = {"client_bandwidth": "400 Gb/s", "client_latency": "20 ms"}
    graph = build_graph(topology({"r": {"rack": "hgx_h200"}}, **fabric), catalog)
    assert graph.edges["clients", "door"]["bandwidth"] == 5e10
    assert graph.edges["clients", "door"]["latency_s"] == 0.02
