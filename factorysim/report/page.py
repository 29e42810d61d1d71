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

CUT = 300
"""Characters of a text that a page shows; a field of a user's file may hold 100,000."""


def render_page(template: str, **content: object) -> str:
    """Fill a template of this package; what it is given is text, never markup."""
    return _environment().get_template(template).render(content)


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
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("factorysim.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = "{:,}".format
    style, script = _ours("page.css") + _ours("factory.css"), _ours("page.js")
    made.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "policy": _policy(style, script),
    }
    return made


def _visible(value: object) -> object:
    """Show control characters as what they are, wherever a text is put out."""
    from markupsafe import Markup

    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ours(name: str) -> str:
    return (files("factorysim.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Forbid everything but one style and one script, told by their digests."""
    allowed = (
        f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in (("style", style), ("script", script))
    )
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))
