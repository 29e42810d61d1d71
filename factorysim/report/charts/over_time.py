"""What changed over a run: who was there and who waited, batches, KV, cores, power."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.inputs import HANDOFF_COLUMNS
from factorysim.metrics.over_time import BinMeans
from factorysim.metrics.series import half_bin
from factorysim.metrics.waiting import WAITING_CALLS, WAITING_TOOLS, waiting_spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from factorysim.report.charts.source import Place, Source

    Floats = npt.NDArray[np.float64]

BINS = 240
STEPS = ("replica", "started_s", "finished_s", "decodes", "prompts", "kv_blocks")


class Series(NamedTuple):
    """One line."""

    name: str
    values: Floats
    """Shape ``(replications, bins)``: means over the bins."""
    most: float | None
    """What it can be at the most; None: no such limit, or none that is known."""

    @property
    def mean(self) -> Floats:
        """Mean over replications, shape ``(bins,)``."""
        mean: Floats = self.values.mean(axis=0)
        return mean


class TimeChart(NamedTuple):
    """Lines over one axis of time."""

    name: str
    """`sessions`, `queue`, `batch`, `kv`, `tools` or `power`."""
    title: str
    unit: str
    """Blank: a number."""
    edges_s: Floats
    """Shape ``(bins + 1,)``, after the start of the run."""
    series: tuple[Series, ...]
    """May be none: then `reason` tells why."""
    reason: str


def time_charts(source: Source, bins: int = BINS) -> list[TimeChart]:
    """Sessions, queues, batches, KV, busy cores and power, over the whole run.

    Warm-up and drain are drawn too: what is left out of the metrics is not hidden.
    """
    import numpy as np

    end_s = max(source.end_s(replication) for replication in source.replications)
    edges = np.linspace(0.0, end_s if end_s > 0 else 1.0, bins + 1)
    found: dict[tuple[str, str], list[Floats]] = {}
    for replication in source.replications:
        for chart, line, values in _lines(source, replication, edges):
            found.setdefault((chart, line), []).append(values)
    most = _limits(source)
    return [
        TimeChart(
            name,
            title,
            unit,
            edges,
            tuple(
                Series(line, np.array(values), most.get((chart, line)))
                for (chart, line), values in found.items()
                if chart == name
            ),
            reason,
        )
        for name, (title, unit, reason) in CHARTS.items()
    ]


def racks_together(chart: TimeChart) -> TimeChart:
    """Add up the lines of racks of a kind: ``hgx/0``, ``hgx/1`` become ``hgx (2 racks)``."""
    kinds: dict[str, list[Series]] = {}
    for one in chart.series:
        kinds.setdefault(one.name.partition("/")[0], []).append(one)
    return chart._replace(
        series=tuple(
            Series(
                f"{kind} ({len(racks)} racks)" if len(racks) > 1 else kind,
                sum(one.values for one in racks[1:]) + racks[0].values,
                None,
            )
            for kind, racks in kinds.items()
        )
    )


CHARTS = {
    "sessions": ("Sessions in the system", "", "no session arrived"),
    "queue": ("Waiting, by deployment", "", "nothing is deployed"),
    "batch": ("Sequences in a step, mean of replicas", "", "no LLM is deployed"),
    "kv": ("KV cache held by running calls", "ratio", "no LLM is deployed"),
    "tools": ("Busy cores of tool hosts", "", "no tool ran on hosts of the factory"),
    "power": ("IT power", "W", "no power was recorded"),
}
"""Title, unit, and why there may be nothing."""


def _limits(source: Source) -> dict[tuple[str, str], float]:
    limits: dict[tuple[str, str], float] = {}
    for place in source.places:
        if place.serves:
            limits["batch", place.name] = float(place.max_sequences)
            limits["kv", place.name] = 1.0
        else:
            limits["tools", place.name] = place.devices
    return limits


def _lines(source: Source, replication: int, edges: Floats) -> Iterator[tuple[str, str, Floats]]:
    yield from _sessions(source, replication, edges)
    yield from _queues(source, replication, edges)
    yield from _steps(source, replication, edges)
    yield from _recorded(source, replication, edges)


def _sessions(source: Source, replication: int, edges: Floats) -> Iterator[tuple[str, str, Floats]]:
    import numpy as np

    names = ("stream", "arrived_s", "finished_s")
    sessions = source.columns("sessions", names, replication)
    left = np.where(np.isnan(sessions["finished_s"]), edges[-1], sessions["finished_s"])
    for stream in source.streams:
        its = sessions["stream"].equal(stream)
        bins = BinMeans(edges)
        bins.add(sessions["arrived_s"][its], left[its])
        yield "sessions", stream, bins.means()


def _queues(source: Source, replication: int, edges: Floats) -> Iterator[tuple[str, str, Floats]]:
    calls = source.columns("calls", WAITING_CALLS, replication)
    tools = source.columns("tools", WAITING_TOOLS, replication)
    handoffs = source.columns("handoffs", HANDOFF_COLUMNS, replication)
    for place in source.places:
        end_s = source.end_s(replication)
        since, until = waiting_spans(calls, tools, handoffs, {place.name}, end_s)
        bins = BinMeans(edges)
        bins.add(since, until)
        yield "queue", place.name, bins.means()


def _steps(source: Source, replication: int, edges: Floats) -> Iterator[tuple[str, str, Floats]]:
    """Batches and KV; a replica between steps has no sequence, and holds none's KV."""
    import numpy as np

    serving = [place for place in source.places if place.serves]
    batch = [BinMeans(edges) for _ in serving]
    blocks = [BinMeans(edges) for _ in serving]
    firsts = np.array([place.first_replica for place in serving])
    for group in source.groups("steps", STEPS, replication):
        owner = np.searchsorted(firsts, group["replica"], side="right") - 1
        for index in range(len(serving)):
            rows = owner == index
            since, until = group["started_s"][rows], group["finished_s"][rows]
            batch[index].add(since, until, (group["decodes"] + group["prompts"])[rows])
            blocks[index].add(since, until, group["kv_blocks"][rows])
    for place, sequences, held in zip(serving, batch, blocks, strict=True):
        yield "batch", place.name, sequences.means() / place.replicas
        yield "kv", place.name, held.means() / (place.replicas * _blocks(place))


def _blocks(place: Place) -> int:
    return max(1, place.kv_blocks)


def _recorded(source: Source, replication: int, edges: Floats) -> Iterator[tuple[str, str, Floats]]:
    """Series that the run recorded in bins of its own, in ours."""
    import numpy as np

    rows = source.columns("timeseries", ("at_s", "series", "place", "value"), replication)
    cores = {place.name for place in source.places if not place.serves}
    for chart, series in (("power", "power_w"), ("tools", "busy_cores")):
        of_series = rows["series"].equal(series)
        for place in rows["place"].words:
            mine = of_series & rows["place"].equal(place)
            if not mine.any() or (chart == "tools" and place not in cores):
                continue
            at_s = rows["at_s"][mine]
            half = half_bin(at_s)
            bins = BinMeans(edges)
            bins.add(at_s - half, np.minimum(at_s + half, edges[-1]), rows["value"][mine])
            yield chart, place, bins.means()
