"""Where things stand in a picture: inside, apart, and as many as there are."""

from collections import Counter
from itertools import combinations, pairwise

import pytest

from factorysim.catalog import load_catalog
from factorysim.graph.build import build_graph
from factorysim.load import load_topology
from factorysim.report.factory_contents import KINDS
from factorysim.report.factory_elevation import elevation
from factorysim.report.factory_layout import NARROW, POOLS_MOST, WIDTH, Box, layout_factory
from factorysim.report.factory_shelves import RACKS_MOST
from factorysim.report.factory_words import width_of
from factorysim.resources import resource_names
from tests.unit.report.factories import add_rack, add_switch, empty, link, racks_of_one_gpu

SHIPPED = resource_names("topologies")
OWN = {
    "one rack": {"a": 1},
    "a pool of 60": {"a": 60},
    "many pools": {f"pool{k}": 1 + k for k in range(9)},
    "long names": {"a_pool_with_a_name_that_nobody_can_read_at_once": 3, "b" * 200: 2},
    "wide letters": {"工場" * 20: 4},
}


def build(name):
    if name in OWN:
        return racks_of_one_gpu(OWN[name])
    return build_graph(load_topology(name), load_catalog())


@pytest.fixture(scope="module", params=[*SHIPPED, *OWN])
def graph(request):
    return build(request.param)


@pytest.fixture(scope="module", params=[WIDTH, NARROW], ids=["wide", "narrow"])
def layout(graph, request):
    return layout_factory(graph, width=request.param)


def overlap(a, b):
    across = min(a.right, b.right) - max(a.left, b.left)
    down = min(a.bottom, b.bottom) - max(a.top, b.top)
    return across > 0.15 and down > 0.15


def written(text):
    """What a text takes at the most, letters that hang below their line left out."""
    wide = width_of(text.text, text.size)
    left = text.at[0] - (wide / 2 if text.centred else 0.0)
    return Box(left, text.at[1] - 0.75 * text.size, wide, 0.75 * text.size)


def boxes(layout):
    """All that may not lie on each other: pools, switches, the door."""
    return [
        layout.door,
        *(box for tier in layout.tiers for box in tier.boxes),
        *(place.box for place in layout.pools),
    ]


def test_no_two_boxes_overlap(layout):
    assert not [pair for pair in combinations(boxes(layout), 2) if overlap(*pair)]
    for place in layout.pools:
        racks = [rack.box for rack in place.racks]
        assert not [pair for pair in combinations(racks, 2) if overlap(*pair)]


def test_cells_of_a_rack_lie_in_it_side_by_side(layout):
    for rack in {id(r.cells): r for place in layout.pools for r in place.racks}.values():
        cells = [Box(c.left, c.top, c.width, c.height) for c in rack.cells]
        for one in cells:
            assert one.left >= 0
            assert one.top >= 0
            assert one.right <= rack.box.width + 0.1
            assert one.bottom <= rack.box.height + 0.1
        rows = {}
        for one in cells:
            rows.setdefault(one.top, []).append(one)
        for row in rows.values():
            assert not any(overlap(a, b) for a, b in pairwise(row))


def test_all_lies_on_the_sheet(layout):
    inside = [*boxes(layout), *map(written, layout.texts)]
    inside += [rack.box for place in layout.pools for rack in place.racks]
    for box in inside:
        assert box.left >= -0.1
        assert box.top >= 0
        assert box.right <= layout.width + 0.15
        assert box.bottom <= layout.height + 0.1
    for stroke in layout.strokes:
        for x, y in (point for line in stroke.lines for point in line):
            assert 0 <= x <= layout.width
            assert 0 <= y <= layout.height


def test_racks_lie_in_the_frame_of_their_pool(layout):
    for place in layout.pools:
        for rack in (rack.box for rack in place.racks):
            assert place.box.left < rack.left < rack.right < place.box.right
            assert place.box.top < rack.top < rack.bottom < place.box.bottom


def test_no_words_stand_on_words_or_on_racks(layout):
    texts = list(map(written, layout.texts))
    assert not [pair for pair in combinations(texts, 2) if overlap(*pair)]
    racks = [rack.box for place in layout.pools for rack in place.racks]
    switches = [box for tier in layout.tiers for box in tier.boxes]
    assert not [(a, b) for a in texts for b in racks + switches if overlap(a, b)]


def test_thick_lines_keep_off_the_words(layout):
    for stroke in (stroke for stroke in layout.strokes if stroke.width >= 2):
        for line in stroke.lines:
            for (x0, y0), (x1, y1) in pairwise(line):
                half = stroke.width / 2
                across = half if x0 == x1 else 0.0
                down = half if y0 == y1 else 0.0
                band = Box(min(x0, x1) - across, min(y0, y1) - down, abs(x1 - x0) + 2 * across,
                           abs(y1 - y0) + 2 * down)  # fmt: skip
                assert not [t.text for t in layout.texts if overlap(written(t), band)]


def test_as_many_chips_are_drawn_as_there_are(graph, layout):
    drawn = Counter()
    for rack in (rack for place in layout.pools for rack in place.racks):
        for cell in rack.cells:
            drawn[cell.part.kind] += cell.part.number * len(rack.rack.names)
    fabric = {"leaf_switch", "spine_switch"}
    there = Counter(
        node["kind"]
        for _, node in graph.nodes(data=True)
        if node["kind"] in set(KINDS) - fabric
        and (node["kind"] != "scale_up_switch" or "tray" in node)
    )
    assert {kind: n for kind, n in drawn.items() if kind and kind not in fabric} == there
    for tier in fabric:
        assert layout.contents.number(tier) == len(layout.contents.switches[tier])


def test_the_same_graph_gives_the_same_layout(graph):
    assert layout_factory(graph) == layout_factory(graph)


def test_the_pod_fits_a_slide():
    layout = layout_factory(build("closed/vera-rubin-pod"))
    assert 1.5 < layout.width / layout.height < 2.4


def test_racks_of_a_pool_are_drawn_one_by_one_as_long_as_there_is_room():
    layout = layout_factory(racks_of_one_gpu({"a": RACKS_MOST}))
    assert len(layout.pools[0].racks) == RACKS_MOST
    layout = layout_factory(racks_of_one_gpu({"a": RACKS_MOST + 1}))
    assert [len(rack.rack.names) for rack in layout.pools[0].racks] == [RACKS_MOST + 1]
    assert f"x {RACKS_MOST + 1}" in [text.text for text in layout.texts]


def test_racks_and_pools_that_are_left_out_are_told():
    graph = empty()
    for k in range(60):
        add_rack(graph, f"a/{k}", "a", gpus=1 + k % 8, trays=1 + k // 8, to="door")
    layout = layout_factory(graph)
    assert len(layout.pools[0].racks) == RACKS_MOST
    assert "Not drawn: 12 racks of a." in layout.notes
    layout = layout_factory(racks_of_one_gpu({f"p{k}": 2 for k in range(POOLS_MOST + 3)}))
    assert "Not drawn: 3 more pools with 6 racks." in layout.notes


def test_a_row_of_racks_is_as_long_as_the_topology_says():
    graph = empty()
    for k in range(12):
        add_rack(graph, f"a/{k}", "a", to="door", per_row=4)
    lefts = {rack.box.left for rack in layout_factory(graph).pools[0].racks}
    assert len(lefts) == 4


def test_more_switches_than_have_room_share_boxes():
    graph = empty()
    add_rack(graph, "a/0", "a")
    for k in range(500):
        add_switch(graph, f"leaf{k}")
        link(graph, "a/0/t0/g0", f"leaf{k}")
    layout = layout_factory(graph, width=NARROW)
    assert len(layout.tiers[0].boxes) < 60
    assert any(text.text.endswith("a box") for text in layout.texts)


def test_chips_too_fine_to_see_are_one_bar_that_says_how_many():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=1000, trays=3, to="door")
    rack = layout_factory(graph).pools[0].racks[0]
    assert [cell.part.number for cell in rack.cells] == [1000] * 3
    graph = empty()
    add_rack(graph, "a/0", "a", trays=300, to="door")
    cells = elevation(layout_factory(graph).contents.pools[0].racks[0], 50.0)
    assert sum(cell.part.number for cell in cells) == 300
    assert len({cell.top for cell in cells}) <= 54


def test_a_door_that_hangs_below_the_spines_goes_past_them():
    graph = racks_of_one_gpu({"a": 1})
    add_switch(graph, "spine", "spine_switch")
    link(graph, "leaf", "spine")
    layout = layout_factory(graph)
    ways = [line for stroke in layout.strokes for line in stroke.lines if len(line) == 4]
    assert any(line[0][0] == layout.door.right for line in ways)


def test_only_switches_that_a_door_has_links_to_hang_on_it():
    graph = racks_of_one_gpu({"a": 1})
    add_switch(graph, "inner")
    link(graph, "leaf", "inner")
    layout = layout_factory(graph)
    tops = {box.middle: box.top for box in layout.tiers[0].boxes}
    ends = [line[-1] for stroke in layout.strokes for line in stroke.lines]
    assert [at for at, top in tops.items() if (at, top) in ends] == [next(iter(tops))]


def test_what_is_drawn_together_is_told():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=1000, to="door")
    assert "Chips that are too many to be told apart are one bar." in layout_factory(graph).notes
    add_rack(graph, "b/0", "b", trays=55, to="door")
    notes = layout_factory(graph).notes
    assert "In racks of more than 54 trays, neighbours share a row." in notes
