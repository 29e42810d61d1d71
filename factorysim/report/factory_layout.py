"""A picture of a factory as places on a sheet: pure, in points, from the upper left corner down.

From the outside inwards: the door to the clients, spines, leaves, then the racks of each pool
as they stand. Links are bundles as wide as the root of their bandwidth: a bus below the lowest
tier, from which a stub goes down to every pool. How large racks are drawn follows from how many
there are. The same graph gives the same layout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.graph.check import gbps
from factorysim.report.factory_contents import TIERS, counted, read_contents
from factorysim.report.factory_elevation import ROWS_MOST, aspect, elevation
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

    from factorysim.report.factory_contents import Bundle, Contents, Pool, Rack
    from factorysim.report.factory_elevation import Cell
    from factorysim.report.factory_shelves import PoolSize

    Point = tuple[float, float]

WIDTH = 1120.0
"""Of a sheet, unless less is asked for."""
NARROW = 340.0
"""Of a sheet for a telephone."""
POOLS_MOST = 24
_STUB = 34.0
"""From the bus to the pools."""
_BOX, _BOX_HIGH, _BOX_STEP, _BOX_LEAST = 26.0, 13.0, 62.0, 7.0
"""Switches by tier: width, height, from one to the next at most and at least."""
_MESH, _MESH_DRAWN = 74.0, 60
"""Height between tiers, and lines that can be told apart there."""
_DOOR_HIGH = 26.0
_LINES_MOST = 10.0
"""Width of the widest bundle."""


class Box(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """Halfway between left and right."""
        return self.left + self.width / 2


class Text(NamedTuple):
    """A line of letters; `at` is on its base line."""

    at: Point
    text: str
    size: float
    bold: bool = False
    centred: bool = False
    halo: bool = False
    """Whether it stands on lines, which have to stay off it."""


class RackPlace(NamedTuple):
    """A rack, or several that are equal."""

    rack: Rack
    pool: str
    box: Box
    cells: tuple[Cell, ...]
    """From the box's corner."""


class PoolPlace(NamedTuple):
    """A pool with the racks of it that are drawn."""

    pool: Pool
    box: Box
    load_at: Point
    """Where to write how busy it is."""
    racks: tuple[RackPlace, ...]


class TierPlace(NamedTuple):
    """The switches of a tier."""

    kind: str
    boxes: tuple[Box, ...]
    title: str


class Stroke(NamedTuple):
    """Lines of one width."""

    lines: tuple[tuple[Point, ...], ...]
    width: float
    role: Literal["bundle", "line"]
    title: str = ""


class Layout(NamedTuple):
    """A picture of a factory."""

    width: float
    height: float
    contents: Contents
    pools: tuple[PoolPlace, ...]
    tiers: tuple[TierPlace, ...]
    door: Box
    strokes: tuple[Stroke, ...]
    bands: tuple[tuple[Point, ...], ...]
    """Between two tiers, where lines could not be told apart."""
    texts: tuple[Text, ...]
    notes: tuple[str, ...]
    """What is not drawn, in words."""


def layout_factory(
    graph: nx.Graph[str], uses: Mapping[str, str] | None = None, *, width: float = WIDTH
) -> Layout:
    """Lay out the picture of a factory.

    Parameters
    ----------
    graph
        With the attributes of `factorysim.graph.schema`, such as `build_graph` makes.
    uses
        Node -> deployment that runs on it. None: nobody knows yet.
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
    return _Sheet(read_contents(graph, uses), width).laid_out()


class _Sheet:
    """A sheet on which things are put, from the top."""

    def __init__(self, contents: Contents, width: float) -> None:
        self.contents = contents
        self.pools = [cut_to_racks(pool) for pool in contents.pools[:POOLS_MOST]]
        self.rack_width, self.shelves = arrange(self.pools, width)
        self.margin = MARGIN if len(self.shelves) > 1 else 0.0
        needed = max(shelf.width for shelf in self.shelves) + self.margin
        self.gutter = self._gutter()
        wide = max(len(contents.switches[tier]) for tier in TIERS) * 0.75 * _BOX_STEP
        self.width = min(width, max(needed, self.gutter + wide, 300.0))
        self.strokes: list[Stroke] = []
        self.bands: list[tuple[Point, ...]] = []
        self.texts: list[Text] = []

    def laid_out(self) -> Layout:
        """Put everything where it belongs."""
        door, y = self._door()
        tiers, y = self._tiers(door, y)
        bus_from: Point = (tiers[-1].boxes[0].middle, y) if tiers else (door.middle, y)
        pools, height = self._pools(bus_from, y + (0.0 if tiers else 16.0))
        return Layout(
            width=round(self.width, 1),
            height=round(height, 1),
            contents=self.contents,
            pools=tuple(pools),
            tiers=tuple(tiers),
            door=door,
            strokes=tuple(self.strokes),
            bands=tuple(self.bands),
            texts=tuple(self.texts),
            notes=tuple(self._notes()),
        )

    def _gutter(self) -> float:
        """Room for the names of the tiers, left of them."""
        names = [line for tier in TIERS for line in self._tier_words(tier)]
        return max((width_of(name, SMALL) for name in names), default=0.0) + 12.0 if names else 0.0

    def _middle(self) -> float:
        """Of what lies right of the names of the tiers."""
        return (self.gutter + self.width) / 2

    def _tier_words(self, tier: str) -> list[str]:
        count = len(self.contents.switches[tier])
        if not count:
            return []
        devices = ", ".join(device for device in self.contents.counts[tier] if device)
        words = [
            f"{count:,} {'spine' if tier == TIERS[0] else 'leaf'}",
            counted(tier, count).split()[-1],
        ]
        return [*words, fitting(devices, SMALL, 100.0)] if devices else words

    def _door(self) -> tuple[Box, float]:
        contents = self.contents
        speed = contents.client_bandwidth
        words = "clients" if not contents.doors else "door to the clients"
        if contents.doors > 1:
            words = f"{contents.doors:,} doors to the clients"
        if speed is not None:
            words += f", {gbps(speed)}"
        wide = width_of(words, 11.0) + 20.0
        left = max(0.0, min(self._middle() - wide / 2, self.width - wide))
        door = Box(round(left, 1), 1.0, round(wide, 1), _DOOR_HIGH)
        self.texts.append(Text((door.middle, door.top + 17.0), words, 11.0, centred=True))
        return door, door.bottom

    def _tiers(self, door: Box, y: float) -> tuple[list[TierPlace], float]:
        """Put the rows of switches, joined to each other and to the door."""
        places: list[TierPlace] = []
        groups: dict[str, int] = {}
        for tier in (tier for tier in TIERS if self.contents.switches[tier]):
            top = y + (_MESH if places else 30.0)
            place, groups[tier] = self._tier(tier, top)
            places.append(place)
            y = top + _BOX_HIGH
        if not places:
            return places, y
        for place in places:
            if place.kind in self.contents.door_links:
                self._hang(place, door, places[0] is place)
        if len(places) == 2:
            self._mesh(places, groups)
        lowest = places[-1].boxes
        bus = y + 12.0
        self._stroke([((b.middle, b.bottom), (b.middle, bus)) for b in lowest], 1.2, "line")
        ends = ((lowest[0].middle, bus), (lowest[-1].middle, bus))
        self._stroke([ends], 2.5, "bundle")
        return places, bus

    def _tier(self, tier: str, top: float) -> tuple[TierPlace, int]:
        """Spread a row of switches; how many of them a box stands for."""
        names = self.contents.switches[tier]
        room = self.width - self.gutter
        each = max(1, math.ceil(len(names) * _BOX_LEAST / room))
        count = math.ceil(len(names) / each)
        step = min(_BOX_STEP, room / count)
        wide = min(_BOX, 0.75 * step)
        start = self.gutter + (room - count * step) / 2
        boxes = tuple(
            Box(round(start + (k + 0.5) * step - wide / 2, 1), top, round(wide, 1), _BOX_HIGH)
            for k in range(count)
        )
        words = self._tier_words(tier)
        if each > 1:
            words = [words[0], words[1], f"{each} a box"]
        first = top + _BOX_HIGH - 1.0 - (len(words) - 1) * LINE
        for k, line in enumerate(words):
            self.texts.append(Text((0.0, first + k * LINE), line, SMALL))
        return TierPlace(tier, boxes, ", ".join(self._tier_words(tier))), each

    def _hang(self, place: TierPlace, door: Box, highest: bool) -> None:
        """Join a tier to the door: by a bus from above, or past the tier that is higher."""
        title = _told(self.contents.door_links[place.kind])
        bus = place.boxes[0].top - 10.0
        names = self.contents.switches[place.kind]
        single = len(place.boxes) == len(names)
        boxes = [
            box
            for name, box in zip(names, place.boxes, strict=False)
            if not single or name in self.contents.door_ends
        ]
        drops = [((b.middle, bus), (b.middle, b.top)) for b in boxes]
        first, last = boxes[0], boxes[-1]
        ends = (min(first.middle, door.middle), max(last.middle, door.middle))
        if highest:
            lines = [
                ((door.middle, door.bottom), (door.middle, bus)),
                ((ends[0], bus), (ends[1], bus)),
            ]
            self._stroke([*lines, *drops], 1.2, "line", title)
            return
        right, middle = self.width - 1.0, door.top + door.height / 2
        way = ((door.right, middle), (right, middle), (right, bus), (first.middle, bus))
        self._stroke([way, *drops], 1.2, "line", title)

    def _mesh(self, places: Sequence[TierPlace], groups: Mapping[str, int]) -> None:
        """Join spines and leaves: lines if they can be told apart, else one band."""
        pairs = self.contents.pairs
        if not pairs:
            return
        total = next(iter(pairs.values()))
        for bundle in list(pairs.values())[1:]:
            total += bundle
        spines, leaves = (place.boxes for place in places)
        single = max(groups.values()) == 1 and len(pairs) <= _MESH_DRAWN
        if single:
            at = [
                dict(zip(self.contents.switches[tier], place.boxes, strict=True))
                for tier, place in zip(TIERS, places, strict=True)
            ]
            self._stroke(
                [
                    ((at[0][a].middle, at[0][a].bottom), (at[1][b].middle, at[1][b].top))
                    for a, b in pairs
                ],
                0.9,
                "line",
            )
        else:
            upper, lower = spines[0].bottom, leaves[0].top
            self.bands.append(
                (
                    (spines[0].left, upper),
                    (spines[-1].right, upper),
                    (leaves[-1].right, lower),
                    (leaves[0].left, lower),
                )
            )
        height = (spines[0].bottom + leaves[0].top) / 2 + 3.5
        self.texts.append(
            Text((self._middle(), height), _told(total), 10.0, centred=True, halo=True)
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
                left = max(0.0, min(self._middle() - shelf.width / 2, self.width - shelf.width))
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
            self._stroke(lines, 2.5, "bundle")
            return
        way = ((bus_from[0], bus), (3.0, bus), (3.0, line), (max(stubs), line))
        self._stroke([way], 2.5, "bundle")

    def _stub(self, pool: Pool, box: Box, line: float, most: float) -> float:
        """Draw the links of a pool, with their number and sum beside; where they hang."""
        total = sum(bundle.bandwidth for bundle in pool.uplinks.values())
        thick = 2.0 + (_LINES_MOST - 2.0) * math.sqrt(min(1.0, total / most))
        x = box.left + PAD + _LINES_MOST / 2
        several = len(pool.uplinks) > 1
        told = [_told(links, tier if several else "") for tier, links in pool.uplinks.items()]
        title = f"{pool.name}: {'; '.join(told)}"
        self._stroke([((x, line), (x, box.top))], round(thick, 1), "bundle", title)
        left = round(x + _LINES_MOST / 2 + 6.0, 1)
        room = box.right - left
        one_line = not several and width_of(told[0], SMALL) <= room
        words = told if several or one_line else told[0].split(", ", 1)
        first = line + (20.0 if one_line else 15.0)
        for k, part in enumerate(words[:2]):
            self.texts.append(Text((left, first + k * LINE), fitting(part, SMALL, room), SMALL))
        return x

    def _pool(self, size: PoolSize, left: float, top: float) -> PoolPlace:
        """Put a pool: its name, what its racks are, and the racks."""
        pool, inner = size.pool, size.width - 2 * PAD
        x = round(left + PAD, 1)
        name = fitting(pool.name, NAME, inner - LOAD_ROOM)
        y = round(top + PAD + NAME - 2.0, 1)
        self.texts.append(Text((x, y), name, NAME, bold=True))
        load_at = (round(x + inner, 1), y)
        for k, line in enumerate(caption(pool), 1):
            at = (x, round(y + k * LINE, 1))
            self.texts.append(Text(at, fitting(line, SMALL, inner), SMALL))
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
                self.texts.append(Text(at, f"x {len(rack.names):,}", SMALL, centred=True))
            yield RackPlace(rack, size.pool.name, box, cells[alike])

    def _stroke(
        self,
        lines: Sequence[tuple[Point, ...]],
        width: float,
        role: Literal["bundle", "line"],
        title: str = "",
    ) -> None:
        rounded = tuple(tuple((round(x, 1), round(y, 1)) for x, y in line) for line in lines)
        self.strokes.append(Stroke(rounded, width, role, title))

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


def _told(bundle: Bundle, tier: str = "") -> str:
    """Say how many links there are, and what they carry together."""
    if not bundle.modelled:
        return "no network between"
    where = f" to {counted(tier, 2)[2:]}" if tier in TIERS else " to the door" if tier else ""
    return f"{counted('link', bundle.links)}{where}, {gbps(bundle.bandwidth)}"
