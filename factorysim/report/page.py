"""One HTML page in one file: it fetches nothing, and runs no script but our own.

Whatever a template is given is escaped where it is put out: what HTML would obey (``autoescape``)
and what a reader could not see (``finalize``). Should anything slip through all the same, the
page's policy lets no script or style work but those two whose digests it names.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from factorysim.marked import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

CUT = 300
"""Characters of a text that a page shows; a field of a user's file may hold 100,000."""


PARTS = {"report.html": ("factory",)}
"""Template -> names of other templates whose fragments it holds: they bring their styles."""


def render_page(template: str, **content: object) -> str:
    """Fill a template of this package; what it is given is text, never markup.

    Style and script are ``page.css`` and ``page.js``, and after them those of `PARTS` and those
    that have the template's own name, where there are such.
    """
    style, script = _assets(template)
    return (
        _environment()
        .get_template(template)
        .render(content, style=style, script=script, policy=_policy(style, script))
    )


def cut(text: str, most: int = CUT) -> str:
    """Keep the beginning of a long text.

    Examples
    --------
    >>> cut("abcdefgh", 4), cut("abcd", 4)
    ('abcd...', 'abcd')
    """
    return text if len(text) <= most else f"{text[:most]}..."


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("factorysim.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = "{:,}".format
    return made


@cache
def _assets(template: str) -> tuple[Markup, Markup]:
    """Put the styles and the scripts of a page together."""
    from markupsafe import Markup

    names = ("page", *PARTS.get(template, ()), template.rpartition(".")[0])
    style, script = (
        "\n".join(filter(None, (_ours(f"{name}.{kind}") for name in names)))
        for kind in ("css", "js")
    )
    return Markup(style), Markup(script)


def _visible(value: object) -> object:
    """Show control characters as what they are, wherever a text is put out."""
    from markupsafe import Markup

    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ours(name: str) -> str:
    """Read a file of the package; blank: there is none."""
    place = files("factorysim.report") / "templates" / name
    return place.read_text(encoding="utf-8") if place.is_file() else ""


def _policy(style: str, script: str) -> str:
    """Forbid everything but one style and one script, told by their digests."""
    allowed = (
        f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in (("style", style), ("script", script))
    )
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))
