"""The public names, for mkdocstrings to fill in."""

from __future__ import annotations

from pieces import MADE

import factorysim

INTRO = """\
What `import factorysim as fs` offers; anything else may change from one version to the next.
Names load where they are first used. `Run` reads its tables (`calls`, `sessions`, `tools`, ...)
as pandas DataFrames, lazily.
"""
VERBS = ("load", "load_catalog", "simulate", "predict", "capacity")
THINGS = ("Run", "Catalog")
SPECS = {"Scenario": "scenario", "Topology": "topology"}
ERRORS = (
    *("FactorysimError", "UserError", "SpecError"),
    *("CapacityError", "TraceError", "SimulationError"),
)


def page() -> str:
    """Name each public object where it is defined; all of ``__all__`` must have a place."""
    places = {*VERBS, *THINGS, *SPECS, *ERRORS, "__version__"}
    assert places == set(factorysim.__all__), places ^ set(factorysim.__all__)
    parts = [f"{MADE}# Python\n\n{INTRO}"]
    parts += [_entry(name) for name in (*VERBS, *THINGS)]
    parts += ["## Specs\n\nWhat `load` gives, frozen; fields are the keys of the files.\n"]
    parts += [f"- `fs.{name}`: [{where} files]({where}.md)\n" for name, where in SPECS.items()]
    parts += ["## Errors\n"]
    parts += [_entry(name, "      heading_level: 3\n") for name in ERRORS]
    return "\n".join(parts)


def _entry(name: str, options: str = "") -> str:
    """Ask mkdocstrings for an object."""
    found = getattr(factorysim, name)
    asked = f"    options:\n{options}" if options else ""
    return f"::: {found.__module__}.{found.__qualname__}\n{asked}"
