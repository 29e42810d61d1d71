"""Facts as YAML: devices, LLMs, racks, networks and sites, with bands and sources."""

from __future__ import annotations

from factorysim.catalog.catalog import Catalog, Kind
from factorysim.catalog.fact import Alternative, Fact, Source
from factorysim.catalog.loading import load_catalog
from factorysim.catalog.values import Device, Llm, Part, Rack, Site, Switch

__all__ = [
    "Alternative",
    "Catalog",
    "Device",
    "Fact",
    "Kind",
    "Llm",
    "Part",
    "Rack",
    "Site",
    "Source",
    "Switch",
    "load_catalog",
]
