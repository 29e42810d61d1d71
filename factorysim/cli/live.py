"""The live bar on standard error: simulated time, sessions a second, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from factorysim.run.replicate import Progress

Tell = Callable[[str, "Progress"], None]
"""Told the scenario's name and how far it is."""


@contextmanager
def live_bar(quiet: bool) -> Iterator[Tell | None]:
    """Show a bar while the block runs, if a terminal looks on; else give None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Teller(bar).tell


class _Teller:
    """Turns what a run says of itself into the state of the bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, rate="")
        self._phase = ""
        self._began = 0.0

    def tell(self, label: str, progress: Progress) -> None:
        """Show how far a scenario is."""
        from factorysim.report.numbers import amount, seconds

        phase = f"{label}: {progress.phase}"
        if phase != self._phase:
            self._phase, self._began = phase, time.monotonic()
            self._bar.reset(self._task, description=phase, total=progress.of_s or None)
        wall_s = max(time.monotonic() - self._began, 1e-9)
        rate = f"{seconds(progress.simulated_s)}, {amount(progress.sessions / wall_s)} sessions/s"
        self._bar.update(
            self._task,
            description=f"{phase} {progress.done}/{progress.total}" if progress.total else phase,
            completed=progress.simulated_s,
            rate=rate if progress.total else "",
        )
