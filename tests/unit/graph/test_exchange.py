import json

import networkx as nx
import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.build import build_graph
from factorysim.graph.check import check_graph
from factorysim.graph.exchange import (
    import_graph,
    read_graphml,
    read_node_link,
    write_graphml,
    write_node_link,
)
from factorysim.graph.planning import plan_factory

HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'


def minimal():
    """The smallest factory: one GPU, and clients at its door."""
    return {
        "nodes": [
            {"id": "c", "kind": "clients"},
            {"id": "s", "kind": "site"},
            {"id": "d", "kind": "door", "power_parent": "s"},
            {"id": "r", "kind": "rack", "power_parent": "s"},
            {
                "id": "g",
                "kind": "gpu",
                "device": "h100_sxm",
                "pool": "p",
                "rack": "r",
                "power_parent": "r",
            },
        ],
        "edges": [
            {"source": "c", "target": "d", "kind": "client", "bandwidth": 1e9, "latency_s": 0.01},
            {"source": "d", "target": "g", "kind": "client", "bandwidth": 1e9, "latency_s": 0},
        ],
    }


def checked(document, catalog):
    text = json.dumps(document).replace("Infinity", "1e999")
    graph = read_node_link(text.encode(), "own.json")
    check_graph(graph, catalog, "own.json")
    return graph


@pytest.mark.parametrize("name", ["closed/vera-rubin-nvl72", "open/mi355x", "open/laptop"])
@pytest.mark.parametrize(
    ("write", "read"), [(write_graphml, read_graphml), (write_node_link, read_node_link)]
)
def test_what_is_written_reads_back_equal(catalog, shipped, name, write, read):
    graph = build_graph(shipped(name), catalog)
    again = read(write(graph).encode(), "file")
    assert list(again.nodes(data=True)) == list(graph.nodes(data=True))
    assert nx.utils.graphs_equal(again, graph)
    assert again.graph == graph.graph
    assert write(again) == write(graph)
    check_graph(again, catalog, "file")


def test_networkx_reads_what_we_write(nvl72):
    theirs = nx.parse_graphml(write_graphml(nvl72))
    assert dict(theirs.nodes(data=True)) == dict(nvl72.nodes(data=True))
    assert theirs.adj == nvl72.adj
    theirs = nx.node_link_graph(json.loads(write_node_link(nvl72)), edges="edges")
    assert nx.utils.graphs_equal(theirs, nvl72)


def test_we_read_what_networkx_writes(nvl72):
    text = "\n".join(nx.generate_graphml(nvl72))
    assert nx.utils.graphs_equal(read_graphml(text.encode(), "x"), nvl72)
    text = json.dumps(nx.node_link_data(nvl72, edges="links"))
    assert nx.utils.graphs_equal(read_node_link(text.encode(), "x"), nvl72)


def test_a_users_own_graph_is_planned_on(catalog, topology, scenario, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(minimal()))
    spec = topology({}, graph=str(path))
    plan = plan_factory(scenario({"a": {"llm": "chat", "pool": "p"}}), spec, catalog)
    assert len(plan.serve[0].replicas) == 1
    assert plan.serve[0].replicas[0].latency_fs == 10**13
    assert plan.clients == 0
    assert "accelerators.h100_sxm.memory_bandwidth" in plan.facts


def test_the_memory_at_a_node_goes_before_the_catalogs(catalog, topology, scenario, tmp_path):
    document = minimal()
    document["nodes"][-1]["memory_bytes"] = 40e9
    path = tmp_path / "own.json"
    path.write_text(json.dumps(document))
    spec = scenario({"a": {"llm": "chat", "pool": "p"}})
    plan = plan_factory(spec, topology({}, graph=str(path)), catalog)
    assert plan.serve[0].device.memory_bytes == 40e9


@pytest.mark.parametrize(
    "attack",
    [
        '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + HEAD + "&b;</graphml>",
        '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + HEAD + "&x;</graphml>",
        '<!DOCTYPE graphml SYSTEM "http://example.org/g.dtd">' + HEAD + "</graphml>",
    ],
)
def test_hostile_graphml_is_refused(attack):
    with pytest.raises(SpecError, match="GraphML without a DTD or entities"):
        read_graphml(attack.encode(), "evil.graphml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no XML"),
        ("<a", "no XML"),
        ("\x00\x01", "no XML"),
        ("<a/>", "found <a>, expected <graphml>"),
        (f"{HEAD}</graphml>", "with a <graph>"),
        (f'{HEAD}<graph edgedefault="undirected"/></graphml>', "nodes: found none"),
        (f'{HEAD}<graph edgedefault="directed"><node id="a"/></graph></graphml>', "'undirected'"),
        (f'{HEAD}<graph><node id="a"/><node id="a"/></graph></graphml>', "'a' a second time"),
        (f"{HEAD}<graph><node/></graph></graphml>", r"node 0\.id: found None"),
        (f'{HEAD}<graph><edge source="a" target="b"/></graph></graphml>', "found 'a', 'b'"),
        (f'{HEAD}<graph><hyperedge/><node id="a"/></graph></graphml>', "found <hyperedge>"),
        (
            f'{HEAD}<key id="k" attr.name="bandwidth" attr.type="double"/><graph>'
            '<node id="a"><data key="k">wide</data></node></graph></graphml>',
            r"a\.bandwidth: found 'wide', expected a double",
        ),
        (
            f'{HEAD}<key id="k" attr.name="bandwidth" attr.type="double"/><graph>'
            '<node id="a"><data key="k">nan</data></node></graph></graphml>',
            "found 'nan'",
        ),
        (f'{HEAD}<key id="k" attr.type="code"/><graph><node id="a"/></graph></graphml>', "'code'"),
        (f'{HEAD}<graph><node id="a"><data key="q">1</data></node></graph></graphml>', "key 'q'"),
    ],
)
def test_graphml_that_is_wrong_is_told(text, told):
    with pytest.raises(SpecError, match=told):
        read_graphml(text.encode(), "x.graphml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "found a list"),
        (b'{"nodes": 3, "edges": []}', "nodes: found int"),
        (b'{"nodes": [3], "edges": []}', r"nodes\.0: found 3"),
        (b'{"nodes": [{"id": "a", "bandwidth": NaN}], "edges": []}', "NaN is no number"),
        (b'{"directed": true, "nodes": [{"id": "a"}], "edges": []}', "directed: found True"),
        (b'{"nodes": [{"id": null}], "edges": []}', r"nodes\.0\.id: found None"),
        (b'{"nodes": [{"id": "\\u001b"}], "edges": []}', r"nodes\.0\.id: found '.x1b'"),
        (b'{"nodes": [], "edges": [], "graph": {"a": {}}}', r"graph: found .*, expected an object"),
        (b'{"nodes": [], "edges": [], "graph": {"schema": "other/3"}}', "schema: found 'other/3'"),
    ],
)
def test_json_that_is_wrong_is_told(text, told):
    with pytest.raises(SpecError, match=told):
        read_node_link(text, "x.json")


def test_all_faults_of_a_graph_come_at_once(catalog):
    document = minimal()
    document["nodes"][-1] |= {"kind": "gqu", "power_parent": "nowhere", "colour": "red"}
    document["nodes"][3]["power_w"] = -5.0
    document["edges"][1] |= {"bandwidth": 0.0}
    del document["edges"][0]["latency_s"]
    with pytest.raises(SpecError) as caught:
        checked(document, catalog)
    told = str(caught.value)
    for part in (
        "g.kind: found 'gqu', expected one of clients",
        "did you mean 'gpu'?",
        "g.colour: found an unknown attribute",
        "r.power_w: found -5.0, expected a finite number, not negative, at most 1e+30",
        "d -- g.bandwidth: found 0.0, expected a finite number, above zero, at most 1e+30",
        "c -- d.latency_s: found nothing, expected a number",
    ):
        assert part in told
    assert {fault.where for fault in caught.value.faults} == {"own.json"}


def test_equal_faults_of_many_nodes_are_told_once(catalog):
    document = minimal()
    document["nodes"] += [{"id": f"n{k}", "kind": "nic"} for k in range(500)]
    with pytest.raises(SpecError) as caught:
        checked(document, catalog)
    assert len(caught.value.faults) == 2
    assert "n0, n1, n2 and 497 more.power_parent" in str(caught.value)


def change(node, **attributes):
    def apply(document):
        document["nodes"][node] |= attributes
        document["nodes"][node] = {
            key: value for key, value in document["nodes"][node].items() if value is not None
        }

    return apply


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (change(4, device=None), "g.device: found nothing, expected a value, since its kind is gp"),
        (change(4, device="h100_smx"), "g.device: found 'h100_smx', expected a device of the cat"),
        (change(4, pool=None), "g.pool: found nothing"),
        (change(4, rack="s"), "g.rack: found 's', expected a node of kind 'rack'"),
        (change(4, rack="q"), "g.rack: found 'q', expected the id of a node"),
        (change(4, memory_bytes="80 GB"), "g.memory_bytes: found '80 GB', expected a number"),
        (change(4, ports=2.5), "g.ports: found 2.5, expected a whole number"),
        (change(4, idle_w=True), "g.idle_w: found True, expected a number"),
        (change(3, power_parent="r"), "r.power_parent: found r -> r, expected a tree"),
        (change(0, kind="door", power_parent="s"), "no node of kind clients"),
        (change(4, memory_bytes=10**400), "g.memory_bytes: found 1000"),
        (change(4, memory_bytes=float("1e999")), "g.memory_bytes: found inf"),
        (change(4, pool="\x1b[31m"), "g.pool: found '\\x1b[31m', expected a name in printable"),
        (lambda d: d["edges"][1].update(latency_s=1e9), "found 1000000000.0, expected a finite"),
        (lambda d: d["edges"].pop(), "1 nodes that no link joins to the other 2"),
        (lambda d: d["edges"][1].update(target="r"), "found a rack, expected nodes that carry"),
        (lambda d: d["edges"][1].update(target="d"), "found a link to itself"),
        (lambda d: d["edges"].append(d["edges"][1]), "d -- g a second time"),
        (lambda d: d["edges"][1].update(target="z"), "found 'z', expected the ids of two nodes"),
    ],
)
def test_a_graph_that_is_no_factory_is_refused(catalog, spoil, told):
    document = minimal()
    checked(document, catalog)
    spoil(document)
    with pytest.raises(SpecError) as caught:
        checked(document, catalog)
    assert told in str(caught.value)


def test_a_switch_without_ports_enough_is_refused_with_the_sum(catalog):
    document = minimal()
    document["nodes"].append(
        {
            "id": "w",
            "kind": "leaf_switch",
            "rack": "r",
            "power_parent": "r",
            "ports": 2,
            "port_bandwidth": 1e9,
        }
    )
    link = {"kind": "scale_out", "bandwidth": 3e9, "latency_s": 0, "links": 3}
    document["edges"].append({"source": "g", "target": "w"} | link)
    with pytest.raises(CapacityError, match=r"w: found 1 neighbours on 3 ports of 8 Gb/s, .* 2 p"):
        checked(document, catalog)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"ends in '\.txt'"):
        import_graph(tmp_path / "graph.txt")
    with pytest.raises(SpecError, match="no regular file"):
        import_graph(tmp_path / "none.json")
    (tmp_path / "folder.graphml").mkdir()
    with pytest.raises(SpecError, match="no regular file"):
        import_graph(tmp_path / "folder.graphml")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(10**9)  # sparse: takes no room
    with pytest.raises(SpecError, match="1,000,000,000 bytes, expected at most 512,000,000"):
        import_graph(path)
