"""A factory's picture as markup: safe whatever names hold, coloured by what is known."""

import re
from types import SimpleNamespace

import pytest
from defusedxml.ElementTree import fromstring

from factorysim.catalog import load_catalog
from factorysim.graph.build import build_graph
from factorysim.graph.factory import compile_graph, end_name, link_name
from factorysim.load import load, load_topology
from factorysim.metrics.summary import Line
from factorysim.report.factory_contents import Busy, Part
from factorysim.report.factory_layout import NARROW, layout_factory
from factorysim.report.factory_loads import Loads, Use, edge_loads, loads_of_run, uses_in
from factorysim.report.factory_page import factory_svg
from factorysim.report.factory_plan import layout_of_plan
from factorysim.run.prepare import build_plan
from tests.unit.report.factories import add_rack, add_switch, empty, link, racks_of_one_gpu
from tests.unit.report.test_factory_figure import HOSTILE


def chats(*, gpus=4, name="a"):
    """A rack of GPUs of which half serve a chat."""
    graph = empty()
    add_rack(graph, f"{name}/0", name, gpus=gpus, to="door")
    uses = {f"{name}/0/t0/g{k}": "chat" for k in range(gpus // 2)}
    return layout_factory(graph, uses)


def titles(markup):
    return re.findall(r"<title>(.*?)</title>", markup)


def looks(markup):
    """Class -> title of what is drawn in racks."""
    found = re.findall(r'<use [^>]*class="([^"]*)"[^>]*><title>(.*?)</title>', markup)
    return dict(found)


def test_utilization_is_a_step_of_colour_and_a_number():
    markup = factory_svg(chats(), Loads(deployments={"chat": 0.42}))
    assert looks(markup) == {
        "f-u4": "a/0: 2 GPUs rtx_4090, chat, 42.0 %",
        "f-idle": "a/0: 2 GPUs rtx_4090, nothing is deployed there",
    }


def test_a_replica_that_is_busier_than_the_others_has_its_own_colour():
    graph = empty()
    add_rack(graph, "a/0", "a", gpus=2, to="door")
    uses = {"a/0/t0/g0": "chat", "a/0/t0/g1": "chat"}
    layout = layout_factory(graph, uses, Busy({"a/0/t0/g0": 1, "a/0/t0/g1": 7}, {}))
    loads = Loads(deployments={"chat": 0.45})
    assert looks(factory_svg(layout, loads)) == {
        "f-u1": "a/0: 1 GPU rtx_4090, chat, 10 to 20 % (all of it 45.0 %)",
        "f-u7": "a/0: 1 GPU rtx_4090, chat, 70 to 80 % (all of it 45.0 %)",
    }
    assert [use.load for use in uses_in(layout.contents, loads)] == [0.45]


def strokes(markup):
    """Title of lines -> class."""
    found = re.findall(r'<g class="f-stroke ([^"]*)"[^>]*><title>(.*?)</title>', markup)
    return {title: look for look, title in found}


def test_links_have_the_colour_of_the_busiest_and_say_how_busy():
    graph = racks_of_one_gpu({"a": 2})
    add_switch(graph, "spine", "spine_switch")
    link(graph, "leaf", "spine", 1600)
    by_link = {"a/0/t0/g0 -> leaf": 0.31, "leaf -> a/0/t0/g0": 0.64, "a/1/t0/g0 -> leaf": 0.02}
    busy = Busy({}, edge_loads(graph, by_link))
    drawn = strokes(factory_svg(layout_factory(graph, {}, busy), Loads()))
    assert drawn["a: 2 links, 200 Gb/s; the busiest at 64.0 %"] == "f-l6"
    assert drawn["1 link, 1.6 Tb/s"] == "f-uncrossed"
    plain = factory_svg(layout_factory(graph, {}, busy))
    assert "the busiest" not in plain
    assert 'class="f-case"' not in plain


def test_interchangeable_switches_share_what_the_first_of_them_stands_for():
    graph = racks_of_one_gpu({"a": 1})
    for k in range(2):
        add_switch(graph, f"spine{k}", "spine_switch")
        link(graph, "leaf", f"spine{k}", 1600)
    found = edge_loads(graph, {"leaf -> spine0 x2": 0.25})
    assert {frozenset(edge): load for edge, load in found.items()} == {
        frozenset({"leaf", "spine0"}): 0.25,
        frozenset({"leaf", "spine1"}): 0.25,
    }


def test_links_whose_ends_read_alike_are_told_apart():
    """As a run names them, nodes may be called anything: "P -> Q" and "R", or "P" and "Q -> R"."""
    graph = empty()
    edges = (("P -> Q", "R"), ("P", "Q -> R"))
    for name in (name for edge in edges for name in edge):
        add_switch(graph, name)
    for edge in edges:
        link(graph, *edge)
    names = compile_graph(graph).links.names
    by_link = {name: 0.1 * number for number, name in enumerate(names)}
    found = {frozenset(edge): load for edge, load in edge_loads(graph, by_link).items()}
    for a, b in edges:
        there, back = (names.index(link_name(*map(end_name, ends))) for ends in ((a, b), (b, a)))
        assert found[frozenset((a, b))] == 0.1 * max(there, back)
    assert found[frozenset(edges[0])] != found[frozenset(edges[1])]


def test_what_is_not_known_is_hatched_and_never_zero():
    markup = factory_svg(chats(), Loads(pools={"a": None}))
    assert "f-u0" not in looks(markup)
    assert titles(markup)[1:] == [
        "a/0: 2 GPUs rtx_4090, chat, not known",
        "a/0: 2 GPUs rtx_4090, nothing is deployed there",
    ]
    assert markup.count('fill="url(#factory-hatch)"') == 2


def test_zero_is_known():
    assert looks(factory_svg(chats(), Loads(pools={"a": 0.0})))["f-u0"].endswith("0.0 %")


def test_without_loads_colours_are_kinds():
    assert set(looks(factory_svg(chats()))) == {"f-gpu", "f-gpu f-pale"}
    assert "f-u9" not in factory_svg(chats())


def test_a_class_of_utilization_means_nothing_else():
    """With loads, nothing is coloured by kind; without them, nothing by utilization."""
    kinds = {f"f-{kind}" for kind in ("gpu", "cpu", "nic", "dpu", "lpu", "leaf_switch")}
    layout = layout_factory(build_graph(load_topology("closed/vera-rubin-nvl72"), load_catalog()))
    used = set(
        re.findall(r'class="(f-[a-z0-9_]+)', factory_svg(layout, Loads(pools={"nvl72": 0.5})))
    )
    assert not used & kinds
    assert "f-u5" in used
    plain = set(re.findall(r'class="(f-[a-z0-9_]+)', factory_svg(layout)))
    assert not any(re.fullmatch(r"f-u\d", look) for look in plain)


def test_what_is_nearer_goes_first():
    part = Part("gpu", "x", "a", "chat", 1)
    loads = Loads(deployments={"chat": 0.1}, racks={"a/0": 0.2, "a/1": 0.4}, pools={"a": 0.9})
    assert loads.of(part, ["a/0"], deployed=True) == 0.1
    other = part._replace(use="code")
    assert loads.of(other, ["a/0", "a/1"], deployed=True) == pytest.approx(0.3)
    assert loads.of(other, ["a/2"], deployed=True) == 0.9
    assert loads.of(part._replace(use=""), ["a/0"], deployed=True) is None
    assert loads.of(part._replace(pool=""), ["a/0"], deployed=True) is None


def test_tools_beside_serving_have_a_load_of_their_own():
    plan = SimpleNamespace(
        serve=[SimpleNamespace(pool="cpu", name="chat")],
        tools=[SimpleNamespace(pool="cpu", name="tools"), SimpleNamespace(pool="x86", name="more")],
    )
    summary = {
        f"utilization.{name}": Line(value, None, None, 1, None)
        for name, value in (("cpu", 0.9), ("cpu.tools", 0.2), ("x86", None))
    }
    loads = loads_of_run(summary, {"chat": 0.8}, plan)
    assert loads.deployments == {"chat": 0.8, "tools": 0.2, "more": None}


def test_the_table_says_the_same():
    layout, loads = chats(), Loads(deployments={"chat": 0.42})
    assert uses_in(layout.contents, loads) == [
        Use("chat", "a", "gpu", "rtx_4090", 2, 0.42),
        Use("", "a", "gpu", "rtx_4090", 2, None),
    ]
    markup = factory_svg(layout, loads)
    assert '<td>2 GPUs rtx_4090</td><td class="id">chat</td><td class="n">42.0 %</td>' in markup
    assert '<td>2 GPUs rtx_4090</td><td class="id">none</td><td class="n"></td>' in markup


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_words_and_nothing_more(name):
    graph = empty()
    add_rack(graph, f"{name}/0", name, model=name, gpus=2, to="door")
    layout = layout_factory(graph, {f"{name}/0/t0/g0": name})
    markup = factory_svg(layout, Loads(pools={name: 0.5}), name=name, label=name, narrow=layout)
    assert "<script" not in markup
    assert not {"\x1b", "\u202e"} & set(markup)
    fromstring(f"<p>{markup}</p>")


def test_nothing_is_styled_past_the_policy_of_the_page():
    markup = factory_svg(chats(), Loads(pools={"a": 0.5}), narrow=chats())
    assert "style=" not in markup
    assert "<style" not in markup
    assert not re.search(r"\son\w+=", markup)


def test_a_telephone_gets_a_sheet_of_its_own_with_ids_of_its_own():
    graph = build_graph(load_topology("closed/vera-rubin-pod"), load_catalog())
    wide, narrow = layout_factory(graph), layout_factory(graph, width=NARROW)
    markup = factory_svg(wide, narrow=narrow)
    ids = re.findall(r' id="([^"]*)"', markup)
    assert len(ids) == len(set(ids))
    used = re.findall(r'href="#([^"]*)"', markup)
    assert set(used) <= set(ids)
    assert len(markup) < 150_000
    assert factory_svg(wide, narrow=narrow) == markup


def test_a_drawing_has_a_role_and_says_what_it_is():
    markup = factory_svg(chats(), Loads(pools={"a": 0.5}), label="Factory A")
    assert 'role="img" aria-label="Factory A, coloured by utilization. 1 rack: 4 GPUs."' in markup


def test_tools_in_a_cloud_are_said_not_to_be_drawn():
    scenario = load("idle-silicon", ["deployments.tools.pool=cloud"])
    catalog = load_catalog()
    layout = layout_of_plan(build_plan(scenario, catalog), scenario.topology, catalog)
    assert "Not drawn: the cloud that tools runs in." in layout.notes
