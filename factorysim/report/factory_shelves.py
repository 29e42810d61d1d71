"""Pools side by side on shelves, their racks as large as there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.factory_contents import RACKS_MOST, counted
from factorysim.report.factory_elevation import aspect
from factorysim.report.factory_words import width_of
from factorysim.report.numbers import amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.report.factory_contents import Pool, Rack

_HEIGHT = 450.0
"""Of the racks at most, as long as they can be drawn smaller."""
_RACK_WIDTHS = (
    150.0,
    132.0,
    116.0,
    102.0,
    90.0,
    79.0,
    70.0,
    61.0,
    54.0,
    50.0,
    47.0,
    44.0,
    41.0,
    36.0,
)
MARGIN = 16.0
"""Left of several shelves: the bus goes down there."""
BETWEEN, BELOW = 0.16, 9.0
"""From rack to rack, over their width, and from row to row."""
PAD, POOL_GAP, SHELF_GAP = 9.0, 18.0, 52.0
NAME, SMALL = 12.0, 9.5
"""Sizes of letters."""
LINE = 12.5
"""From one line of small letters to the next."""
LOAD_ROOM = 52.0
"""Beside a pool's name."""


class PoolSize(NamedTuple):
    """What a pool takes of a shelf."""

    pool: Pool
    columns: int
    """Racks in a row."""
    width: float
    height: float


class Shelf(NamedTuple):
    """Pools side by side."""

    pools: tuple[PoolSize, ...]

    @property
    def width(self) -> float:
        """From the first pool to the last."""
        return sum(size.width + POOL_GAP for size in self.pools) - POOL_GAP

    @property
    def height(self) -> float:
        """Of the highest pool."""
        return max(size.height for size in self.pools)


def caption(pool: Pool) -> list[str]:
    """Say what the racks of a pool are."""
    models = list(dict.fromkeys(rack.model for rack in pool.racks if rack.model))
    number = f"{pool.size:,} x " if pool.size > 1 else ""
    what = f"{number}{models[0]}" if len(models) == 1 else counted("rack", pool.size)
    if len(models) > 1:
        what += f" of {len(models)} models"
    powers = {rack.power_w for rack in pool.racks}
    lines = [what]
    if len(powers) == 1 and None not in powers:
        each = " each" if pool.size > 1 else ""
        lines.append(f"{amount(float(powers.pop() or 0.0), 'W')}{each}")
    return lines


def cut_to_racks(pool: Pool) -> Pool:
    """Keep as many different racks as can be drawn."""
    return pool if pool.size <= RACKS_MOST else pool._replace(racks=pool.racks[:RACKS_MOST])


def drawn_racks(pool: Pool) -> list[Rack]:
    """Racks to draw: each of its own as long as there is room, else equal ones once."""
    if pool.size > RACKS_MOST:
        return list(pool.racks)
    return [rack._replace(names=(name,)) for rack in pool.racks for name in rack.names]


def row_gap(pool: Pool) -> float:
    """Room below a row of racks: for how many there are, where one stands for several."""
    return BELOW + 12.0 if pool.size > RACKS_MOST else BELOW


class _Measured(NamedTuple):
    """What does not depend on how large racks are drawn."""

    pool: Pool
    racks: int
    aspect: float
    """Of the highest rack."""
    words: float
    """Width of the longest line."""
    header: float
    gap: float


def arrange(pools: Sequence[Pool], width: float) -> tuple[float, list[Shelf]]:
    """Choose the largest racks with which all pools have room; their width, and the shelves."""
    measured = list(map(_measured, pools))
    shelves: list[Shelf] = []
    rack = _RACK_WIDTHS[-1]
    for rack in _RACK_WIDTHS:
        one = _one_shelf(measured, rack, width)
        if one is not None and one.height <= _HEIGHT:
            return rack, [one]
        shelves = _shelves(measured, rack, width)
        height = sum(shelf.height + SHELF_GAP for shelf in shelves)
        if height <= _HEIGHT and one is None:
            return rack, shelves
    one = _one_shelf(measured, rack, width)
    return rack, shelves if one is None else [one]


def _measured(pool: Pool) -> _Measured:
    drawn = drawn_racks(pool)
    lines = [width_of(line, SMALL) for line in caption(pool)]
    words = max(min(max(*lines, width_of(pool.name, NAME) + LOAD_ROOM), 170.0), 84.0)
    highest = max(aspect(rack) for rack in drawn)
    return _Measured(pool, len(drawn), highest, words, header(pool), row_gap(pool))


def _one_shelf(pools: Sequence[_Measured], rack: float, width: float) -> Shelf | None:
    """Put all pools side by side, in as few rows of racks as fit."""
    tallest = max(one.aspect for one in pools)
    for rows in range(1, RACKS_MOST + 1):
        sizes: list[PoolSize] = []
        for one in pools:
            stacked = rows * max(1, int(tallest / one.aspect))
            sizes.append(_sized(one, one.pool.per_row or -(-one.racks // stacked), rack))
        shelf = Shelf(tuple(sizes))
        if shelf.width <= width:
            return shelf
        if shelf.height > 2 * _HEIGHT:
            return None
    return None


def _shelves(pools: Sequence[_Measured], rack: float, width: float) -> list[Shelf]:
    """Put pools side by side, and on a further shelf what has no room."""
    room = width - MARGIN
    most = max(1, int(((room - 2 * PAD) / rack + BETWEEN) / (1 + BETWEEN)))
    shelves: list[list[PoolSize]] = [[]]
    for one in pools:
        size = _sized(one, min(one.pool.per_row or most, most), rack)
        used = sum(other.width + POOL_GAP for other in shelves[-1])
        if shelves[-1] and used + size.width > room:
            shelves.append([])
        shelves[-1].append(size)
    return [Shelf(tuple(sizes)) for sizes in shelves]


def _sized(one: _Measured, columns: int, rack: float) -> PoolSize:
    """Give a pool the width of its racks, or of its words."""
    if one.pool.per_row is None:
        columns = max(columns, int((one.words / rack + BETWEEN) / (1 + BETWEEN)))
    columns = min(columns, one.racks)
    racks = rack * (columns * (1 + BETWEEN) - BETWEEN)
    rows = -(-one.racks // columns)
    height = PAD + one.header + rows * (rack * one.aspect + one.gap) - BELOW + PAD
    return PoolSize(one.pool, columns, max(racks, one.words) + 2 * PAD, height)


def header(pool: Pool) -> float:
    """Height of the words above the racks of a pool."""
    return NAME - 2.0 + LINE * len(caption(pool)) + 7.0
