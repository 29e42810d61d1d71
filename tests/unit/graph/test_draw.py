import struct

import networkx as nx
import pytest

from factorysim.errors import OutputError
from factorysim.graph.build import build_graph
from factorysim.graph.draw import draw_bytes, draw_png
from factorysim.graph.factory import compile_graph


def size(png):
    """Width and height from the header of a PNG."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize(
    "name", ["closed/vera-rubin-nvl72", "open/hgx-h200", "open/laptop", "teaching/one-gpu"]
)
def test_shipped_topologies_are_drawn(catalog, shipped, name):
    width, height = size(draw_bytes(build_graph(shipped(name), catalog)))
    assert 1000 < width < 3000
    assert 500 < height < 3000


def test_the_pod_fits_a_slide(pod):
    width, height = size(draw_bytes(pod))
    assert 1.3 < width / height < 2.4


def test_the_same_graph_gives_the_same_bytes(nvl72):
    assert draw_bytes(nvl72) == draw_bytes(nvl72)
    assert draw_bytes(nvl72) != draw_bytes(nvl72, title="Another")


def test_a_dollar_starts_no_formula(nvl72):
    size(draw_bytes(nvl72, title="Which has the least $ per task, and $\\frac{?"))


def test_a_pool_of_many_racks_is_cut_and_drawn(catalog, topology):
    graph = build_graph(topology({"x": {"rack": "x86_rack", "count": 60, "per_row": 8}}), catalog)
    assert len(compile_graph(graph).of_kind("rack")) == 61
    size(draw_bytes(graph))


def test_a_users_own_graph_is_drawn():
    graph = nx.Graph()
    graph.add_node("me", kind="clients")
    graph.add_node("site", kind="site")
    graph.add_node("box", kind="rack", power_parent="site", pool="mine")
    for k in range(3):
        place = {"rack": "box", "power_parent": "box"}
        graph.add_node(f"g{k}", kind="gpu", device="rtx_4090", pool="mine", **place)
        graph.add_edge("me", f"g{k}", kind="client", bandwidth=1e9, latency_s=0.0)
    size(draw_bytes(graph))


def test_a_place_that_cannot_be_written_is_told(nvl72, tmp_path):
    draw_png(nvl72, tmp_path / "rack.png")
    assert (tmp_path / "rack.png").stat().st_size > 10_000
    with pytest.raises(OutputError, match=r"none/rack\.png"):
        draw_png(nvl72, tmp_path / "none" / "rack.png")
