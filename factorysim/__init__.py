"""factorysim: a discrete-event simulator of AI factories.

The public names are those of ``__all__``; anything else may change. They load
where they are first used, so that ``import factorysim`` stays quick.

Examples
--------
>>> import factorysim as fs
>>> fs.load_catalog().device("H100-SXM-80GB").memory_bytes
80000000000.0
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorysim.catalog import Catalog as Catalog
    from factorysim.catalog import load_catalog as load_catalog
    from factorysim.errors import CapacityError as CapacityError
    from factorysim.errors import FactorysimError as FactorysimError
    from factorysim.errors import SimulationError as SimulationError
    from factorysim.errors import SpecError as SpecError
    from factorysim.errors import TraceError as TraceError
    from factorysim.errors import UserError as UserError
    from factorysim.load import load as load
    from factorysim.report.figures import public as figures
    from factorysim.report.run_page import report as report
    from factorysim.run import Run as Run
    from factorysim.run import open_run as open_run
    from factorysim.run import simulate as simulate
    from factorysim.spec.scenario import ScenarioSpec as Scenario
    from factorysim.spec.topology import TopologySpec as Topology
    from factorysim.study.capacity import capacity as capacity
    from factorysim.study.predict import predict as predict

__version__ = "0.1.0"

__all__ = [
    "CapacityError",
    "Catalog",
    "FactorysimError",
    "Run",
    "Scenario",
    "SimulationError",
    "SpecError",
    "Topology",
    "TraceError",
    "UserError",
    "__version__",
    "capacity",
    "figures",
    "load",
    "load_catalog",
    "open_run",
    "predict",
    "report",
    "simulate",
]

_HOME = {
    "CapacityError": ("factorysim.errors", "CapacityError"),
    "Catalog": ("factorysim.catalog", "Catalog"),
    "FactorysimError": ("factorysim.errors", "FactorysimError"),
    "Run": ("factorysim.run", "Run"),
    "Scenario": ("factorysim.spec.scenario", "ScenarioSpec"),
    "SimulationError": ("factorysim.errors", "SimulationError"),
    "SpecError": ("factorysim.errors", "SpecError"),
    "Topology": ("factorysim.spec.topology", "TopologySpec"),
    "TraceError": ("factorysim.errors", "TraceError"),
    "UserError": ("factorysim.errors", "UserError"),
    "capacity": ("factorysim.study.capacity", "capacity"),
    "figures": ("factorysim.report.figures", "public"),
    "load": ("factorysim.load", "load"),
    "load_catalog": ("factorysim.catalog", "load_catalog"),
    "open_run": ("factorysim.run", "open_run"),
    "predict": ("factorysim.study.predict", "predict"),
    "report": ("factorysim.report.run_page", "report"),
    "simulate": ("factorysim.run", "simulate"),
}


class _Package(ModuleType):
    """A package whose public `load` and `report` are not hidden by submodules of these names.

    Importing a submodule binds it in its package; ``factorysim.load`` would
    then be the module or the function, depending on who came first.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
