"""A figure as bytes of a file: the same figure, the same bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorysim.report.figures.style import DPI, paper

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("pdf", "svg", "png")
"""Of files, by the end of their names."""
UNDATED: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""What would tell one day, or one version of matplotlib, from another."""


def as_bytes(figure: Figure, kind: str) -> bytes:
    """Render a figure as a file of one of `KINDS`."""
    target = BytesIO()
    drawn: Any = figure
    with paper():
        drawn.savefig(target, format=kind, dpi=DPI, metadata=UNDATED[kind])
    return target.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the end of the name says how: ``.pdf``, ``.svg`` or ``.png``.

    Raises
    ------
    UserError
        If the name ends otherwise, or the place cannot be written.

    Examples
    --------
    >>> save(None, "ttft.jpg")
    Traceback (most recent call last):
    factorysim.errors.SpecError: ttft.jpg: found '.jpg', expected .pdf, .svg or .png
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.marked import shown
    from factorysim.store import write_bytes

    place = Path(path)
    kind = place.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise SpecError(Fault(str(place), "", shown(place.suffix), ".pdf, .svg or .png"))
    write_bytes(place, [as_bytes(figure, kind)])
