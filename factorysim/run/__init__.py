"""The public verb: simulate a scenario, in replications, and hand back a `Run`."""

from __future__ import annotations

from factorysim.run.opening import open_run as open_run
from factorysim.run.replicate import simulate as simulate
from factorysim.run.result import Interrupted as Interrupted
from factorysim.run.result import Run as Run
