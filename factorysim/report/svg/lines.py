"""Lines, areas and steps, and the values that a cross-hair reads from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from factorysim.marked import printable
from factorysim.report.markup import number, tag
from factorysim.report.svg.frame import LETTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    from markupsafe import Markup

    from factorysim.report.svg.frame import Frame
    from factorysim.report.svg.scale import Scale

    Floats = npt.NDArray[np.float64]

LOOKS = 10
"""Five colours with a dash each, and the same with another; beyond them they come again."""
GREYS = 3
"""Greys after them, told apart by their dashes."""
INK = LOOKS + GREYS
"""The look of what stands for all the others together."""


def line(x: Scale, y: Scale, at: Floats, values: Floats, look: int) -> Markup:
    """Draw a line through points."""
    return tag("path", class_=f"line k{look}", d=f"M{_points(x.at(at), y.at(values))}")


def area(x: Scale, y: Scale, at: Floats, low: Floats, high: Floats, look: int) -> Markup:
    """Fill what lies between two lines."""
    there, back = _points(x.at(at), y.at(high)), _points(x.at(at[::-1]), y.at(low[::-1]))
    return tag("path", class_=f"area k{look}", d=f"M{there}L{back}Z")


def steps(x: Scale, y: Scale, at: Floats, values: Floats, look: int) -> Markup:
    """Draw a distribution function: level up to a value, then straight up, level after the last."""
    across, up = x.at(at), y.at(values)
    parts = [f"M{number(float(across[0]))} {number(y.at(0.0))}"]
    parts += [
        f"V{number(float(py))}H{number(float(px))}"
        for py, px in zip(up, [*across[1:], x.end], strict=True)
    ]
    return tag("path", class_=f"line k{look}", d="".join(parts))


def shaded(frame: Frame, x: Scale, since: float, until: float, what: str) -> Markup | None:
    """Shade a part of the horizontal axis, as left out of what is measured; None: it is empty.

    Its name stands above the frame, where no line can run through it.
    """
    from_px, to_px = x.at(since), x.at(until)
    if to_px - from_px < 0.5:
        return None
    room = tag("text", what, class_="faint mid", x=(from_px + to_px) / 2, y=frame.top - 4)
    return tag(
        "g",
        tag(
            "rect", class_="aside", x=from_px, y=frame.top,
            width=to_px - from_px, height=frame.bottom - frame.top,
        ),
        room if to_px - from_px > 6.5 * len(what) else None,
    )  # fmt: skip


def limits(frame: Frame, x: Scale, marks: Iterable[tuple[float, str]]) -> Iterator[Markup]:
    """Draw upright lines at values, their texts in the lowest row where each has room."""
    taken: list[tuple[float, float, int]] = []
    for value, text in marks:
        if not x.low <= value <= x.high:
            continue
        at, size = float(x.at(value)), LETTER * len(text) + 8
        left = at > frame.right - size
        start = at - size if left else at
        near = {row for begin, end, row in taken if start < end and start + size > begin}
        row = min(set(range(len(near) + 1)) - near)
        taken.append((start, start + size, row))
        yield tag("line", class_="limit", x1=at, x2=at, y1=frame.top, y2=frame.bottom)
        yield tag(
            "text", text, class_="limit-text end" if left else "limit-text",
            x=at - 4 if left else at + 4, y=frame.bottom - 8 - 13 * row,
        )  # fmt: skip


class Read(NamedTuple):
    """What a cross-hair tells of one line: its name, its look, and a text at every stop."""

    name: str
    look: int
    texts: Sequence[str]


def stops(at_px: Iterable[float], heads: Sequence[str], reads: Iterable[Read]) -> str:
    """Write down what our script shows at each stop of a cross-hair, as JSON.

    Examples
    --------
    >>> stops([1.0, 2.5], ["0 s", "1 s"], [Read("code", 0, ["3", "4"])])
    '{"x":[1.0,2.5],"head":["0 s","1 s"],"rows":[["code",0,["3","4"]]]}'
    """
    rows = [[printable(one.name), one.look, list(one.texts)] for one in reads]
    told = {"x": [round(px, 1) for px in at_px], "head": list(heads), "rows": rows}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


def key(entries: Iterable[tuple[str, int, str]]) -> Markup:
    """List what the looks of lines mean: name, look, and a word more."""
    return tag(
        "ul",
        [
            tag(
                "li",
                tag(
                    "svg", tag("path", class_=f"line k{look}", d="M0 5H26"),
                    viewBox="0 0 26 10", class_="swatch", aria_hidden="true",
                ),
                name,
                tag("span", f" {more}", class_="soft") if more else None,
            )
            for name, look, more in entries
        ],
        class_="key",
    )  # fmt: skip


def _points(xs: Floats, ys: Floats) -> str:
    return "L".join(f"{number(float(x))} {number(float(y))}" for x, y in zip(xs, ys, strict=True))
