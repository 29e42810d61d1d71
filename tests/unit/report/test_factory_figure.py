"""A factory's picture as a file: which words are in it, the same bytes, whatever names hold."""

import re
import struct
import warnings

import pytest

from factorysim.catalog import load_catalog
from factorysim.graph.build import build_graph
from factorysim.load import load, load_topology
from factorysim.report.factory_figure import (
    COLOURS,
    PALE,
    draw_factory,
    factory_bytes,
    legend_of,
)
from factorysim.report.factory_layout import layout_factory
from factorysim.report.factory_plan import layout_of_plan
from factorysim.run.prepare import build_plan
from tests.unit.report.factories import add_rack, empty, racks_of_one_gpu

HOSTILE = [
    "</script><script>alert(1)</script>",
    "$\\frac{1}{",
    "\x1b[31mred",
    "[bold]--><!--",
    "\u202egnp.exe",
    "工場 🏭",
    "a\nb",
]


def size(png):
    """Width and height from the header of a PNG."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def words(layout, **options):
    """Texts of a picture: matplotlib writes each beside its outlines."""
    return re.findall(
        r"<!-- (.*?) -->", factory_bytes(layout, "svg", **options).decode(), re.DOTALL
    )


@pytest.fixture(scope="module")
def laptop():
    return layout_factory(build_graph(load_topology("open/laptop"), load_catalog()))


def test_a_laptop_is_named_from_the_door_to_its_chips(laptop):
    told = set(words(laptop, title="open/laptop"))
    assert {"open/laptop", "1 rack: 1 GPU, 1 CPU"} <= told
    assert {"door to the clients, 1 Tb/s", "no network between", "laptop"} <= told
    assert {"1 GPU (apple_m4_max)", "1 NIC (nic_10g)"} <= told


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_layout_gives_the_same_bytes(laptop, kind, tmp_path):
    first = factory_bytes(laptop, kind)
    assert factory_bytes(laptop, kind) == first
    assert factory_bytes(laptop, kind, title="Another") != first
    draw_factory(laptop, tmp_path / f"it.{kind}")
    assert (tmp_path / f"it.{kind}").read_bytes() == first


def test_what_a_user_has_set_for_matplotlib_changes_nothing(laptop):
    import matplotlib as mpl

    first = factory_bytes(laptop, "png")
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "red", "text.usetex": True}):
        assert factory_bytes(laptop, "png") == first


def test_a_picture_is_as_large_as_it_says(laptop):
    wide, high = size(factory_bytes(laptop, "png"))
    assert 900 < wide < 2600
    assert 400 < high < 2000


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_words_and_nothing_more(name):
    graph = empty()
    add_rack(graph, f"{name}/0", name, model=name, gpus=2, to="door")
    layout = layout_factory(graph, {f"{name}/0/t0/g0": name})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("png", "pdf"):
            assert factory_bytes(layout, kind, title=name)
        svg = factory_bytes(layout, "svg", title=name).decode()
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert "\u202e" not in svg
    from defusedxml.ElementTree import fromstring

    fromstring(svg)


def test_the_legend_counts_each_kind_and_its_devices():
    graph = build_graph(load_topology("open/hgx-h200"), load_catalog())
    told = [entry.text for entry in legend_of(layout_factory(graph).contents)]
    assert told[:3] == [
        "64 GPUs (h200_sxm)",
        "48 CPUs (epyc_9755, epyc_9965)",
        "80 NICs (nic_400g, nic_200g)",
    ]


def test_what_a_scenario_leaves_idle_is_pale_and_told():
    scenario = load("quickstart")
    catalog = load_catalog()
    plan = build_plan(scenario, catalog)
    layout = layout_of_plan(plan, scenario.topology, catalog)
    told = words(layout)
    assert "Deployed as serve: 8 of 72 GPUs (nvl72)." in " ".join(told)
    assert "pale: nothing is deployed there" in told
    assert PALE["gpu"].lower() in factory_bytes(layout, "svg").decode()


def test_colours_of_kinds_are_all_different():
    used = [colour.lower() for colour in (*COLOURS.values(), *PALE.values())]
    assert len(set(used)) == len(used)


def test_more_deployments_than_have_room_are_counted():
    graph = racks_of_one_gpu({"a": 20})
    layout = layout_factory(graph, {f"a/{k}/t0/g0": f"chat{k}" for k in range(20)})
    assert "And 8 deployments more." in words(layout)
