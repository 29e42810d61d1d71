"""Graphs of the user's own: those that run, and those that are refused with where and why."""

import json
import re

import pytest

from tests.acceptance.program import changed, factorysim
from tests.acceptance.refusal import refused, refused_run, write

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def graphml():
    return factorysim("show", "teaching/mm1", "--format", "graphml").out


@pytest.fixture(scope="module")
def node_link():
    return json.loads(factorysim("show", "teaching/mm1", "--format", "json").out)


def refused_graph(content, name="factory.graphml"):
    write(name, content)
    write("mine.yaml", f"schema: factorysim.topology/1\ngraph: {name}\n")
    told = refused_run(changed("teaching/mm1", "mine.yaml"))
    assert name in told
    assert refused("validate", "mine.yaml").endswith("in 1 file\n")
    return told


def test_a_graph_of_the_user_runs(graphml):
    write("factory.graphml", graphml)
    write("mine.yaml", "schema: factorysim.topology/1\ngraph: factory.graphml\n")
    write("case.yaml", changed("teaching/mm1", "mine.yaml"))
    assert factorysim("run", "case.yaml", "--workers", "1", "--quiet").code == 0


ENTITIES = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    "head",
    [
        f'<!DOCTYPE graphml [<!ENTITY l0 "lol">{ENTITIES}]>',
        '<!DOCTYPE graphml [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE graphml SYSTEM "http://127.0.0.1:9/graphml.dtd">',
    ],
    ids=["entity bomb", "external entity", "external DTD"],
)
def test_hostile_graphml_is_refused(head, graphml):
    body = graphml.partition("?>")[2].replace("factory<", "&l9;<" if "l9" in head else "factory<")
    told = refused_graph(f'<?xml version="1.0"?>{head}{body}')
    assert "without a DTD or entities" in told
    assert "root:" not in told


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: "", "no XML"),
        (lambda text: text[: len(text) // 2], "no XML"),
        (lambda text: text.replace("factory<", "\0<"), "no XML"),
        (lambda text: "<html/>", "<graphml>"),
        (lambda text: re.sub(r"<edge .*?</edge>", "", text, flags=re.S), "a connected graph"),
        (lambda text: text.replace(">125000000000.0<", ">-1<", 1), "bandwidth"),
        (lambda text: text.replace(">125000000000.0<", ">nan<", 1), "bandwidth"),
        (lambda text: text.replace(">h100_sxm<", ">h100_sxn<"), "h100_sxn"),
    ],
    ids=["empty", "cut", "control", "HTML", "disconnected", "negative", "NaN", "unknown"],
)
def test_a_bad_graphml_is_told(spoil, words, graphml):
    assert words in refused_graph(spoil(graphml))


def twice(graph):
    graph["nodes"].append(graph["nodes"][0])


def nowhere(graph):
    graph[edges_of(graph)][0]["target"] = "nowhere"


def strange(graph):
    graph["nodes"][-1]["kind"] = "warp drive"


def edges_of(graph):
    return "links" if "links" in graph else "edges"


@pytest.mark.parametrize(
    ("spoil", "words"), [(twice, "clients"), (nowhere, "nowhere"), (strange, "warp drive")]
)
def test_a_bad_node_link_graph_is_told(spoil, words, node_link):
    graph = json.loads(json.dumps(node_link))
    spoil(graph)
    assert words in refused_graph(json.dumps(graph), "factory.json")


@pytest.mark.parametrize("text", ["", '{"nodes": [', "[" * 100_000, "{}", "[]", "7"])
def test_what_is_no_node_link_graph_is_told(text):
    refused_graph(text, "factory.json")
