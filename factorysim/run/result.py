"""A finished run: its summary at once, its tables when asked for."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorysim.metrics.summary import Line, Summary

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A run directory, read lazily.

    Parameters
    ----------
    path
        Of a directory that `simulate` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no run in `path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = json.loads(
            (path / "manifest.json").read_text(encoding="utf-8")
        )

    def __repr__(self) -> str:
        done = len(self.manifest["replications"])
        return f"<Run of {self.manifest['scenario']['name']!r}: {done} replications, {self.path}>"

    @cached_property
    def summary(self) -> Summary:
        """Metric name -> value, interval, replications, reason."""
        lines = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        return {name: Line(**line) for name, line in lines.items()}

    @property
    def audit(self) -> dict[str, bool]:
        """Law -> whether every replication kept it."""
        return {
            line["name"]: all(
                other["ok"]
                for one in self.manifest["replications"]
                for other in one["audit"]
                if other["name"] == line["name"]
            )
            for line in self.manifest["replications"][0]["audit"]
        }

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every metric of every replication, breakdowns included.

        Names are plain text, not categories: those of two runs can be held against each other.
        """
        found = self._table("metrics")
        return found.astype(dict.fromkeys(("name", "by", "key"), object))

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row a session."""
        return self._table("sessions")

    @cached_property
    def calls(self) -> pd.DataFrame:
        """One row an LLM call."""
        return self._table("calls")

    @cached_property
    def tools(self) -> pd.DataFrame:
        """One row a tool call."""
        return self._table("tools")

    @cached_property
    def sandboxes(self) -> pd.DataFrame:
        """One row a sandbox."""
        return self._table("sandboxes")

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row a run of steps."""
        return self._table("steps")

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """One row a gap between tokens around a preemption."""
        return self._table("gaps")

    @cached_property
    def handoffs(self) -> pd.DataFrame:
        """One row a call whose prompt was computed apart from its decode."""
        return self._table("handoffs")

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """One row a transfer on the fabric."""
        return self._table("transfers")

    @cached_property
    def tiers(self) -> pd.DataFrame:
        """One row a fetch, a store, an eviction or a hit of KV blocks below HBM."""
        return self._table("tiers")

    @cached_property
    def events(self) -> pd.DataFrame:
        """One row an event of the timeline."""
        return self._table("events")

    @cached_property
    def links(self) -> pd.DataFrame:
        """One row a direction of a link that carried something in the measured window."""
        return self._table("links")

    @cached_property
    def timeseries(self) -> pd.DataFrame:
        """One row a bin of a series."""
        return self._table("timeseries")

    @cached_property
    def power(self) -> pd.DataFrame:
        """Joules of each rack over each replication."""
        return self._table("power")

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.path / f"{name}.parquet")


class Interrupted(KeyboardInterrupt):
    """The user stopped a run; what had finished is in `run`, if anything had."""

    def __init__(self, run: Run | None, finished: int, asked: int) -> None:
        super().__init__(run, finished, asked)
        self.run = run
        self.finished = finished
        self.asked = asked

    def __str__(self) -> str:
        if self.run is None:
            return "interrupted before a replication had finished: nothing was kept"
        kept = f"{self.finished} of {self.asked} replications had finished"
        return f"interrupted: {kept} and are kept in {self.run.path}"
