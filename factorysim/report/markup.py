"""Elements of HTML and SVG: the one place where a value becomes part of a page.

Whatever is put into an element is text, unless it is an element itself: what a browser would
obey is escaped, and what a reader could not see is shown as what it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from factorysim.marked import printable

if TYPE_CHECKING:
    from markupsafe import Markup

Content: TypeAlias = "Markup | str | float | Iterable[Content] | None"

VOID = frozenset({"br", "input"})
"""Elements that nothing can be in."""


def tag(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """Make an element.

    Parameters
    ----------
    content
        Texts, numbers, elements, or iterables of them; None is nothing.
    attributes
        A trailing underscore is left out, others become hyphens; None and False leave an
        attribute out, True gives it no value. Numbers have two decimals at the most.

    Examples
    --------
    >>> str(tag("p", "a < b", class_="note", data_n=1.5, hidden=True))
    '<p class="note" data-n="1.5" hidden>a &lt; b</p>'
    >>> str(tag("g", tag("title", "</title>"), None, ["x", 2]))
    '<g><title>&lt;/title&gt;</title>x2</g>'
    """
    from markupsafe import Markup

    written = "".join(
        _attribute(key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inside = Markup("").join(_texts(content))
    end = "" if name in VOID else f"</{name}>"
    return Markup(f"<{name}{written}>{inside}{end}")


def join(*content: Content) -> Markup:
    """Put contents one after the other.

    Examples
    --------
    >>> str(join("a & b", tag("b", "c")))
    'a &amp; b<b>c</b>'
    """
    from markupsafe import Markup

    return Markup("").join(_texts(content))


def number(value: float) -> str:
    """Write a coordinate.

    Examples
    --------
    >>> number(12.0), number(1 / 3), number(-0.001)
    ('12', '0.33', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _attribute(key: str, value: str | float | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if isinstance(value, bool) else f' {name}="{_text(value)}"'


def _texts(content: Iterable[Content]) -> Iterable[Markup]:
    from markupsafe import Markup

    for one in content:
        if one is None:
            continue
        if isinstance(one, Markup | str | int | float):
            yield _text(one)
        else:
            yield from _texts(one)


def _text(value: Markup | str | float) -> Markup:
    from markupsafe import Markup, escape

    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return escape(printable(value))
    return escape(number(value))
