"""Loading the catalog: every fact that ships, and what a user puts over them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from factorysim.catalog.catalog import Catalog
from factorysim.catalog.fact import BandRules
from factorysim.catalog.shipped import Tree, read_shipped
from factorysim.catalog.trees import fill, lay

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "accelerators": "accelerators.yaml",
    "cpus": "cpus.yaml",
    "network": "network.yaml",
    "racks": "racks.yaml",
    "llms": "llms.yaml",
    "facility": "facility.yaml",
    "calibration": "calibration.yaml",
    "claims": "claims.yaml",
    "efficiency": "efficiency.yaml",
    "residuals": "residuals.yaml",
    "runtimes": "runtimes.yaml",
}
"""Section to the file that ships it."""
FITTED = "fitted.yaml"
"""Efficiencies over those of kernel tables and first guesses: what `factorysim calibrate` makes
of the shipped measurements."""
_OWN = ("sites", "rules")
"""Sections that `assumed.yaml` has alone; of the others it fills what is unknown."""


def load_catalog(overlay: Path | None = None, *, fitted: bool = True) -> Catalog:
    """Load the shipped catalog, with a user's file over it if one is given.

    Parameters
    ----------
    overlay
        A YAML file of ``schema: factorysim.catalog/1`` that overrides or adds
        facts and records; see `factorysim.catalog.overlay`.
    fitted
        Whether the shipped efficiencies are those fitted to the shipped measurements, or what
        they were before.

    Raises
    ------
    SpecError
        With every fault of the user's file.

    Examples
    --------
    >>> load_catalog() is load_catalog()
    True
    """
    base = _fitted() if fitted else _unfitted()
    if overlay is None:
        return base
    from factorysim.catalog.overlay import read_overlay

    sections, sources = read_overlay(overlay, base)
    merged = {kind: lay(tree, sections.get(kind, {})) for kind, tree in base.sections.items()}
    return Catalog(merged, _sources() | sources, _band_rules())


@cache
def _unfitted() -> Catalog:
    assumed = _read("assumed.yaml")
    sections = {
        kind: fill(_read(file)[kind], assumed.get(kind, {})) for kind, file in FILES.items()
    }
    sections |= {kind: assumed[kind] for kind in _OWN}
    return Catalog(sections, _sources(), _band_rules())


@cache
def _fitted() -> Catalog:
    sections = dict(_unfitted().sections)
    sections["efficiency"] = lay(sections["efficiency"], _read(FITTED)["efficiency"])
    return Catalog(sections, _sources(), _band_rules())


@cache
def _read(file: str) -> Tree:
    return read_shipped(file)


def _sources() -> Tree:
    """Join the sources of all files; a file may bring its own."""
    sources: Tree = {}
    for file in ("sources.yaml", "assumed.yaml", *FILES.values(), FITTED):
        sources |= _read(file).get("sources", {})
    return sources


def _band_rules() -> BandRules:
    return BandRules.of(_read("assumed.yaml"))
