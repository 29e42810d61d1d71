"""The public names, for mkdocstrings to fill in."""

from __future__ import annotations

from types import ModuleType

from pieces import MADE
from pydantic import BaseModel

import factorysim

INTRO = """\
What `import factorysim as fs` offers; anything else may change from one version to the next.
Names load where they are first used. `Run` reads its tables (`calls`, `sessions`, `tools`, ...)
as pandas DataFrames, lazily.
"""
SPECS = """\
## Specs

What `load` gives, frozen. Their fields are the keys of the files:
"""


def page() -> str:
    """Name each public object where it is defined: what acts first, errors last."""
    names = [name for name in factorysim.__all__ if not name.startswith("_")]
    found = {name: getattr(factorysim, name) for name in names}
    errors = [name for name in names if _is(found[name], Exception)]
    specs = [name for name in names if _is(found[name], BaseModel)]
    others = [name for name in names if name not in (*errors, *specs)]
    others.sort(key=lambda name: isinstance(found[name], type | ModuleType))
    parts = [f"{MADE}# Python\n\n{INTRO}"]
    parts += [_entry(name, found[name]) for name in others]
    parts += [SPECS]
    parts += [f"- `fs.{name}`: [{name.lower()} files]({name.lower()}.md)\n" for name in specs]
    parts += ["## Errors\n"]
    parts += [_entry(name, found[name], level=3) for name in errors]
    return "\n".join(parts)


def _is(found: object, base: type) -> bool:
    return isinstance(found, type) and issubclass(found, base)


def _entry(name: str, found: object, level: int = 2) -> str:
    """Ask mkdocstrings for an object."""
    if isinstance(found, ModuleType):
        path = found.__name__
    else:
        path = f"{found.__module__}.{getattr(found, '__qualname__', '')}"
    options = f"      heading: {name}\n      heading_level: {level}\n"
    return f"::: {path}\n    options:\n{options}"
