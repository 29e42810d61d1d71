"""A picture of a factory as places on a sheet: pure, in points, from the upper left corner down.

From the outside inwards: the door to the clients, spines, leaves, then the racks of each pool
as they stand. Links are bundles as wide as the root of their bandwidth: a bus below the lowest
tier, from which a stub goes down to every pool. How large racks are drawn follows from how many
there are. The same graph gives the same layout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from factorysim.report.factory_contents import counted, read_contents
from factorysim.report.factory_elevation import ROWS_MOST, aspect, elevation
from factorysim.report.factory_fabric import BUS, Fabric, together, told
from factorysim.report.factory_places import Box, Layout, Marks, PoolPlace, RackPlace, Text
from factorysim.report.factory_shelves import (
    BELOW,
    BETWEEN,
    LINE,
    LOAD_ROOM,
    MARGIN,
    NAME,
    PAD,
    POOL_GAP,
    SHELF_GAP,
    SMALL,
    arrange,
    caption,
    cut_to_racks,
    drawn_racks,
    header,
    row_gap,
)
from factorysim.report.factory_words import fitting, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import networkx as nx

    from factorysim.report.factory_contents import Busy, Contents, Pool
    from factorysim.report.factory_elevation import Cell
    from factorysim.report.factory_places import Point
    from factorysim.report.factory_shelves import PoolSize

WIDTH = 1120.0
"""Of a sheet, unless less is asked for."""
NARROW = 340.0
"""Of a sheet for a telephone."""
POOLS_MOST = 24
_STUB = 34.0
"""From the bus to the pools."""
_LINES_MOST = 10.0
"""Width of the widest bundle."""


def layout_factory(
    graph: nx.Graph[str],
    uses: Mapping[str, str] | None = None,
    busy: Busy | None = None,
    *,
    width: float = WIDTH,
) -> Layout:
    """Lay out the picture of a factory.

    Parameters
    ----------
    graph
        With the attributes of `factorysim.graph.schema`, such as `build_graph` makes.
    uses
        Node -> deployment that runs on it. None: nobody knows yet.
    busy
        How busy single chips and links were, where that is known.
    width
        Points that it may take; a small factory takes less.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> from factorysim.graph.build import build_graph
    >>> from factorysim.spec.topology import TopologySpec
    >>> one = {"schema": "factorysim.topology/1", "racks": {"gpu": {"rack": "h100_sxm"}}}
    >>> graph = build_graph(TopologySpec.model_validate(one), load_catalog())
    >>> layout = layout_factory(graph)
    >>> [(place.pool.name, len(place.racks)) for place in layout.pools]
    [('gpu', 1)]
    """
    return _Sheet(read_contents(graph, uses, busy), width).laid_out()


class _Sheet:
    """A sheet on which things are put, from the top."""

    def __init__(self, contents: Contents, width: float) -> None:
        self.contents = contents
        self.pools = [cut_to_racks(pool) for pool in contents.pools[:POOLS_MOST]]
        self.rack_width, self.shelves = arrange(self.pools, width)
        self.margin = MARGIN if len(self.shelves) > 1 else 0.0
        needed = max(shelf.width for shelf in self.shelves) + self.margin
        self.marks = Marks()
        self.fabric = Fabric(contents, self.marks)
        self.width = min(width, max(needed, self.fabric.least, 300.0))

    def laid_out(self) -> Layout:
        """Put everything where it belongs."""
        door, tiers, bus_from, bus = self.fabric.put(self.width)
        pools, height = self._pools(bus_from, bus)
        return Layout(
            width=round(self.width, 1),
            height=round(height, 1),
            contents=self.contents,
            pools=tuple(pools),
            tiers=tuple(tiers),
            door=door,
            strokes=tuple(self.marks.strokes),
            bands=tuple(self.marks.bands),
            texts=tuple(self.marks.texts),
            notes=tuple(self._notes()),
        )

    def _pools(self, bus_from: Point, bus: float) -> tuple[list[PoolPlace], float]:
        """Put the shelves of pools, each below a bus of its own."""
        most = max((b.bandwidth for pool in self.pools for b in pool.uplinks.values()), default=1.0)
        places: list[PoolPlace] = []
        bottom = bus
        for number, shelf in enumerate(self.shelves):
            line = bus if number == 0 else bottom + SHELF_GAP - _STUB - 6.0
            left = self.margin
            if len(self.shelves) == 1:
                left = max(
                    0.0,
                    min(self.fabric.middle(self.width) - shelf.width / 2, self.width - shelf.width),
                )
            stubs: list[float] = []
            for size in shelf.pools:
                place = self._pool(size, left, line + _STUB)
                places.append(place)
                if size.pool.uplinks:
                    stubs.append(self._stub(size.pool, place.box, line, most))
                left += size.width + POOL_GAP
            self._bus(stubs, bus_from, bus, line)
            bottom = line + _STUB + shelf.height
        return places, bottom + 2.0

    def _bus(self, stubs: Sequence[float], bus_from: Point, bus: float, line: float) -> None:
        """Join the stubs of a shelf with what hangs above."""
        if not stubs:
            return
        if line == bus:
            ends = [*stubs, bus_from[0]]
            lines = [((min(ends), line), (max(ends), line))]
            if bus_from[1] != bus:
                lines.append((bus_from, (bus_from[0], bus)))
            self.marks.stroke(lines, BUS)
            return
        way = ((bus_from[0], bus), (3.0, bus), (3.0, line), (max(stubs), line))
        self.marks.stroke([way], BUS)

    def _stub(self, pool: Pool, box: Box, line: float, most: float) -> float:
        """Draw the links of a pool, with their number and sum beside; where they hang."""
        links = together(pool.uplinks.values())
        thick = 2.0 + (_LINES_MOST - 2.0) * math.sqrt(min(1.0, links.bandwidth / most))
        x = box.left + PAD + _LINES_MOST / 2
        several = len(pool.uplinks) > 1
        words = [told(some, tier if several else "") for tier, some in pool.uplinks.items()]
        title = f"{pool.name}: {'; '.join(words)}"
        self.marks.stroke([((x, line), (x, box.top))], round(thick, 1), title, links.load)
        left = round(x + _LINES_MOST / 2 + 6.0, 1)
        room = box.right - left
        one_line = not several and width_of(words[0], SMALL) <= room
        if not several and not one_line:
            words = words[0].split(", ", 1)
        first = line + (20.0 if one_line else 15.0)
        for k, part in enumerate(words[:2]):
            self.marks.texts.append(
                Text((left, first + k * LINE), fitting(part, SMALL, room), SMALL)
            )
        return x

    def _pool(self, size: PoolSize, left: float, top: float) -> PoolPlace:
        """Put a pool: its name, what its racks are, and the racks."""
        pool, inner = size.pool, size.width - 2 * PAD
        x = round(left + PAD, 1)
        name = fitting(pool.name, NAME, inner - LOAD_ROOM)
        y = round(top + PAD + NAME - 2.0, 1)
        self.marks.texts.append(Text((x, y), name, NAME, bold=True))
        load_at = (round(x + inner, 1), y)
        for k, line in enumerate(caption(pool), 1):
            at = (x, round(y + k * LINE, 1))
            self.marks.texts.append(Text(at, fitting(line, SMALL, inner), SMALL))
        racks = tuple(self._racks(size, x, top + PAD + header(pool)))
        box = Box(round(left, 1), top, round(size.width, 1), round(size.height, 1))
        return PoolPlace(pool, box, load_at, racks)

    def _racks(self, size: PoolSize, left: float, top: float) -> Iterator[RackPlace]:
        """Stand the racks of a pool in rows, on a common floor."""
        drawn, width = drawn_racks(size.pool), self.rack_width
        highest = width * max(aspect(rack) for rack in drawn)
        gap = row_gap(size.pool)
        cells: dict[int, tuple[Cell, ...]] = {}
        for k, rack in enumerate(drawn):
            row, column = divmod(k, size.columns)
            high = width * aspect(rack)
            x = left + column * width * (1 + BETWEEN)
            y = top + row * (highest + gap) + highest - high
            box = Box(round(x, 1), round(y, 1), width, round(high, 1))
            alike = id(rack.trays)
            if alike not in cells:
                cells[alike] = elevation(rack, width)
            if gap > BELOW:
                at = (box.middle, box.bottom + 11.0)
                self.marks.texts.append(Text(at, f"x {len(rack.names):,}", SMALL, centred=True))
            yield RackPlace(rack, size.pool.name, box, cells[alike])

    def _notes(self) -> Iterator[str]:
        yield from self.contents.notes
        for whole, pool in zip(self.contents.pools, self.pools, strict=False):
            if whole.size > pool.size:
                yield f"Not drawn: {counted('rack', whole.size - pool.size)} of {pool.name}."
        shown = [rack for pool in self.pools for rack in pool.racks]
        if any(len(rack.trays) > ROWS_MOST for rack in shown):
            yield f"In racks of more than {ROWS_MOST} trays, neighbours share a row."
        cells = (cell for rack in shown for cell in elevation(rack, self.rack_width))
        if any(cell.part.number > 1 for cell in cells):
            yield "Chips that are too many to be told apart are one bar."
        left = self.contents.pools[POOLS_MOST:]
        if left:
            racks = counted("rack", sum(pool.size for pool in left))
            yield f"Not drawn: {len(left):,} more pools with {racks}."
