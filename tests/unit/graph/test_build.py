from collections import Counter

import networkx as nx
import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.build import build_graph
from factorysim.graph.schema import CONTAINERS, REFERENCES


def count(graph, **wanted):
    return sum(
        all(node.get(key) == value for key, value in wanted.items())
        for _, node in graph.nodes(data=True)
    )


def bandwidth(graph, node, kind):
    return sum(edge["bandwidth"] for edge in graph.adj[node].values() if edge["kind"] == kind)


def test_the_pod_holds_what_is_published(pod):
    """40 racks, 1,152 GPUs, 576 host and 512 stand-alone Vera CPUs: nv_pod_blog, viks."""
    assert sum("model" in node for _, node in pod.nodes(data=True)) == 40
    assert count(pod, kind="gpu", device="rubin_gpu", pool="nvl72") == 1152
    assert count(pod, kind="cpu", device="vera", pool="nvl72.cpu") == 576
    assert count(pod, kind="cpu", device="vera", pool="vera_cpu") == 512
    assert count(pod, kind="lpu", device="groq3_lpu", pool="lpx") == 2560
    assert count(pod, kind="scale_up_switch", device="nvlink6_switch") == 16 * 36
    assert count(pod, kind="nic", device="connectx9", rack="nvl72/3") == 144
    assert count(pod, kind="dpu", device="bluefield4", rack="nvl72/3") == 18
    assert count(pod, kind="storage", pool="cmx") == 2 * 16


def test_the_pod_has_all_seven_chips(pod):
    chips = {"rubin_gpu", "vera", "nvlink6_switch", "connectx9", "bluefield4", "spectrum6"}
    assert chips | {"groq3_lpu"} <= {node.get("device") for _, node in pod.nodes(data=True)}


def test_a_compute_tray_of_nvl72_has_its_chips(nvl72):
    """4 GPUs, 2 CPUs, 8 ConnectX-9 and a BlueField-4 each; 9 trays of 4 switches: nv_pod_blog."""
    trays = Counter(
        (node["tray"], node["kind"]) for _, node in nvl72.nodes(data=True) if "tray" in node
    )
    compute = {tray for tray, kind in trays if kind == "gpu"}
    assert len(compute) == 18
    for tray in compute:
        assert [trays[tray, kind] for kind in ("gpu", "cpu", "nic", "dpu")] == [4, 2, 8, 1]
    switches = [n for (_, kind), n in trays.items() if kind == "scale_up_switch"]
    assert switches == [4] * 9


def test_a_rubin_gpu_has_its_published_links(nvl72):
    """3.6 TB/s of NVLink both ways and 1.6 Tb/s of Ethernet: hc26_rubin, hc26_bf4."""
    gpus = [n for n, node in nvl72.nodes(data=True) if node["kind"] == "gpu"]
    for gpu in gpus:
        assert bandwidth(nvl72, gpu, "scale_up") == pytest.approx(1.8e12)
        nics = [other for other in nvl72.adj[gpu] if nvl72.nodes[other]["kind"] == "nic"]
        assert sum(bandwidth(nvl72, nic, "scale_out") for nic in nics) == pytest.approx(2e11)
    both_ways = 2 * sum(bandwidth(nvl72, gpu, "scale_up") for gpu in gpus)
    assert both_ways == pytest.approx(260e12, rel=0.005)  # nv_vr_datasheet, rounded


def test_nvlink_chips_are_wired_to_their_capacity(nvl72):
    """28.8 TB/s both ways a tray of four: nv_rubin_chips_blog."""
    for name, node in nvl72.nodes(data=True):
        if node["kind"] == "scale_up_switch":
            assert bandwidth(nvl72, name, "scale_up") == pytest.approx(28.8e12 / 4 / 2)
            assert nvl72.degree(name) == 72


def test_two_gpus_share_the_c2c_of_their_cpu(nvl72):
    """900 GB/s per direction and superchip of two GPUs: hc26_vera."""
    cpus = [n for n, node in nvl72.nodes(data=True) if node["kind"] == "cpu"]
    assert {bandwidth(nvl72, cpu, "c2c") for cpu in cpus} == {9e11}


def test_lpus_reach_the_network_through_their_tray(pod):
    lpus = [n for n, node in pod.nodes(data=True) if node.get("tray") == "lpx/4/t31"]
    kinds = Counter(pod.nodes[n]["kind"] for n in lpus)
    assert kinds == {"lpu": 8, "cpu": 1, "nic": 1}
    nic = next(n for n in lpus if pod.nodes[n]["kind"] == "nic")
    assert bandwidth(pod, nic, "scale_out") == 1e11
    assert bandwidth(pod, "lpx/4/t31/lpu0", "scale_up") == pytest.approx(1.25e12)


def test_amd_boards_are_meshes(catalog, topology):
    graph = build_graph(topology({"amd": {"rack": "mi355x_8"}}), catalog)
    pairs = [edge for *_, edge in graph.edges(data=True) if edge["kind"] == "scale_up"]
    assert len(pairs) == 8 * 7 / 2
    assert bandwidth(graph, "amd/0/t00/gpu0", "scale_up") == pytest.approx(5.76e11)


def test_a_variant_changes_the_links(catalog, topology):
    graph = build_graph(topology({"r": {"rack": "vera_rubin_nvl72"}}, variant="maxlps"), catalog)
    assert bandwidth(graph, "r/0/t00/gpu0", "scale_up") == pytest.approx(1.5e12)
    assert graph.nodes["r/0"]["power_w"] == 230e3
    graph = build_graph(topology({"r": {"rack": "vera_rubin_nvl72"}}, variant="max_q"), catalog)
    assert graph.nodes["r/0"]["power_w"] == 190e3


def test_power_and_failure_lead_to_rack_and_site(pod):
    for name, node in pod.nodes(data=True):
        for attribute in REFERENCES:
            assert node.get(attribute, name) in pod
        way = [name]
        while "power_parent" in pod.nodes[way[-1]]:
            way.append(pod.nodes[way[-1]]["power_parent"])
        if node["kind"] != "clients":
            assert way[-1] == "site"
        if "rack" in node:
            assert node["rack"] in way
            assert pod.nodes[node["rack"]]["kind"] == "rack"


def test_what_carries_bytes_is_connected_and_containers_are_apart(pod):
    linked = [n for n, node in pod.nodes(data=True) if node["kind"] not in CONTAINERS]
    assert nx.is_connected(pod.subgraph(linked))
    assert all(pod.degree(n) == 0 for n, node in pod.nodes(data=True) if node["kind"] in CONTAINERS)


def test_storage_holds_the_flash_of_its_rack(pod):
    boxes = [node["memory_bytes"] for _, node in pod.nodes(data=True) if node["kind"] == "storage"]
    assert sum(boxes) == pytest.approx(2 * 1e16)


def test_the_same_topology_gives_the_same_graph(catalog, shipped):
    one, two = (build_graph(shipped("open/hgx-h200"), catalog) for _ in range(2))
    assert list(one.nodes(data=True)) == list(two.nodes(data=True))
    assert list(one.edges(data=True)) == list(two.edges(data=True))


def test_facts_name_racks_devices_and_switches(nvl72):
    facts = nvl72.graph["facts"].split()
    assert facts == sorted(set(facts))
    roots = {fact.rsplit(".", 1)[0] for fact in facts}
    assert {"accelerators.rubin_gpu", "cpus.vera", "network.spectrum6"} <= roots
    assert {"racks.vera_rubin_nvl72", "network.nvlink6_switch", "network.connectx9"} <= roots


def test_a_laptop_is_its_own_host(catalog, shipped):
    graph = build_graph(shipped("open/laptop"), catalog)
    assert graph.nodes["laptop/0/t00/gpu0"]["device"] == "apple_m4_max"
    assert graph.nodes["laptop/0/t00/cpu0"]["device"] == "apple_m4_max"


def test_a_pod_is_not_a_rack(catalog, topology):
    with pytest.raises(CapacityError, match=r"racks\.all: found the pod .*\n.*16 x vera_rubin_nvl"):
        build_graph(topology({"all": {"rack": "vera_rubin_pod"}}), catalog)


def test_an_unknown_rack_gets_a_suggestion(catalog, topology):
    with pytest.raises(SpecError, match="vera_rubin_nvl72"):
        build_graph(topology({"r": {"rack": "vera_rubin_nvl27"}}), catalog)


@pytest.mark.parametrize(
    ("racks", "told"),
    [
        ({}, "found no rack"),
        ({"spx": {"rack": "spectrum6_spx"}}, "no GPU, LPU or CPU"),
        ({"r": {"rack": "vera_rubin_nvl72", "count": 100_000}}, "33,5.*at most 2,000,000"),
    ],
)
def test_a_topology_that_cannot_be_is_refused(catalog, topology, racks, told):
    with pytest.raises(CapacityError, match=told):
        build_graph(topology(racks), catalog)
