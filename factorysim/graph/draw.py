"""A factory graph as a picture: rack elevations above the fabric that joins them.

Racks stand by pool; a trunk from each pool, as wide as the root of its bandwidth,
ends on the leaves; spines, the door to the clients and a legend lie below. The same
graph gives the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from factorysim.errors import Fault, OutputError
from factorysim.graph.canvas import Box, Canvas
from factorysim.graph.check import gbps
from factorysim.graph.elevation import (
    COLOURS,
    PITCH,
    POOL_GAP,
    columns_of,
    draw_pool,
    is_drawn,
    read_racks,
)
from factorysim.graph.schema import kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import networkx as nx

    from factorysim.graph.canvas import Point

_WIDTH, _NARROWEST, _WIDEST_RACK = 15.0, 7.0, 2.0
"""Inches."""
_BUS, _LEAVES, _SPINES, _DOOR = -0.8, -1.05, -1.95, 0.75
"""Heights of the rows below the racks, and how far below them the door is."""
_MESH_DRAWN = 200
"""Lines between leaves and spines; more are one band."""
_LINE = "#9fb3bd"
_LABELS = {
    "gpu": ("GPU", "GPUs"),
    "lpu": ("LPU", "LPUs"),
    "cpu": ("CPU", "CPUs"),
    "nic": ("NIC", "NICs"),
    "dpu": ("DPU", "DPUs"),
    "storage": ("flash box", "flash boxes"),
    "scale_up_switch": ("scale-up switch", "scale-up switches"),
    "leaf_switch": ("leaf switch", "leaf switches"),
    "spine_switch": ("spine switch", "spine switches"),
}


def draw_png(graph: nx.Graph[str], path: Path, *, title: str | None = None) -> None:
    """Draw a graph to a PNG file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    data = draw_bytes(graph, title=title)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(
            Fault(str(path), "", error.strerror or str(error), "a file that can be written")
        ) from error


def draw_bytes(graph: nx.Graph[str], *, title: str | None = None) -> bytes:
    """Draw a graph as the bytes of a PNG; without a title its contents are told."""
    canvas = Canvas()
    pools = read_racks(graph)
    columns = columns_of(pools)
    gaps = POOL_GAP * (len(pools) - 1)
    pitches = PITCH * sum(columns.values())
    rack = min(_WIDEST_RACK, (_WIDTH - gaps) / pitches)
    content = gaps + rack * (pitches - (PITCH - 1) * len(pools))
    width = max(content, _NARROWEST)
    panels: dict[str, Box] = {}
    left = (width - content) / 2
    for pool, racks in pools.items():
        panels[pool] = draw_pool(canvas, pool, racks, columns[pool], left, rack)
        left += panels[pool].width + POOL_GAP
    top = max(panel.height for panel in panels.values()) + 0.7
    text = _summary(graph, sum(map(len, pools.values()))) if title is None else title
    canvas.text((0.0, top), text, 15, base="bottom", bold=True)
    bottom = _draw_legend(canvas, graph, width, _draw_fabric(canvas, graph, panels, width))
    return canvas.png(Box(-0.3, bottom - 0.15, width + 0.6, top - bottom + 0.7))


def _summary(graph: nx.Graph[str], racks: int) -> str:
    count = Counter(kinds_of(graph).values())
    parts = [f"{racks:,} rack" + "s" * (racks != 1)]
    parts += [_counted(kind, count[kind]) for kind in ("gpu", "lpu", "cpu") if count[kind]]
    return ", ".join(parts)


def _counted(kind: str, count: int) -> str:
    return f"{count:,} {_LABELS[kind][count != 1]}"


def _draw_fabric(
    canvas: Canvas, graph: nx.Graph[str], panels: Mapping[str, Box], width: float
) -> float:
    """Draw trunks, leaves, spines and the door; the lowest line."""
    kinds = kinds_of(graph)
    leaves = [name for name, kind in kinds.items() if kind == "leaf_switch"]
    spines = [name for name, kind in kinds.items() if kind == "spine_switch"]
    at = dict(zip(leaves, _spread(len(leaves), width, _LEAVES), strict=True))
    at |= zip(spines, _spread(len(spines), width, _SPINES), strict=True)
    lowest = _SPINES if spines else _LEAVES if leaves else -0.4
    door = (width / 2, lowest - _DOOR)
    _draw_trunks(canvas, graph, panels, None if leaves else door, [at[n][0] for n in leaves])
    _draw_mesh(canvas, graph, at)
    for kind, names in (("leaf_switch", leaves), ("spine_switch", spines)):
        size = min(0.3, 0.75 * width / max(len(names), 1))
        boxes = [Box(at[n][0] - size / 2, at[n][1] - 0.09, size, 0.18) for n in names]
        canvas.boxes(boxes, COLOURS[kind])
    top = [(at[name][0], at[name][1] - 0.09) for name in spines or leaves]
    canvas.lines([(point, door) for point in top], _LINE, 0.6)
    client = next((edge for *_, edge in graph.edges("clients", data=True)), None)
    speed = f", {gbps(client['bandwidth'])}" if client else ""
    canvas.text(door, f"door to the clients{speed}", 8.5, align="center", framed=True)
    return door[1] - 0.35


def _spread(count: int, width: float, height: float) -> list[Point]:
    """Places of switches in a row: over the whole width if there are many."""
    step = min(width / max(count, 1), 0.8)
    return [(width / 2 + (k - (count - 1) / 2) * step, height) for k in range(count)]


def _draw_mesh(canvas: Canvas, graph: nx.Graph[str], at: Mapping[str, Point]) -> None:
    """Join leaves and spines: lines if they can be told apart, else one band with its sum."""
    edges = [(a, b, edge) for a, b, edge in graph.edges(at, data=True) if a in at and b in at]
    if len(edges) <= _MESH_DRAWN:
        canvas.lines([(at[a], at[b]) for a, b, _ in edges], _LINE, 0.7)
        return
    upper = sorted(point for point in at.values() if point[1] == _LEAVES)
    lower = sorted(point for point in at.values() if point[1] == _SPINES)
    band = [upper[0], upper[-1], lower[-1], lower[0]]
    canvas.polygons([band], COLOURS["leaf_switch"], alpha=0.16)
    links = sum(edge.get("links", 1) for *_, edge in edges)
    total = gbps(sum(edge["bandwidth"] for *_, edge in edges))
    middle = ((upper[0][0] + upper[-1][0]) / 2, (_LEAVES + _SPINES) / 2)
    canvas.text(middle, f"{links:,} links, {total}", 8.5, align="center")


def _draw_trunks(
    canvas: Canvas,
    graph: nx.Graph[str],
    panels: Mapping[str, Box],
    door: Point | None,
    leaves: Sequence[float],
) -> None:
    """Draw one trunk a pool, to the line on which the leaves hang or to the door."""
    totals = _trunks(graph)
    most = max((bandwidth for _, bandwidth in totals.values()), default=1.0)
    colour = COLOURS["leaf_switch"]
    for pool, (links, bandwidth) in totals.items():
        x = panels[pool].middle
        line = 2.0 + 12.0 * math.sqrt(bandwidth / most)
        canvas.lines([((x, -0.04), door or (x, _BUS))], colour, line, alpha=0.4)
        text = f"{links:,} link{'s' * (links != 1)}\n{gbps(bandwidth)}"
        canvas.text((x + line / 144 + 0.08, -0.32), text, 7.5)
    if leaves:
        ends = [*leaves, *(panels[pool].middle for pool in totals)]
        canvas.lines([((min(ends), _BUS), (max(ends), _BUS))], colour, 2.5)
        canvas.lines([((x, _BUS), (x, _LEAVES)) for x in leaves], colour, 1.2)


def _trunks(graph: nx.Graph[str]) -> dict[str, tuple[int, float]]:
    """Links and bandwidth of each pool to the leaves, or to the door where there are none."""
    fabric = {"leaf_switch", "spine_switch", "door", "clients"}
    totals: dict[str, tuple[int, float]] = {}
    for a, b, edge in graph.edges(data=True):
        inside, outside = (a, b) if graph.nodes[b]["kind"] in fabric else (b, a)
        rack = graph.nodes[inside].get("rack")
        if rack is None or graph.nodes[inside]["kind"] in fabric:
            continue
        if graph.nodes[outside]["kind"] in fabric:
            pool = graph.nodes[rack].get("pool", "")
            links, bandwidth = totals.get(pool, (0, 0.0))
            totals[pool] = (links + edge.get("links", 1), bandwidth + edge["bandwidth"])
    return totals


def _draw_legend(canvas: Canvas, graph: nx.Graph[str], width: float, top: float) -> float:
    """List the kinds with their counts and devices, in columns; the lowest line."""
    entries = _legend(graph)
    longest = max(len(text) for _, text in entries)
    columns = max(1, min(len(entries), int(width // (0.068 * longest + 0.5))))
    for k, (kind, text) in enumerate(entries):
        row, column = divmod(k, columns)
        left, middle = column * width / columns, top - 0.15 - 0.25 * row
        canvas.boxes([Box(left, middle - 0.07, 0.14, 0.14)], COLOURS[kind])
        canvas.text((left + 0.22, middle), text, 8)
    return top - 0.15 - 0.25 * math.ceil(len(entries) / columns)


def _legend(graph: nx.Graph[str]) -> list[tuple[str, str]]:
    devices: dict[str, Counter[str]] = defaultdict(Counter)
    for _, node in graph.nodes(data=True):
        if is_drawn(node):
            devices[node["kind"]][node.get("device", "")] += 1
    entries: list[tuple[str, str]] = []
    for kind in COLOURS:
        if kind in devices:
            names = ", ".join(name for name in devices[kind] if name)
            text = _counted(kind, devices[kind].total())
            entries.append((kind, f"{text} ({names})" if names else text))
    return entries
