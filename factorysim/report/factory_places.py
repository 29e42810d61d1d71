"""What stands where in a picture of a factory: pure data, in points, from the upper left corner."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.report.factory_contents import Contents, Pool, Rack
    from factorysim.report.factory_elevation import Cell

    Point = tuple[float, float]


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
    title: str = ""
    load: float | None = None
    """Utilization of the busiest link that they stand for, where it is known."""


class Band(NamedTuple):
    """Links between two tiers that could not be told apart as lines."""

    corners: tuple[Point, ...]
    title: str
    load: float | None = None
    """As of a stroke."""


class Layout(NamedTuple):
    """A picture of a factory."""

    width: float
    height: float
    contents: Contents
    pools: tuple[PoolPlace, ...]
    tiers: tuple[TierPlace, ...]
    door: Box
    strokes: tuple[Stroke, ...]
    bands: tuple[Band, ...]
    texts: tuple[Text, ...]
    notes: tuple[str, ...]
    """What is not drawn, in words."""


class Marks:
    """Lines, bands and words that are put on a sheet, in the order in which they are drawn."""

    def __init__(self) -> None:
        self.strokes: list[Stroke] = []
        self.bands: list[Band] = []
        self.texts: list[Text] = []

    def stroke(
        self,
        lines: Sequence[tuple[Point, ...]],
        width: float,
        title: str = "",
        load: float | None = None,
    ) -> None:
        """Draw lines of one width, to a tenth of a point."""
        rounded = tuple(tuple((round(x, 1), round(y, 1)) for x, y in line) for line in lines)
        self.strokes.append(Stroke(rounded, width, title, load))
