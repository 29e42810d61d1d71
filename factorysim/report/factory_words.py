"""How much room words take in a drawing, and words cut to the room there is.

Nobody knows the fonts of a reader's machine: widths are those of DejaVu Sans, among the widest
that browsers fall back to, rounded up by kind of letter.
"""

from __future__ import annotations

from unicodedata import east_asian_width

from factorysim.marked import printable

_BROAD, _SLIM = frozenset("mwMW@%"), frozenset("iljtfrI.,:;|'!()[] ")


def width_of(text: str, size: float) -> float:
    """Points that a line takes, rather too many than too few.

    Examples
    --------
    >>> width_of("72 GPUs", 10.0) < width_of("72 LPUs, wide", 10.0)
    True
    """
    return size * sum(_em(letter) for letter in printable(text))


def _em(letter: str) -> float:
    if east_asian_width(letter) in "WF":
        return 1.05
    if letter in _BROAD:
        return 0.99
    if letter in _SLIM:
        return 0.42
    return 0.74 if letter.isupper() else 0.65


def fitting(text: str, size: float, room: float) -> str:
    """Cut a line to the room that it has.

    Examples
    --------
    >>> fitting("vera_rubin", 10.0, 100.0), fitting("vera_rubin", 10.0, 45.0)
    ('vera_rubin', 'vera_r…')
    """
    text = printable(text).replace("\n", " ")
    if width_of(text, size) <= room:
        return text
    kept = ""
    for letter in text:
        if width_of(f"{kept}{letter}…", size) > room:
            break
        kept += letter
    return f"{kept}…"
