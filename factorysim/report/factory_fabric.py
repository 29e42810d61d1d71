"""The fabric in a picture of a factory: the door to the clients, spines, leaves, what joins them.

A tier is a row of switches with its name on the left. Links of two tiers are lines as long as
they can be told apart, else one band. Where it is known how busy links are, those that are
alike are drawn together, and what stands for several is as busy as the busiest of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from factorysim.graph.check import gbps
from factorysim.report.factory_contents import TIERS, Bundle, counted
from factorysim.report.factory_loads import step_of
from factorysim.report.factory_places import Band, Box, Text, TierPlace
from factorysim.report.factory_shelves import LINE, SMALL
from factorysim.report.factory_words import fitting, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from factorysim.report.factory_contents import Contents
    from factorysim.report.factory_places import Marks, Point

_BOX, _BOX_HIGH, _BOX_STEP, _BOX_LEAST = 26.0, 13.0, 62.0, 7.0
"""Switches by tier: width, height, from one to the next at most and at least."""
_MESH, _MESH_DRAWN = 74.0, 60
"""Height between tiers, and lines that can be told apart there."""
_DOOR_HIGH = 26.0
_THIN, BUS = 1.2, 2.5
"""Widths of lines."""


class Fabric:
    """Places of the fabric of a factory.

    Parameters
    ----------
    marks
        Takes what is drawn.
    """

    def __init__(self, contents: Contents, marks: Marks) -> None:
        self._contents = contents
        self._marks = marks
        self.gutter = self._gutter()
        """Room for the names of the tiers, left of them."""
        self.least = self.gutter + 0.75 * _BOX_STEP * max(
            len(contents.switches[tier]) for tier in TIERS
        )
        """Points that it takes of a sheet, if there are as many."""

    def middle(self, width: float) -> float:
        """Of what lies right of the names of the tiers."""
        return (self.gutter + width) / 2

    def put(self, width: float) -> tuple[Box, list[TierPlace], Point, float]:
        """Put all on a sheet.

        Returns
        -------
        The door; the tiers; what racks hang on, and how far down it is.
        """
        door, y = self._door(width)
        tiers, y = self._tiers(door, y, width)
        bus_from = (tiers[-1].boxes[0].middle, y) if tiers else (door.middle, y)
        return door, tiers, bus_from, y + (0.0 if tiers else 16.0)

    def _gutter(self) -> float:
        names = [line for tier in TIERS for line in self._tier_words(tier)]
        return max((width_of(name, SMALL) for name in names), default=-12.0) + 12.0

    def _tier_words(self, tier: str) -> list[str]:
        count = len(self._contents.switches[tier])
        if not count:
            return []
        devices = ", ".join(device for device in self._contents.counts[tier] if device)
        words = [
            f"{count:,} {'spine' if tier == TIERS[0] else 'leaf'}",
            counted(tier, count).split()[-1],
        ]
        return [*words, fitting(devices, SMALL, 100.0)] if devices else words

    def _door(self, width: float) -> tuple[Box, float]:
        contents = self._contents
        speed = contents.client_bandwidth
        words = "clients" if not contents.doors else "door to the clients"
        if contents.doors > 1:
            words = f"{contents.doors:,} doors to the clients"
        if speed is not None:
            words += f", {gbps(speed)}"
        wide = width_of(words, 11.0) + 20.0
        left = max(0.0, min(self.middle(width) - wide / 2, width - wide))
        door = Box(round(left, 1), 1.0, round(wide, 1), _DOOR_HIGH)
        self._marks.texts.append(Text((door.middle, door.top + 17.0), words, 11.0, centred=True))
        return door, door.bottom

    def _tiers(self, door: Box, y: float, width: float) -> tuple[list[TierPlace], float]:
        """Put the rows of switches, joined to each other and to the door."""
        places: list[TierPlace] = []
        groups: dict[str, int] = {}
        for tier in (tier for tier in TIERS if self._contents.switches[tier]):
            top = y + (_MESH if places else 30.0)
            place, groups[tier] = self._tier(tier, top, width)
            places.append(place)
            y = top + _BOX_HIGH
        if not places:
            return places, y
        for place in places:
            if place.kind in self._contents.door_links:
                self._hang(place, door, width, highest=places[0] is place)
        if len(places) == 2:
            self._mesh(places, groups, width)
        lowest = places[-1].boxes
        bus = y + 12.0
        self._marks.stroke([((b.middle, b.bottom), (b.middle, bus)) for b in lowest], _THIN)
        self._marks.stroke([((lowest[0].middle, bus), (lowest[-1].middle, bus))], BUS)
        return places, bus

    def _tier(self, tier: str, top: float, width: float) -> tuple[TierPlace, int]:
        """Spread a row of switches; how many of them a box stands for."""
        names = self._contents.switches[tier]
        room = width - self.gutter
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
            self._marks.texts.append(Text((0.0, first + k * LINE), line, SMALL))
        return TierPlace(tier, boxes, ", ".join(self._tier_words(tier))), each

    def _hang(self, place: TierPlace, door: Box, width: float, *, highest: bool) -> None:
        """Join a tier to the door: by a bus from above, or past the tier that is higher."""
        links = self._contents.door_links[place.kind]
        bus = place.boxes[0].top - 10.0
        names = self._contents.switches[place.kind]
        single = len(place.boxes) == len(names)
        boxes = [
            box
            for name, box in zip(names, place.boxes, strict=False)
            if not single or name in self._contents.door_ends
        ]
        drops = [((b.middle, bus), (b.middle, b.top)) for b in boxes]
        first, last = boxes[0], boxes[-1]
        ends = (min(first.middle, door.middle), max(last.middle, door.middle))
        ways: list[tuple[Point, ...]]
        if highest:
            ways = [
                ((door.middle, door.bottom), (door.middle, bus)),
                ((ends[0], bus), (ends[1], bus)),
            ]
        else:
            right, middle = width - 1.0, door.top + door.height / 2
            ways = [((door.right, middle), (right, middle), (right, bus), (first.middle, bus))]
        self._marks.stroke([*ways, *drops], _THIN, told(links), links.load)

    def _mesh(self, places: Sequence[TierPlace], groups: Mapping[str, int], width: float) -> None:
        """Join spines and leaves: lines if they can be told apart, else one band."""
        pairs = self._contents.pairs
        if not pairs:
            return
        total = together(pairs.values())
        spines, leaves = (place.boxes for place in places)
        if max(groups.values()) == 1 and len(pairs) <= _MESH_DRAWN:
            self._lines(places)
        else:
            upper, lower = spines[0].bottom, leaves[0].top
            corners = (
                (spines[0].left, upper),
                (spines[-1].right, upper),
                (leaves[-1].right, lower),
                (leaves[0].left, lower),
            )
            self._marks.bands.append(Band(corners, told(total), total.load))
        height = (spines[0].bottom + leaves[0].top) / 2 + 3.5
        at = (self.middle(width), height)
        self._marks.texts.append(Text(at, told(total), 10.0, centred=True, halo=True))

    def _lines(self, places: Sequence[TierPlace]) -> None:
        """Draw a line from every spine to every leaf, those that are as busy together."""
        above, below = (
            dict(zip(self._contents.switches[tier], place.boxes, strict=True))
            for tier, place in zip(TIERS, places, strict=True)
        )
        alike: dict[int, list[tuple[str, str]]] = {}
        for pair, links in self._contents.pairs.items():
            alike.setdefault(-1 if links.load is None else step_of(links.load), []).append(pair)
        for _, pairs in sorted(alike.items()):
            links = together(self._contents.pairs[pair] for pair in pairs)
            lines = [
                ((above[a].middle, above[a].bottom), (below[b].middle, below[b].top))
                for a, b in pairs
            ]
            self._marks.stroke(lines, 0.9, told(links), links.load)


def together(bundles: Iterable[Bundle]) -> Bundle:
    """Add bundles up; there is at least one."""
    first, *others = bundles
    for bundle in others:
        first += bundle
    return first


def told(bundle: Bundle, tier: str = "") -> str:
    """Say how many links there are, and what they carry together."""
    if not bundle.modelled:
        return "no network between"
    where = f" to {counted(tier, 2)[2:]}" if tier in TIERS else " to the door" if tier else ""
    return f"{counted('link', bundle.links)}{where}, {gbps(bundle.bandwidth)}"
