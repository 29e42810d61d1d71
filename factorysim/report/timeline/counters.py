"""Counters: power and cores as the run recorded them; queues, batches, KV as means over bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.over_time import BinMeans
from factorysim.metrics.series import half_bin
from factorysim.metrics.waiting import waiting_spans
from factorysim.report.timeline.phases import CALL_COLUMNS, HANDOFF_COLUMNS, TOOL_COLUMNS
from factorysim.report.timeline.replicas import serving
from factorysim.report.timeline.slices import nanoseconds
from factorysim.report.timeline.view import evenly, no_rows, picked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.report.timeline.view import View

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

FACTORY = "factory"
"""Place of a series that is of all places together."""
BINS = 1_000
"""Of a counter in the window: about the pixels of a screen."""
DECIMALS = 4
"""Kept of a mean: sums of many floats are not exact below."""
PLACES = 50
"""Counters of one group at the most; the factory's own is always among them."""
RECORDED = {
    "power_w": ("power", "W"),
    "busy_cores": ("busy cores", "cores"),
    "io_cores": ("cores at I/O work", "cores"),
}
"""Series of the run -> what it is called, and its unit."""


class Counter(NamedTuple):
    """A value that is drawn as a line of steps."""

    group: str
    name: str
    unit: str
    at_ns: Ints
    value: Floats
    """From `at_ns` on."""

    @property
    def whole(self) -> bool:
        """Whether it is of the whole factory."""
        return self.name.endswith(f": {FACTORY}")


def counters(view: View) -> Iterator[Counter]:
    """Give all counters of the window."""
    yield from _recorded(view)
    yield from _sessions(view)
    yield from _waiting(view)
    yield from _replicas(view)


def _recorded(view: View) -> Iterator[Counter]:
    """Give the series of the run: means over its own bins, each from where its bin begins."""
    import numpy as np

    names = ("at_s", "series", "place", "value")
    rows = view.read("timeseries", names)
    for series, word in enumerate(rows["series"].words):
        mine = rows["series"].codes == series
        title, unit = RECORDED.get(word, (word, ""))
        codes = np.unique(rows["place"].codes[mine])
        places = [rows["place"].words[code] for code in codes.tolist()]
        kept, told = _few(places)
        for code, place in zip(codes.tolist(), places, strict=True):
            if place in kept:
                of = picked(rows, mine & (rows["place"].codes == code))
                name = f"{title}: {place}"
                yield from _line(view, title + told, name, unit, of["at_s"], of["value"])


def _few(names: Sequence[str]) -> tuple[set[str], str]:
    """Choose some of the counters of a group, the factory's among them; say so if it is not all."""
    kept = {names[k] for k in evenly(len(names), PLACES).tolist()} | ({FACTORY} & set(names))
    return kept, f" ({len(kept)} of {len(names):,})" if len(kept) < len(names) else ""


def _line(
    view: View, group: str, name: str, unit: str, at_s: Floats, value: Floats
) -> Iterator[Counter]:
    """Give bins, known by their middles, that lie in the window; of too many, means of some."""
    import numpy as np

    order = np.argsort(at_s)
    at_s, value = at_s[order], value[order]
    half = half_bin(at_s)
    seen = (at_s + half > view.start_s) & (at_s - half < view.stop_s)
    if not seen.any():
        return
    start, value = at_s[seen] - half, value[seen]
    first = np.arange(0, len(start), -(-len(start) // BINS))
    mean = np.add.reduceat(value, first) / np.diff([*first, len(start)])
    yield Counter(group, name, unit, view.cut_ns(start[first]), mean)


class _Means:
    """Means over equal bins of the window, by name."""

    def __init__(self, view: View) -> None:
        import numpy as np

        self._view = view
        self._edges = np.linspace(view.start_s, view.stop_s, BINS + 1)
        self._bins: dict[str, BinMeans] = {}

    def add(self, name: str, since_s: Floats, until_s: Floats, value: Floats | float = 1.0) -> None:
        """Count what lasts from when until when."""
        if len(since_s):
            bins = self._bins.setdefault(name, BinMeans(self._edges))
            bins.add(since_s, until_s, value)

    def counters(
        self, group: str, unit: str, scale: Mapping[str, float] | None = None
    ) -> Iterator[Counter]:
        """Give what was counted, where it changes."""
        import numpy as np

        kept, told = _few(sorted(self._bins))
        for name in sorted(kept):
            mean = self._bins[name].means() * (1.0 if scale is None else scale[name])
            mean = np.round(mean, DECIMALS) + 0.0  # no negative zero
            changed = np.concatenate([[True], mean[1:] != mean[:-1]])
            at = nanoseconds(self._edges[:-1])
            yield Counter(group + told, f"{group}: {name}", unit, at[changed], mean[changed])


def _sessions(view: View) -> Iterator[Counter]:
    """Count sessions in flight by stream."""
    means = _Means(view)
    for rows in view.groups("sessions", ("stream", "arrived_s", "finished_s")):
        until = view.until(rows["finished_s"])
        for stream in rows["stream"].words:
            mine = rows["stream"].equal(stream)
            means.add(stream, rows["arrived_s"][mine], until[mine])
    yield from means.counters("sessions in flight", "sessions")


def _waiting(view: View) -> Iterator[Counter]:
    """Count calls and tools that wait, by deployment."""
    import numpy as np

    means = _Means(view)
    calls, tools = (
        no_rows(table, names) for table, names in (("calls", CALL_COLUMNS), ("tools", TOOL_COLUMNS))
    )
    handoffs = view.read("handoffs", HANDOFF_COLUMNS)
    nothing = picked(handoffs, np.zeros(len(handoffs["call"]), bool))
    names = [str(one["name"]) for one in view.stations]
    for part in view.groups("calls", CALL_COLUMNS):
        theirs = picked(handoffs, np.isin(handoffs["call"], part["call"]))
        for name in names:
            means.add(name, *waiting_spans(part, tools, theirs, {name}, view.end_s))
    for part in view.groups("tools", TOOL_COLUMNS):
        for name in names:
            means.add(name, *waiting_spans(calls, part, nothing, {name}, view.end_s))
    yield from means.counters("queue", "waiting")


def _replicas(view: View) -> Iterator[Counter]:
    """Count sequences in steps, and the KV that they hold, by deployment."""
    running, kv = _Means(view), _Means(view)
    columns = ("replica", "started_s", "finished_s", "decodes", "prompts", "kv_blocks")
    stations = serving(view)
    for rows in view.inside("steps", columns, "started_s", "finished_s"):
        for one in stations:
            first, name = int(one["first_replica"]), str(one["name"])
            mine = (rows["replica"] >= first) & (rows["replica"] < first + int(one["replicas"]))
            span = (rows["started_s"][mine], rows["finished_s"][mine])
            running.add(name, *span, (rows["decodes"] + rows["prompts"])[mine])
            if one["kv_blocks"]:
                kv.add(name, *span, rows["kv_blocks"][mine])
    yield from running.counters("running sequences", "sequences")
    held = {
        str(one["name"]): 100.0 / (int(one["kv_blocks"]) * int(one["replicas"]))
        for one in stations
        if one["kv_blocks"]
    }
    yield from kv.counters("KV held", "% of blocks", held)
