"""Racks as they stand: trays as they lie, chips by kind."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from factorysim.graph.canvas import INK, Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import networkx as nx

    from factorysim.graph.canvas import Canvas

RACKS_DRAWN = 48
"""Of one pool, at most; the caption tells how many there are."""

COLOURS = {
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

POOL_GAP = 0.55
PITCH = 1.16
"""From rack to rack, over the width of a rack."""

_FRAME, _EMPTY = "#eef1f5", "#dfe5eb"
_ASPECT = 2.2
"""Height of a full rack over its width: 19-inch racks, less the doors."""
_FULL_RACK = 8
"""Trays from which a rack is drawn at full height."""
_ROW_GAP = 0.12
_WEIGHTS = {"gpu": 2.2, "lpu": 1.0, "cpu": 1.6, "nic": 0.7, "storage": 2.4} | dict.fromkeys(
    ("leaf_switch", "spine_switch", ""), 6.0
)
"""Width of a chip in its tray, against a DPU or an NVLink switch; ``""``: an empty tray."""
_TRAY_FULL = 6.0
"""Weight that fills a tray; less is centred."""


class Rack(NamedTuple):
    """A rack to draw."""

    name: str
    trays: list[list[str]]
    """Kinds of the chips of each tray, the top tray first."""
    model: str
    per_row: int | None

    @property
    def aspect(self) -> float:
        """Height over width."""
        return _ASPECT * min(1.0, max(1, len(self.trays)) / _FULL_RACK)


def read_racks(graph: nx.Graph[str]) -> dict[str, list[Rack]]:
    """Sort racks by pool; the fabric's own rack, which only stands for a place, is left out."""
    trays: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, node in graph.nodes(data=True):
        if node["kind"] == "tray":
            trays[node["rack"]].setdefault(name, [])
        elif is_drawn(node) and "rack" in node:
            trays[node["rack"]].setdefault(node.get("tray", ""), []).append(node["kind"])
    order = list(COLOURS)
    pools: dict[str, list[Rack]] = {}
    for name, node in graph.nodes(data=True):
        if node["kind"] == "rack" and not _is_fabric(trays[name]):
            kinds = [sorted(members, key=order.index) for members in trays[name].values()]
            rack = Rack(name, kinds, node.get("model", ""), node.get("per_row"))
            pools.setdefault(node.get("pool", ""), []).append(rack)
    return pools


def is_drawn(node: Mapping[str, object]) -> bool:
    """Tell a chip or a box from the stand-in for unknown wiring."""
    if node["kind"] == "scale_up_switch":
        return "device" in node or "tray" in node
    return node["kind"] in COLOURS


def _is_fabric(trays: Mapping[str, Sequence[str]]) -> bool:
    """Whether a rack has no trays, and nothing but switches of the network."""
    return set(trays) <= {""} and set(trays.get("", ())) <= {"leaf_switch", "spine_switch"}


def columns_of(pools: Mapping[str, Sequence[Rack]]) -> dict[str, int]:
    """Racks a row of each pool: what the topology says, else as few rows as fit.

    Servers are stacked up to the height of the racks beside them.
    """
    shown = {pool: min(len(racks), RACKS_DRAWN) for pool, racks in pools.items()}
    height = {pool: max(rack.aspect for rack in racks) for pool, racks in pools.items()}
    stacked = {pool: int(max(height.values()) / height[pool]) for pool in pools}

    def wide(rows: int) -> dict[str, int]:
        return {pool: -(-n // (rows * stacked[pool])) for pool, n in shown.items()}

    rows = 1
    while sum(wide(rows).values()) > (12 if rows == 1 else 24) and rows < RACKS_DRAWN:
        rows += 1
    return {
        pool: min(shown[pool], pools[pool][0].per_row or columns)
        for pool, columns in wide(rows).items()
    }


def draw_pool(
    canvas: Canvas, pool: str, racks: Sequence[Rack], columns: int, left: float, width: float
) -> Box:
    """Draw the racks of a pool in rows, `width` inches each; the box they take."""
    shown = racks[:RACKS_DRAWN]
    rows = math.ceil(len(shown) / columns)
    height = width * max(rack.aspect for rack in shown)
    for k, rack in enumerate(shown):
        row, column = divmod(k, columns)
        bottom = (rows - 1 - row) * (height + _ROW_GAP)
        frame = Box(left + column * PITCH * width, bottom, width, width * rack.aspect)
        _draw_rack(canvas, rack, frame)
    box = Box(
        left, 0.0, (columns * PITCH - PITCH + 1) * width, rows * (height + _ROW_GAP) - _ROW_GAP
    )
    canvas.text((left, box.top + 0.24), pool, 10, base="bottom", bold=True)
    drawn = "" if len(shown) == len(racks) else f", {len(shown)} drawn"
    number = f"{len(racks):,} x " if len(racks) > 1 else ""
    canvas.text((left, box.top + 0.08), f"{number}{racks[0].model}{drawn}", 7, base="bottom")
    return box


def _draw_rack(canvas: Canvas, rack: Rack, frame: Box) -> None:
    canvas.boxes([frame], _FRAME, INK, 0.8)
    edge = 0.05 * frame.width
    each = (frame.height - 2 * edge) / max(1, len(rack.trays))
    cells: dict[str, list[Box]] = defaultdict(list)
    for k, kinds in enumerate(rack.trays):
        bottom = frame.top - edge - (k + 1) * each
        place = Box(frame.left + edge, bottom, frame.width - 2 * edge, each)
        for kind, box in _cells(kinds or [""], place):
            cells[kind].append(box)
    for kind, boxes in cells.items():
        canvas.boxes(boxes, COLOURS.get(kind, _EMPTY))


def _cells(kinds: Sequence[str], place: Box) -> Iterator[tuple[str, Box]]:
    """Deal the width of a tray to its chips."""
    weights = [_WEIGHTS.get(kind, 1.0) for kind in kinds]
    scale = place.width / max(sum(weights), _TRAY_FULL)
    left = place.left + (place.width - scale * sum(weights)) / 2
    for kind, weight in zip(kinds, weights, strict=True):
        width = scale * (weight - 0.18)
        yield kind, Box(left, place.bottom + 0.1 * place.height, width, 0.8 * place.height)
        left += scale * weight
