"""The factory of a finished run, planned again: as it was, or not at all and why.

A run directory keeps no plan: where things stand, how they are linked and what they are called
follows from the scenario in it. That is the run's factory only where the program, the catalog
and every file that shapes it are those that the run was made with; a trace may be another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import factorysim
from factorysim.errors import SpecError, UserError

if TYPE_CHECKING:
    import networkx as nx

    from factorysim.catalog import Catalog
    from factorysim.graph.plan import FactoryPlan
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.topology import TopologySpec


class Planned(NamedTuple):
    """The factory of a run."""

    plan: FactoryPlan
    graph: nx.Graph[str]
    topology: TopologySpec
    catalog: Catalog


class NotPlanned(NamedTuple):
    """Why there is none."""

    reason: str
    """A sentence without a full stop."""
    details: str = ""
    """What was found where, for whoever wants to mend it."""


def plan_again(folder: Path, manifest: Mapping[str, Any]) -> Planned | NotPlanned:
    """Plan the factory of a run again from the scenario in its directory.

    Parameters
    ----------
    folder, manifest
        Of a run that `open_run` has checked, or `simulate` has just written.
    """
    from factorysim.catalog import load_catalog
    from factorysim.graph.build import build_graph
    from factorysim.run.prepare import build_plan
    from factorysim.spec.topology import TopologySpec

    if manifest["factorysim"] != factorysim.__version__:
        return NotPlanned("the run is of another version of factorysim")
    try:
        scenario = _loaded(folder / "scenario.resolved.yaml")
        catalog = load_catalog(Path(scenario.catalog) if scenario.catalog else None)
        others = list(_others(scenario, catalog, manifest))
        if others:
            return NotPlanned(_told(others))
        topology = scenario.topology
        assert isinstance(topology, TopologySpec), "a loaded scenario has its topology in place"
        plan = build_plan(scenario, catalog)
        return Planned(plan, build_graph(topology, catalog), topology, catalog)
    except UserError as error:
        return NotPlanned("what the scenario names is not there any more", str(error))


_TRACE = re.compile(r"streams\.[^.]+\.trace")


def _loaded(place: Path) -> ScenarioSpec:
    """Load a scenario, though traces that it names have gone: no factory is planned from them."""
    from factorysim.load import load

    try:
        return load(str(place))
    except SpecError as error:
        gone = [fault.key for fault in error.faults if _TRACE.fullmatch(fault.key)]
        if len(gone) < len(error.faults):
            raise
    return load(str(place), [f"{key}={json.dumps(str(place))}" for key in gone])


NAMED = 4
"""Of what has changed, at the most."""


def _told(others: Sequence[str]) -> str:
    """Say what is not what it was.

    Examples
    --------
    >>> _told(["the catalog"])
    'the catalog is another by now'
    >>> _told(["the catalog", "a.csv", "b.csv"])
    'the catalog, a.csv and b.csv are others by now'
    >>> _told([f"{n}.json" for n in range(6)])
    '0.json, 1.json, 2.json, 3.json and 2 more files are others by now'
    """
    if len(others) == 1:
        return f"{others[0]} is another by now"
    more = len(others) - NAMED
    *first, last = others if more <= 0 else (*others[:NAMED], f"{more:,} more files")
    return f"{', '.join(first)} and {last} are others by now"


def _others(scenario: ScenarioSpec, catalog: Catalog, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Name what is not what the run read.

    A file that lies elsewhere by now is the same if its name and its content are.
    """
    from factorysim.run.publish import catalog_hash, factory_files
    from factorysim.store import file_hash

    if catalog_hash(catalog) != manifest["catalog_sha256"]:
        yield "the catalog"
    known = {(one["path"], one["sha256"]) for one in manifest["inputs"]}
    places = {path for path, _ in known}
    names = {(Path(path).name, digest) for path, digest in known}
    for file in factory_files(scenario):
        if not file.is_file():
            yield file.name
            continue
        digest = file_hash(file)
        moved = str(file) not in places and (file.name, digest) in names
        if not moved and (str(file), digest) not in known:
            yield file.name
