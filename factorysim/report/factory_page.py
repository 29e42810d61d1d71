"""A factory's picture as markup for a page: inline SVG, its legend, and the same as a table.

Cells are coloured by utilization, or by kind of device where none is given. Colours are classes
of `factory.css`, so that a page can be light or dark. Cells of a rack that are alike are one
path, and paths that are alike are written once: a pod of 1,152 GPUs is some tens of kilobytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.graph.schema import COMPUTE
from factorysim.report.factory_contents import KINDS, TIERS, counted, plural, summary_of
from factorysim.report.factory_loads import STEPS, step_of, uses_in
from factorysim.report.numbers import percent
from factorysim.report.page import cut, render_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from factorysim.report.factory_contents import Part
    from factorysim.report.factory_elevation import Cell
    from factorysim.report.factory_loads import Loads
    from factorysim.report.factory_places import Layout, Point, RackPlace

UNCROSSED, JOINT = "f-uncrossed", "f-joint"
"""Classes of links that carried nothing that counts, and of what joins several in the drawing."""
LEAST = 2.2
"""Width of links whose colour is to be seen."""
IDLE, UNTOLD, EMPTY = "f-idle", "f-untold", "f-empty"
"""Classes of what nothing is deployed on or whose load is not known, of what has no load that
anybody recorded, of slots without a box."""


class Group(NamedTuple):
    """Cells of a rack that look alike."""

    shape: int
    look: str
    title: str


class RackMarks(NamedTuple):
    """A rack to draw."""

    place: RackPlace
    groups: tuple[Group, ...]


class Line(NamedTuple):
    """Links to draw."""

    lines: tuple[tuple[Point, ...], ...]
    width: float
    case: float | None
    """Width of what is drawn below, so that a pale colour can be seen; None: nothing is."""
    look: str
    title: str


class Sheet(NamedTuple):
    """One drawing of the factory; a page may show another on a narrow screen."""

    name: str
    """What ids begin with."""
    size: str
    """Class: for which screens it is."""
    layout: Layout
    lines: tuple[Line, ...]
    bands: tuple[Line, ...]
    racks: tuple[RackMarks, ...]
    shapes: tuple[str, ...]
    """Data of paths."""
    loads: tuple[tuple[float, float, str], ...]
    """Where how much is written beside the names of pools."""


class Swatch(NamedTuple):
    """A line of the legend."""

    look: str
    text: str


def factory_svg(
    layout: Layout,
    loads: Loads | None = None,
    *,
    name: str = "factory",
    label: str = "The factory",
    narrow: Layout | None = None,
) -> Markup:
    """Draw a factory as a figure for a page that `page.render_page` makes.

    Parameters
    ----------
    loads
        Colours cells by utilization; None: by kind of device.
    name
        What ids in it begin with: two figures on one page need two.
    label
        What a screen reader calls it; likewise.
    narrow
        The same factory on a narrower sheet, for telephones; None: the wide one is scrolled.

    Returns
    -------
    Markup that is safe to put out as it is: all words in it are escaped.
    """
    from markupsafe import Markup

    wide = _sheet(layout, loads, name, "f-wide" if narrow else "")
    sheets = [wide] if narrow is None else [wide, _sheet(narrow, loads, f"{name}-n", "f-narrow")]
    contents = layout.contents
    told = "utilization" if loads is not None else "kind of device"
    return Markup(
        render_page(
            "factory.html",
            sheets=sheets,
            summary=summary_of(contents),
            name=name,
            called=label,
            told=f"{label}, coloured by {told}. {summary_of(contents)}.",
            scale=range(STEPS) if loads is not None else (),
            swatches=_swatches(layout, loads),
            notes=[*layout.notes, *_order(layout, loads)],
            uses=[(use, _load(use.load)) for use in uses_in(contents, loads)],
            loaded=loads is not None,
            deployed=contents.deployed,
        )
    )


def _sheet(layout: Layout, loads: Loads | None, name: str, size: str) -> Sheet:
    shapes: dict[str, int] = {}
    racks: list[RackMarks] = []
    for place in (rack for pool in layout.pools for rack in pool.racks):
        groups = tuple(_groups(place, shapes, loads, deployed=layout.contents.deployed))
        racks.append(RackMarks(place, groups))
    written: list[tuple[float, float, str]] = []
    for pool in layout.pools if loads is not None else ():
        assert loads is not None
        load = loads.pools.get(pool.pool.name)
        if load is not None:
            written.append((*pool.load_at, percent(load)))
    loaded = loads is not None
    lines = tuple(
        _line(one.lines, one.width, one.title, one.load, loaded) for one in layout.strokes
    )
    bands = tuple(_line((one.corners,), 0.0, one.title, one.load, loaded) for one in layout.bands)
    return Sheet(name, size, layout, lines, bands, tuple(racks), tuple(shapes), tuple(written))


def _line(
    lines: tuple[tuple[Point, ...], ...],
    width: float,
    title: str,
    load: float | None,
    loaded: bool,
) -> Line:
    """Colour links by how busy the busiest of them was."""
    if not loaded:
        return Line(lines, width, None, "", title)
    if load is None:
        return Line(lines, width, None, UNCROSSED if title else JOINT, title)
    said = f"{title}; the busiest at {percent(load)}" if title else ""
    return Line(lines, max(width, LEAST), max(width, LEAST) + 1.2, f"f-l{step_of(load)}", said)


def _groups(
    place: RackPlace, shapes: dict[str, int], loads: Loads | None, *, deployed: bool
) -> Iterator[Group]:
    """Gather the cells of a rack that look alike and say the same."""
    racks = place.rack.names
    alike: dict[tuple[str, str], list[Cell]] = {}
    for cell in place.cells:
        part = cell.part._replace(number=1)
        load = None if loads is None else loads.of(part, racks, deployed=deployed)
        look = _look(part, load, loaded=loads is not None, deployed=deployed)
        if loads is not None and part.step is not None:
            look = f"f-u{part.step}"
        alike.setdefault((look, _what(part, load, loads, deployed=deployed)), []).append(cell)
    where = racks[0] if len(racks) == 1 else f"{racks[0]} and {len(racks) - 1:,} like it"
    for (look, what), cells in alike.items():
        path = "".join(map(_rectangle, cells))
        number = sum(cell.part.number for cell in cells)
        kind = cells[0].part.kind
        told = f"{counted(kind, number)}{what}" if kind else f"{number:,} empty"
        yield Group(shapes.setdefault(path, len(shapes)), look, cut(f"{where}: {told}"))


def _rectangle(cell: Cell) -> str:
    width = f"{cell.width:g}"
    return f"M{cell.left:g} {cell.top:g}h{width}v{cell.height:g}h-{width}z"


def _look(part: Part, load: float | None, *, loaded: bool, deployed: bool) -> str:
    """Class of a cell."""
    if not part.kind:
        return EMPTY
    if not loaded:
        pale = deployed and part.kind in COMPUTE and not part.use
        return f"f-{part.kind}{' f-pale' if pale else ''}"
    if load is not None:
        return f"f-u{step_of(load)}"
    return IDLE if part.kind in COMPUTE else UNTOLD


def _what(part: Part, load: float | None, loads: Loads | None, *, deployed: bool) -> str:
    """Say what a cell is, beside its kind and number."""
    said = [f" {part.device}" if part.device else ""]
    if part.kind in COMPUTE and deployed:
        said.append(f", {part.use}" if part.use else ", nothing is deployed there")
    if loads is not None and part.step is not None:
        tenth = 100 // STEPS
        said.append(f", {part.step * tenth} to {(part.step + 1) * tenth} %")
        said.append(f" (all of it {percent(load)})" if load is not None else "")
    elif loads is not None and (load is not None or part.use):
        said.append(f", {_load(load)}")
    return "".join(said)


def _load(load: float | None) -> str:
    return "not known" if load is None else percent(load)


def _swatches(layout: Layout, loads: Loads | None) -> list[Swatch]:
    """Explain what colours mean, but for the scale."""
    contents = layout.contents
    looks = {
        _look(cell.part, None, loaded=loads is not None, deployed=contents.deployed)
        for pool in layout.pools
        for rack in pool.racks
        for cell in rack.cells
    }
    entries: list[Swatch] = []
    if loads is None:
        for kind in (kind for kind in KINDS if kind in contents.counts):
            names = ", ".join(name for name in contents.counts[kind] if name)
            text = counted(kind, contents.number(kind))
            entries.append(Swatch(f"f-{kind}", f"{text} ({names})" if names else text))
        if any(look.endswith(" f-pale") for look in looks):
            entries.append(Swatch("f-gpu f-pale", "pale: nothing is deployed there"))
    else:
        entries.append(Swatch(IDLE, "nothing is deployed there, or not known"))
        others = [plural(kind) for kind in KINDS if kind in contents.counts and kind not in COMPUTE]
        if others:
            entries.append(Swatch(UNTOLD, f"not recorded: {', '.join(others)}"))
        told = "dashed: no message of 64 KB or more crossed the link"
        entries.append(Swatch(f"{UNCROSSED} f-sample", told))
    if EMPTY in looks:
        entries.append(Swatch(EMPTY, "empty slot"))
    return entries


def _order(layout: Layout, loads: Loads | None) -> Sequence[str]:
    """Say how to tell kinds apart where colours do not, and what percentages are of."""
    if loads is None:
        return ()
    of = (
        "A percentage at a pool is of those of its devices that something is deployed on.",
        "Utilization is time in a step, of cores that in tools; Pools tell how full steps were.",
        "Links have the colour of the busiest that a line stands for, in its busier direction.",
    )
    counts: Mapping[str, object] = layout.contents.counts
    kinds = [plural(kind) for kind in KINDS if kind in counts and kind not in TIERS]
    order = (f"In a tray, from the left: {', '.join(kinds)}.",) if len(kinds) > 1 else ()
    return of + order
