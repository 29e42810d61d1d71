"""What a picture shows of a graph, counted by hand."""

import pytest

from factorysim.report.factory_contents import (
    RACKS_MOST,
    Bundle,
    Busy,
    Part,
    read_contents,
    summary_of,
)
from tests.unit.report.factories import BITS, add_rack, add_switch, empty, link, racks_of_one_gpu


def test_racks_stand_by_pool_and_equal_ones_together():
    contents = read_contents(racks_of_one_gpu({"a": 3, "b": 1}))
    assert [(pool.name, pool.size) for pool in contents.pools] == [("a", 3), ("b", 1)]
    assert contents.pools[0].racks[0].names == ("a/0", "a/1", "a/2")
    assert summary_of(contents) == "4 racks: 4 GPUs"


def test_racks_of_one_pool_that_differ_stay_apart():
    graph = racks_of_one_gpu({"a": 2})
    add_rack(graph, "a/2", "a", gpus=4, to="leaf")
    racks = read_contents(graph).pools[0].racks
    assert [rack.names for rack in racks] == [("a/0", "a/1"), ("a/2",)]


def test_what_a_deployment_runs_on_is_told_from_what_idles():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=4, to="door")
    contents = read_contents(graph, {"a/0/t0/g0": "chat", "a/0/t0/g3": "chat"})
    assert contents.deployed
    assert contents.pools[0].racks[0].trays == (
        (Part("gpu", "rtx_4090", "a", "chat", 2), Part("gpu", "rtx_4090", "a", "", 2)),
    )


def test_links_to_a_tier_are_one_bundle():
    contents = read_contents(racks_of_one_gpu({"a": 5}))
    assert contents.pools[0].uplinks == {"leaf_switch": Bundle(5, 500 * BITS)}
    assert contents.door_links == {"leaf_switch": Bundle(1, 400 * BITS)}
    assert contents.client_bandwidth == 800 * BITS


def test_links_of_clients_are_no_network():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=2, to="door")
    assert read_contents(graph).pools[0].uplinks == {"door": Bundle(2, 200 * BITS, modelled=False)}


def test_spines_and_leaves_are_paired_whichever_end_comes_first():
    graph = racks_of_one_gpu({"a": 1})
    add_switch(graph, "spine", "spine_switch")
    link(graph, "leaf", "spine", 1600)
    assert read_contents(graph).pairs == {("spine", "leaf"): Bundle(1, 1600 * BITS)}


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("a/0/t0/g0", "a/1/t0/g0", "1 link from rack to rack past all switches, 400 Gb/s"),
        ("a/0/t0/g0", "a/0/t0/g1", "1 link inside racks"),
        ("leaf", "other", "1 link among leaf switches, 400 Gb/s"),
    ],
)
def test_links_that_are_not_drawn_are_told(a, b, told):
    graph = empty()
    add_switch(graph, "leaf")
    add_switch(graph, "other")
    for k in range(2):
        add_rack(graph, f"a/{k}", "a", gpus=2, to="leaf")
    assert not any("Not drawn" in note for note in read_contents(graph).notes)
    link(graph, a, b)
    assert any(note.startswith(f"Not drawn: {told}") for note in read_contents(graph).notes)


def test_a_rack_that_names_no_pool_has_that_of_its_first_chip():
    graph = racks_of_one_gpu({"a": 1})
    del graph.nodes["a/0"]["pool"]
    assert [pool.name for pool in read_contents(graph).pools] == ["a"]


def test_chips_that_were_not_as_busy_are_told_apart_the_busiest_first():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=4, to="door")
    nodes = [f"a/0/t0/g{k}" for k in range(4)]
    uses = dict.fromkeys(nodes[:3], "chat")
    contents = read_contents(graph, uses, Busy({nodes[0]: 2, nodes[1]: 9, nodes[2]: 2}, {}))
    gpu = Part("gpu", "rtx_4090", "a", "chat", 1)
    assert contents.pools[0].racks[0].trays == (
        (gpu._replace(step=9), gpu._replace(number=2, step=2), gpu._replace(use="")),
    )


@pytest.mark.parametrize(("racks", "kinds"), [(RACKS_MOST, 2), (RACKS_MOST + 1, 1)])
def test_racks_that_are_drawn_once_for_many_are_alike_however_busy(racks, kinds):
    busy = Busy({"a/7/t0/g0": 9}, {})
    graph = racks_of_one_gpu({"a": racks, "few": 2})
    seen = read_contents(graph, {}, busy)
    assert len(seen.pools[0].racks) == kinds
    told = [note for note in seen.notes if "deployment's mean" in note]
    assert [note.partition(":")[0] for note in told] == ["a"] * (kinds == 1)
    assert not any("mean" in note for note in read_contents(graph, {}).notes)


def test_a_bundle_is_as_busy_as_its_busiest_link():
    graph = racks_of_one_gpu({"a": 3})
    ends = [(a, b) for a, b in graph.edges if "leaf" in (a, b) and "door" not in (a, b)]
    assert len(ends) == 3
    contents = read_contents(graph, {}, Busy({}, {ends[0]: 0.2, ends[2]: 0.7}))
    assert contents.pools[0].uplinks["leaf_switch"].load == 0.7
    assert contents.door_links["leaf_switch"].load is None
