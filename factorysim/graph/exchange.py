"""Factory graphs in and out: GraphML and node-link JSON.

Both hold the attributes of `factorysim.graph.schema` and nothing else, so that a
graph that is written and read again is equal. Readers take bytes from strangers:
they refuse entities, external references and files beyond `MAX_BYTES`, and never
execute anything.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NoReturn, cast
from xml.sax.saxutils import escape, quoteattr

from factorysim.errors import Fault, SpecError
from factorysim.graph.schema import EDGE_ATTRIBUTES, NODE_ATTRIBUTES, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from xml.etree.ElementTree import Element

    import networkx as nx

    from factorysim.graph.schema import Attribute

MAX_BYTES = 512 * 10**6
MAX_NODES = 2 * 10**6

_NAMESPACE = "{http://graphml.graphdrawing.org/xmlns}"
_WRITTEN: dict[type, str] = {str: "string", int: "long", float: "double"}
_READ: dict[str, type[str] | type[int] | type[float]] = {
    "string": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
}


def import_graph(path: Path) -> nx.Graph[str]:
    """Read a graph from a `.graphml`, `.xml` or `.json` file.

    Only the form is checked here: `factorysim.graph.check.check_graph` says whether
    the graph is a factory.

    Raises
    ------
    SpecError
        If the file cannot be read, is too large, or is no graph.
    """
    where = str(path)
    readers = {".graphml": read_graphml, ".xml": read_graphml, ".json": read_node_link}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        _refuse(where, "", f"a file that ends in {path.suffix!r}", ".graphml or .json")
    try:
        if not path.is_file():
            _refuse(where, "", "no regular file", "a GraphML or node-link JSON file")
        if path.stat().st_size > MAX_BYTES:
            _refuse(where, "", f"{path.stat().st_size:,} bytes", f"at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        _refuse(where, "", error.strerror or str(error), "a file that can be read")
    return reader(data, where)


def write_node_link(graph: nx.Graph[str]) -> str:
    """Write a graph as node-link JSON, the form of `networkx.node_link_data`."""
    import networkx as nx

    return json.dumps(nx.node_link_data(graph, edges="edges"), allow_nan=False, indent=1) + "\n"


def read_node_link(data: bytes, where: str) -> nx.Graph[str]:
    """Read node-link JSON.

    Parameters
    ----------
    where
        Name of the file, for messages.

    Raises
    ------
    SpecError
        If it is no JSON, or no node-link graph, with every fault of its nodes and edges.
    """
    import networkx as nx

    try:
        value: object = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse(where, "", f"no JSON: {error}", "node-link JSON in UTF-8")
    document = _object(value)
    if document is None:
        _refuse(where, "", f"a {type(value).__name__}", "an object with nodes and edges")
    graph: nx.Graph[str] = nx.Graph()
    faults = [
        Fault(where, key, repr(document[key])[:80], "false: links go both ways, once")
        for key in ("directed", "multigraph")
        if document.get(key, False) is not False
    ]
    header = _object(document.get("graph", {}))
    if header is None or not all(isinstance(v, str | int | float) for v in header.values()):
        found = repr(document["graph"])[:80]
        faults.append(Fault(where, "graph", found, "an object of texts and numbers"))
    else:
        graph.graph.update(header)
    for k, item in _objects(document, "nodes", where, faults):
        _add_node(graph, item.pop("id", None), item, f"nodes.{k}", where, faults)
    edges = "edges" if "edges" in document else "links"
    for k, item in _objects(document, edges, where, faults):
        _add_edge(
            graph,
            item.pop("source", None),
            item.pop("target", None),
            item,
            f"{edges}.{k}",
            where,
            faults,
        )
    return _finish(graph, where, faults)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _objects(
    document: Mapping[str, object], key: str, where: str, faults: list[Fault]
) -> Iterator[tuple[int, dict[str, object]]]:
    items = document.get(key)
    if not isinstance(items, list):
        faults.append(Fault(where, key, type(items).__name__, "a list of objects"))
        return
    for k, value in enumerate(cast("list[object]", items)):
        item = _object(value)
        if item is None:
            faults.append(Fault(where, f"{key}.{k}", repr(value)[:80], "an object"))
        else:
            yield k, item


def _object(value: object) -> dict[str, object] | None:
    """Take a JSON value as a map; None if it is none."""
    return dict(cast("dict[str, object]", value)) if isinstance(value, dict) else None


def _add_node(
    graph: nx.Graph[str],
    name: object,
    attributes: Mapping[str, object],
    key: str,
    where: str,
    faults: list[Fault],
) -> None:
    if not isinstance(name, str | int) or isinstance(name, bool) or not _is_name(str(name)):
        faults.append(Fault(where, f"{key}.id", repr(name)[:80], "a name in printable characters"))
    elif str(name) in graph:
        faults.append(Fault(where, f"{key}.id", f"{name!r} a second time", "a name of its own"))
    elif len(graph) >= MAX_NODES:
        _refuse(where, key, f"more than {MAX_NODES:,} nodes", "a smaller graph")
    else:
        graph.add_node(str(name), **{str(k): v for k, v in attributes.items()})


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 1000 and name.isprintable()


def _add_edge(
    graph: nx.Graph[str],
    source: object,
    target: object,
    attributes: Mapping[str, object],
    key: str,
    where: str,
    faults: list[Fault],
) -> None:
    ends = [str(source), str(target)]
    missing = [end for end in ends if end not in graph]
    if missing:
        found = ", ".join(repr(end) for end in missing)
        faults.append(Fault(where, key, found, "the ids of two nodes"))
    elif graph.has_edge(*ends):
        found = f"{ends[0]} -- {ends[1]} a second time"
        faults.append(Fault(where, key, found, "one edge: `links` counts parallel ones"))
    else:
        graph.add_edge(ends[0], ends[1], **{str(k): v for k, v in attributes.items()})


def _finish(graph: nx.Graph[str], where: str, faults: list[Fault]) -> nx.Graph[str]:
    schema = graph.graph.get("schema")
    if schema is not None and schema != SCHEMA:
        faults.append(Fault(where, "schema", repr(schema), repr(SCHEMA)))
    if not faults and not len(graph):
        faults.append(Fault(where, "nodes", "none", "at least one"))
    if faults:
        raise SpecError(*faults)
    return graph


def write_graphml(graph: nx.Graph[str]) -> str:
    """Write a graph as GraphML; floats in full, so that nothing is lost."""
    return "\n".join(_graphml_lines(graph)) + "\n"


def _graphml_lines(graph: nx.Graph[str]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for domain, attributes in (("node", NODE_ATTRIBUTES), ("edge", EDGE_ATTRIBUTES)):
        for name, attribute in attributes.items():
            yield (
                f'  <key id="{domain}.{name}" for="{domain}" attr.name="{name}" '
                f'attr.type="{_WRITTEN[attribute.type]}"/>'
            )
    for name in graph.graph:
        key, name_ = quoteattr(f"graph.{name}"), quoteattr(name)
        yield f'  <key id={key} for="graph" attr.name={name_} attr.type="string"/>'
    yield '  <graph edgedefault="undirected">'
    yield from _graphml_data("graph", graph.graph, {}, "    ")
    for name, node in graph.nodes(data=True):
        yield f"    <node id={quoteattr(name)}>"
        yield from _graphml_data("node", node, NODE_ATTRIBUTES, "      ")
        yield "    </node>"
    for a, b, edge in graph.edges(data=True):
        yield f"    <edge source={quoteattr(a)} target={quoteattr(b)}>"
        yield from _graphml_data("edge", edge, EDGE_ATTRIBUTES, "      ")
        yield "    </edge>"
    yield "  </graph>"
    yield "</graphml>"


def _graphml_data(
    domain: str,
    values: Mapping[str, str | float],
    attributes: Mapping[str, Attribute],
    indent: str,
) -> Iterator[str]:
    for name, value in values.items():
        kind = attributes[name].type if name in attributes else str
        yield f"{indent}<data key={quoteattr(f'{domain}.{name}')}>{escape(str(kind(value)))}</data>"


def read_graphml(data: bytes, where: str) -> nx.Graph[str]:
    """Read GraphML through defusedxml: no DTD, no entities, nothing fetched.

    Parameters
    ----------
    where
        Name of the file, for messages.

    Raises
    ------
    SpecError
        If it is no XML or hostile, or no GraphML, with every fault of its nodes and edges.
    """
    import networkx as nx
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        _refuse(where, "", "a DTD", "GraphML without a DTD or entities: remove <!DOCTYPE ..>")
    except (ParseError, ValueError, LookupError) as error:
        _refuse(where, "", f"no XML: {error}", "GraphML")
    body = root.find(f"{_NAMESPACE}graph")
    if root.tag != f"{_NAMESPACE}graphml" or body is None:
        _refuse(where, "", f"<{root.tag[:80]}>", "<graphml> of its namespace, with a <graph>")
    faults: list[Fault] = []
    if body.get("edgedefault", "undirected") != "undirected":
        faults.append(
            Fault(where, "graph.edgedefault", repr(body.get("edgedefault")), "'undirected'")
        )
    keys = dict(_graphml_keys(root, where, faults))
    graph: nx.Graph[str] = nx.Graph()
    graph.graph.update(_graphml_values(body, keys, "graph", where, faults))
    edges: list[Element] = []
    for k, element in enumerate(body):
        tag = element.tag.removeprefix(_NAMESPACE)
        if tag == "node":
            name = element.get("id")
            values = _graphml_values(element, keys, str(name), where, faults)
            _add_node(graph, name, values, f"node {k}", where, faults)
        elif tag == "edge":
            edges.append(element)
        elif tag not in {"data", "desc"}:
            faults.append(Fault(where, f"element {k}", f"<{tag[:80]}>", "<node>, <edge> or <data>"))
    for element in edges:
        source, target = element.get("source"), element.get("target")
        key = f"{source} -- {target}"
        values = _graphml_values(element, keys, key, where, faults)
        _add_edge(graph, source, target, values, key, where, faults)
    return _finish(graph, where, faults)


def _graphml_keys(
    root: Element, where: str, faults: list[Fault]
) -> Iterator[tuple[str, tuple[str, type[str] | type[int] | type[float]]]]:
    for element in root.iter(f"{_NAMESPACE}key"):
        key = element.get("id", "")
        kind = element.get("attr.type", "string")
        if kind in _READ:
            yield key, (element.get("attr.name", key), _READ[kind])
        else:
            faults.append(Fault(where, f"key {key}", repr(kind), "one of " + ", ".join(_READ)))


def _graphml_values(
    element: Element,
    keys: Mapping[str, tuple[str, type[str] | type[int] | type[float]]],
    place: str,
    where: str,
    faults: list[Fault],
) -> dict[str, str | int | float]:
    values: dict[str, str | int | float] = {}
    for data in element.findall(f"{_NAMESPACE}data"):
        name, kind = keys.get(data.get("key", ""), ("", str))
        text = data.text or ""
        if not name:
            faults.append(
                Fault(where, place, f"data of key {data.get('key')!r}", "a <key> of that id")
            )
            continue
        try:
            value = kind(text)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError
            values[name] = value
        except ValueError:
            faults.append(Fault(where, f"{place}.{name}", repr(text[:80]), f"a {_WRITTEN[kind]}"))
    return values


def _refuse(where: str, key: str, found: str, expected: str) -> NoReturn:
    raise SpecError(Fault(where, key, found, expected))
