"""A factory graph as a picture: rack elevations above the fabric that joins them.

Racks stand by pool, trays are drawn as they lie, chips are coloured by kind. The
same graph gives the same bytes.
"""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, OutputError
from factorysim.graph.check import gbps
from factorysim.graph.schema import kinds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RACKS_DRAWN = 48
"""Of one pool, at most; the caption tells how many there are."""

_COLOURS = {
    "gpu": "#5aa02c",
    "lpu": "#d1495b",
    "cpu": "#2e5eaa",
    "nic": "#a9b4c2",
    "dpu": "#8e6bbe",
    "storage": "#8d6e63",
    "scale_up_switch": "#f2a541",
    "leaf_switch": "#3aafb9",
    "spine_switch": "#12606a",
}
"""Kinds that are drawn, in the order of a tray and of the legend."""
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
_WEIGHTS = {"gpu": 2.2, "lpu": 1.0, "cpu": 1.6, "nic": 0.7, "storage": 2.4} | dict.fromkeys(
    ("leaf_switch", "spine_switch", ""), 6.0
)
"""Width of a chip in its tray, against a DPU or an NVLink switch; ``""``: an empty tray."""
_TRAY_FULL = 6.0
"""Weight that fills a tray; less is centred."""
_INK, _PAPER, _FRAME, _EMPTY = "#22303c", "#ffffff", "#eef1f5", "#dfe5eb"

# The canvas is measured in inches, so that texts keep their places whatever is drawn.
_WIDTH, _NARROWEST = 15.0, 7.0
_RACK_ASPECT = 2.2
"""Height of a full rack over its width: 19-inch racks are 0.6 m by 2.2 m, less the doors."""
_FULL_RACK = 8
"""Trays from which a rack is drawn at full height."""
_POOL_GAP = 0.55
_BUS, _LEAVES, _SPINES, _DOOR = -0.8, -1.05, -1.95, 0.75
_MESH_DRAWN = 200
"""Lines between leaves and spines; more are one band."""


class _Rack(NamedTuple):
    name: str
    trays: list[list[str]]
    """Chips of each tray, in order; the top one first."""


class _Box(NamedTuple):
    left: float
    bottom: float
    width: float
    height: float

    @property
    def corners(self) -> list[tuple[float, float]]:
        right, top = self.left + self.width, self.bottom + self.height
        return [(self.left, self.bottom), (right, self.bottom), (right, top), (self.left, top)]


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
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["text.parse_math"] = False  # names and questions may hold a $
        figure = Figure(facecolor=_PAPER)
        FigureCanvasAgg(figure)
        _draw(figure, graph, _summary(graph) if title is None else title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _summary(graph: nx.Graph[str]) -> str:
    count = Counter(kinds_of(graph).values())
    racks = sum(len(members) for members in _pools(graph).values())
    parts = [f"{racks:,} rack" + ("s" if racks != 1 else "")]
    parts += [_counted(kind, count[kind]) for kind in ("gpu", "lpu", "cpu") if count[kind]]
    return ", ".join(parts)


def _counted(kind: str, count: int) -> str:
    return f"{count:,} {_LABELS[kind][count != 1]}"


def _draw(figure: Figure, graph: nx.Graph[str], title: str) -> None:
    pools = _pools(graph)
    columns = _columns(graph, pools)
    gaps = _POOL_GAP * (len(pools) - 1)
    rack = min(2.0, (_WIDTH - gaps) / sum(columns.values()) / 1.16)
    content = gaps + 1.16 * rack * sum(columns.values()) - 0.16 * rack * len(pools)
    width = max(content, _NARROWEST)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    panels: dict[str, _Box] = {}
    left = (width - content) / 2
    for pool, racks in pools.items():
        panels[pool] = _draw_pool(axes, graph, pool, racks, columns[pool], left, rack)
        left += panels[pool].width + _POOL_GAP
    top = max((box.height for box in panels.values()), default=0.0) + 0.7
    axes.text(0.0, top, title, fontsize=15, weight="bold", color=_INK, va="bottom")
    bottom = _draw_legend(axes, graph, width, _draw_fabric(axes, graph, panels, width))
    box = _Box(-0.3, bottom - 0.15, width + 0.6, top - bottom + 0.7)
    axes.set_xlim(box.left, box.left + box.width)
    axes.set_ylim(box.bottom, box.bottom + box.height)
    figure.set_size_inches(box.width, box.height)


def _columns(graph: nx.Graph[str], pools: Mapping[str, Sequence[_Rack]]) -> dict[str, int]:
    """Racks a row of each pool: what the topology says, else as few rows as fit.

    Servers are stacked up to the height of the racks beside them.
    """
    shown = {pool: min(len(racks), RACKS_DRAWN) for pool, racks in pools.items()}
    height = {pool: max(_aspect(rack) for rack in racks) for pool, racks in pools.items()}
    stacked = {pool: int(max(height.values()) / height[pool]) for pool in pools}

    def wide(rows: int) -> dict[str, int]:
        return {pool: -(-n // (rows * stacked[pool])) for pool, n in shown.items()}

    rows = 1
    while sum(wide(rows).values()) > (12 if rows == 1 else 24) and rows < RACKS_DRAWN:
        rows += 1
    return {
        pool: min(shown[pool], graph.nodes[pools[pool][0].name].get("per_row", columns))
        for pool, columns in wide(rows).items()
    }


def _pools(graph: nx.Graph[str]) -> dict[str, list[_Rack]]:
    """Racks by pool with their trays; the fabric's own, which only stands for a place, is not."""
    trays: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, node in graph.nodes(data=True):
        if node["kind"] == "tray":
            trays[node["rack"]].setdefault(name, [])
        elif _is_drawn(node) and "rack" in node:
            trays[node["rack"]].setdefault(node.get("tray", ""), []).append(name)
    order = list(_COLOURS)
    pools: dict[str, list[_Rack]] = {}
    for name, node in graph.nodes(data=True):
        if node["kind"] == "rack" and not _is_fabric(graph, trays[name]):
            chips = [
                sorted(members, key=lambda chip: order.index(graph.nodes[chip]["kind"]))
                for members in trays[name].values()
            ]
            pools.setdefault(node.get("pool", ""), []).append(_Rack(name, chips))
    return pools


def _is_fabric(graph: nx.Graph[str], trays: Mapping[str, Sequence[str]]) -> bool:
    """Whether a rack has no trays, and nothing but switches of the network."""
    kinds = {graph.nodes[name]["kind"] for name in trays.get("", ())}
    return set(trays) <= {""} and kinds <= {"leaf_switch", "spine_switch"}


def _is_drawn(node: Mapping[str, object]) -> bool:
    """Whether a node is a chip or a box, and not the stand-in for unknown wiring."""
    if node["kind"] == "scale_up_switch":
        return "device" in node or "tray" in node
    return node["kind"] in _COLOURS


def _draw_pool(
    axes: Axes,
    graph: nx.Graph[str],
    pool: str,
    racks: list[_Rack],
    columns: int,
    left: float,
    width: float,
) -> _Box:
    """Draw the racks of a pool in rows, `width` inches each; the box they take."""
    shown = racks[:RACKS_DRAWN]
    rows = math.ceil(len(shown) / columns)
    height = width * max(_aspect(rack) for rack in shown)
    for k, rack in enumerate(shown):
        row, column = divmod(k, columns)
        bottom = (rows - 1 - row) * (height + 0.12)
        box = _Box(left + column * 1.16 * width, bottom, width, width * _aspect(rack))
        _draw_rack(axes, graph, rack, box)
    total = rows * (height + 0.12) - 0.12
    model = graph.nodes[racks[0].name].get("model", "")
    axes.text(left, total + 0.24, pool, fontsize=10, weight="bold", color=_INK, va="bottom")
    drawn = "" if len(shown) == len(racks) else f", {len(shown)} drawn"
    number = f"{len(racks):,} x " if len(racks) > 1 else ""
    axes.text(left, total + 0.08, f"{number}{model}{drawn}", fontsize=7, color=_INK, va="bottom")
    return _Box(left, 0.0, columns * 1.16 * width - 0.16 * width, total)


def _aspect(rack: _Rack) -> float:
    return _RACK_ASPECT * min(1.0, max(1, len(rack.trays)) / _FULL_RACK)


def _draw_rack(axes: Axes, graph: nx.Graph[str], rack: _Rack, frame: _Box) -> None:
    _fill(axes, [frame], _FRAME, _INK, 0.8)
    edge = 0.05 * frame.width
    each = (frame.height - 2 * edge) / max(1, len(rack.trays))
    cells: dict[str, list[_Box]] = defaultdict(list)
    for k, tray in enumerate(rack.trays):
        bottom = frame.bottom + frame.height - edge - (k + 1) * each
        place = _Box(frame.left + edge, bottom, frame.width - 2 * edge, each)
        for kind, box in _cells(graph, tray, place):
            cells[kind].append(box)
    for kind, boxes in cells.items():
        _fill(axes, boxes, _COLOURS.get(kind, _EMPTY))


def _cells(graph: nx.Graph[str], tray: Sequence[str], place: _Box) -> Iterator[tuple[str, _Box]]:
    """Deal the width of a tray to its chips."""
    kinds = [graph.nodes[chip]["kind"] for chip in tray] or [""]
    weights = [_WEIGHTS.get(kind, 1.0) for kind in kinds]
    scale = place.width / max(sum(weights), _TRAY_FULL)
    left = place.left + (place.width - scale * sum(weights)) / 2
    for kind, weight in zip(kinds, weights, strict=True):
        width = scale * (weight - 0.18)
        yield kind, _Box(left, place.bottom + 0.1 * place.height, width, 0.8 * place.height)
        left += scale * weight


def _fill(
    axes: Axes, boxes: Sequence[_Box], colour: str, edge: str = "none", line: float = 0.0
) -> None:
    from matplotlib.collections import PolyCollection

    axes.add_collection(
        PolyCollection(
            [box.corners for box in boxes],
            facecolors=colour,
            edgecolors=edge,
            linewidths=line,
            zorder=2,
        )
    )


def _draw_fabric(
    axes: Axes, graph: nx.Graph[str], panels: Mapping[str, _Box], width: float
) -> float:
    """Draw trunks, leaves, spines and the door; the lowest line."""
    kinds = kinds_of(graph)
    leaves = [name for name, kind in kinds.items() if kind == "leaf_switch"]
    spines = [name for name, kind in kinds.items() if kind == "spine_switch"]
    at = {name: (x, _LEAVES) for name, x in zip(leaves, _spread(len(leaves), width), strict=True)}
    at |= {name: (x, _SPINES) for name, x in zip(spines, _spread(len(spines), width), strict=True)}
    lowest = _SPINES if spines else _LEAVES if leaves else -0.4
    door = (width / 2, lowest - _DOOR)
    _draw_trunks(axes, graph, panels, None if leaves else door)
    _draw_bus(axes, graph, panels, [at[name][0] for name in leaves])
    _draw_mesh(axes, graph, at)
    for kind, names in (("leaf_switch", leaves), ("spine_switch", spines)):
        size = min(0.3, 0.75 * width / max(len(names), 1))
        _fill(
            axes,
            [_Box(at[n][0] - size / 2, at[n][1] - 0.09, size, 0.18) for n in names],
            _COLOURS[kind],
        )
    _draw_lines(axes, [((at[n][0], at[n][1] - 0.09), door) for n in spines or leaves], 0.6)
    client = next((e for _, _, e in graph.edges("clients", data=True)), None)
    speed = f", {gbps(client['bandwidth'])}" if client else ""
    axes.text(
        *door,
        f"door to the clients{speed}",
        fontsize=8.5,
        color=_INK,
        ha="center",
        va="center",
        zorder=4,
        bbox={"boxstyle": "round,pad=0.45", "facecolor": _PAPER, "edgecolor": _INK},
    )
    return door[1] - 0.35


def _spread(count: int, width: float) -> list[float]:
    """Places of switches in a row: over the whole width if there are many."""
    step = min(width / max(count, 1), 0.8)
    return [width / 2 + (k - (count - 1) / 2) * step for k in range(count)]


def _draw_mesh(axes: Axes, graph: nx.Graph[str], at: Mapping[str, tuple[float, float]]) -> None:
    """Join leaves and spines: lines if they can be told apart, else one band with its sum."""
    edges = [(a, b, edge) for a, b, edge in graph.edges(at, data=True) if a in at and b in at]
    if len(edges) <= _MESH_DRAWN:
        _draw_lines(axes, [(at[a], at[b]) for a, b, _ in edges], 0.7)
        return
    rows = [[x for x, y in at.values() if y == level] for level in (_LEAVES, _SPINES)]
    corners = [
        (rows[0][0], _LEAVES),
        (rows[0][-1], _LEAVES),
        (rows[1][-1], _SPINES),
        (rows[1][0], _SPINES),
    ]
    axes.fill(
        *zip(*corners, strict=True),
        color=_COLOURS["leaf_switch"],
        alpha=0.16,
        zorder=1,
        linewidth=0,
    )
    links = sum(edge.get("links", 1) for *_, edge in edges)
    total = gbps(sum(edge["bandwidth"] for *_, edge in edges))
    middle = (rows[0][0] + rows[0][-1]) / 2
    axes.text(
        middle,
        (_LEAVES + _SPINES) / 2,
        f"{links:,} links, {total}",
        fontsize=8.5,
        color=_INK,
        ha="center",
        va="center",
        zorder=3,
    )


def _draw_lines(
    axes: Axes, lines: Sequence[tuple[tuple[float, float], tuple[float, float]]], line: float
) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(list(lines), colors="#9fb3bd", linewidths=line, zorder=1))


def _draw_trunks(
    axes: Axes,
    graph: nx.Graph[str],
    panels: Mapping[str, _Box],
    door: tuple[float, float] | None,
) -> None:
    """Draw one trunk a pool, to the leaves or the door: as wide as the root of its bandwidth."""
    totals = _trunks(graph)
    most = max((bandwidth for _, bandwidth in totals.values()), default=1.0)
    for pool, (links, bandwidth) in totals.items():
        x = panels[pool].left + panels[pool].width / 2
        end = (x, _BUS) if door is None else door
        line = 2.0 + 12.0 * math.sqrt(bandwidth / most)
        axes.plot(
            [x, end[0]],
            [-0.04, end[1]],
            color=_COLOURS["leaf_switch"],
            alpha=0.4,
            zorder=1,
            linewidth=line,
            solid_capstyle="butt",
        )
        axes.text(
            x + line / 144 + 0.08,
            -0.32,
            f"{links:,} link{'s' * (links > 1)}\n{gbps(bandwidth)}",
            fontsize=7.5,
            color=_INK,
            va="center",
            zorder=4,
        )


def _draw_bus(
    axes: Axes, graph: nx.Graph[str], panels: Mapping[str, _Box], leaves: Sequence[float]
) -> None:
    """Draw the line on which the trunks end and the leaves hang."""
    if not leaves:
        return
    middles = [panels[pool].left + panels[pool].width / 2 for pool in _trunks(graph)]
    ends = [min([*leaves, *middles]), max([*leaves, *middles])]
    colour = _COLOURS["leaf_switch"]
    axes.plot(ends, [_BUS, _BUS], color=colour, linewidth=2.5, zorder=1)
    for x in leaves:
        axes.plot([x, x], [_BUS, _LEAVES], color=colour, linewidth=1.2, zorder=1)


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


def _draw_legend(axes: Axes, graph: nx.Graph[str], width: float, top: float) -> float:
    """List the kinds with their counts and devices, in columns; the lowest line."""
    entries = _legend(graph)
    longest = max(len(text) for _, text in entries)
    columns = max(1, min(len(entries), int(width // (0.068 * longest + 0.5))))
    step = width / columns
    for k, (kind, text) in enumerate(entries):
        row, column = divmod(k, columns)
        left, middle = column * step, top - 0.15 - 0.25 * row
        _fill(axes, [_Box(left, middle - 0.07, 0.14, 0.14)], _COLOURS[kind])
        axes.text(left + 0.22, middle, text, fontsize=8, color=_INK, va="center")
    return top - 0.15 - 0.25 * math.ceil(len(entries) / columns)


def _legend(graph: nx.Graph[str]) -> list[tuple[str, str]]:
    devices: dict[str, Counter[str]] = defaultdict(Counter)
    for _, node in graph.nodes(data=True):
        if _is_drawn(node):
            devices[node["kind"]][node.get("device", "")] += 1
    entries = []
    for kind in _COLOURS:
        if kind in devices:
            names = ", ".join(name for name in devices[kind] if name)
            text = _counted(kind, devices[kind].total())
            entries.append((kind, f"{text} ({names})" if names else text))
    return entries
