"""Where the chips of a rack stand in its drawing, seen from the front.

A tray is a row, the top tray first; its chips lie side by side by kind. All in points, from the
upper left corner of the rack, downwards. What is too fine for a point is drawn together, and
says how many it stands for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.factory_contents import KINDS, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.report.factory_contents import Rack

_ASPECT = 2.2
"""Height of a full rack over its width: 19-inch racks, less the doors."""
_FULL_RACK = 8
"""Trays from which a rack is drawn at full height."""
ROWS_MOST = 54
"""Trays that are told apart; of more, neighbours share a row."""
_FINEST = 1.2
"""Points that a cell is wide at the least; chips that have less are one bar."""
_WEIGHTS = {"gpu": 2.2, "lpu": 1.0, "cpu": 1.6, "nic": 0.7, "storage": 2.4} | dict.fromkeys(
    ("leaf_switch", "spine_switch", ""), 6.0
)
"""Width of a chip in its tray, against a DPU or an NVLink switch; ``""``: an empty slot."""
_TRAY_FULL = 6.0
"""Weight that fills a tray; less is centred."""
_EMPTY = Part("", "", "", "", 1)


class Cell(NamedTuple):
    """A chip, or several that are alike."""

    part: Part
    """What it is; `number` is what this cell stands for."""
    left: float
    top: float
    width: float
    height: float


def aspect(rack: Rack) -> float:
    """Height of a rack over its width."""
    return _ASPECT * min(1.0, max(1, len(rack.trays)) / _FULL_RACK)


def elevation(rack: Rack, width: float) -> tuple[Cell, ...]:
    """Place all chips of a rack.

    Examples
    --------
    >>> from factorysim.report.factory_contents import Rack
    >>> two = Part("gpu", "h100_sxm", "gpu", "", 2)
    >>> rack = Rack(("gpu/0",), "h100_sxm", None, ((two,),))
    >>> [(cell.part.number, cell.left, cell.width) for cell in elevation(rack, 100.0)]
    [(1, 17.0, 30.3), (1, 50.0, 30.3)]
    """
    edge = 0.05 * width
    height = width * aspect(rack) - 2 * edge
    rows = _rows(rack)
    each = height / max(1, len(rows))
    return tuple(
        cell
        for k, row in enumerate(rows)
        for cell in _cells(row or (_EMPTY,), edge, edge + k * each, width - 2 * edge, each)
    )


def _rows(rack: Rack) -> Sequence[tuple[Part, ...]]:
    """Trays, or groups of neighbours where there are too many."""
    if len(rack.trays) <= ROWS_MOST:
        return rack.trays
    each = -(-len(rack.trays) // ROWS_MOST)
    starts = range(0, len(rack.trays), each)
    return [_together(rack.trays[start : start + each]) for start in starts]


def _together(trays: Sequence[tuple[Part, ...]]) -> tuple[Part, ...]:
    count: Counter[Part] = Counter()
    for part in (part for tray in trays for part in tray):
        count[part._replace(number=1)] += part.number
    order = {kind: k for k, kind in enumerate(KINDS)}
    found = sorted(count, key=lambda part: (order[part.kind], part.device, not part.use))
    return tuple(part._replace(number=count[part]) for part in found)


def _cells(
    row: Sequence[Part], left: float, top: float, width: float, height: float
) -> Iterator[Cell]:
    """Deal the width of a tray to its chips."""
    whole = sum(part.number * _WEIGHTS.get(part.kind, 1.0) for part in row)
    scale = width / max(whole, _TRAY_FULL)
    left += (width - scale * whole) / 2
    for part in row:
        pitch = scale * _WEIGHTS.get(part.kind, 1.0)
        gap = min(0.18 * scale, 0.3 * pitch)
        single = pitch - gap >= _FINEST
        count, each = (part.number, 1) if single else (1, part.number)
        for _ in range(count):
            yield Cell(
                part._replace(number=each),
                round(left, 1),
                round(top + 0.1 * height, 1),
                max(0.1, round(each * pitch - gap, 1)),
                max(0.1, round(0.8 * height, 1)),
            )
            left += each * pitch
