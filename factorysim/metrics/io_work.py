"""I/O work: cores that TLS, packets and storage took, of hosts and of DPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Tables, Value, Window
from factorysim.metrics.series import mean_in_window

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST, DPU, BUSY = "io_work.host_cores", "io_work.dpu_cores", "io_work.dpu_utilization"
FREE = "serving.io_work is not given: TLS, packets and storage cost no cores"
NO_DPU = "no I/O work is on DPUs"
DPUS = "DPU cores"
"""Name of their station, and place of their series."""


def io_values(tables: Tables, window: Window) -> list[Value]:
    """Cores that worked on each kind, by whose they were, and how busy DPUs were."""
    series = tables.timeseries
    mine, labels = series["series"].equal("io_cores"), series["place"]
    places = sorted(word for word in labels.words if (mine & labels.equal(word)).any())
    if not places:
        return [Value(name, None, reason=FREE) for name in (HOST, DPU, BUSY)]
    values = _cores(HOST, "host", places, tables, window)
    stations = [line for line in tables.closing.stations if line.station == DPUS]
    if not stations:
        return values + [Value(name, None, reason=NO_DPU) for name in (DPU, BUSY)]
    busy = mean_in_window(tables, window, "busy_cores", (DPUS,))
    values += _cores(DPU, "dpu", places, tables, window)
    return [*values, Value(BUSY, busy / stations[0].capacity)]


def _cores(
    name: str, owner: str, places: Sequence[str], tables: Tables, window: Window
) -> list[Value]:
    """Mean cores of one owner: all, and by kind of work."""
    parts = []
    for place in places:
        whose, _, kind = place.partition(" ")
        if whose == owner:
            cores = mean_in_window(tables, window, "io_cores", (place,))
            parts.append(Value(name, cores, by="io_work", key=kind))
    return [Value(name, sum(float(part.value or 0.0) for part in parts)), *parts]
