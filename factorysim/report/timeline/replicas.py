"""Replicas: their runs of steps, several to a slice where there are too many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.report.timeline.lanes import lanes
from factorysim.report.timeline.slices import Slices
from factorysim.report.timeline.view import cut_args
from factorysim.store import Labels, join_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.report.timeline.packets import Tape
    from factorysim.report.timeline.sessions import Starts
    from factorysim.report.timeline.view import View
    from factorysim.store import Columns

    Ints = npt.NDArray[np.int64]

COLUMNS = (
    "replica", "started_s", "finished_s", "steps", "decodes", "prompts", "prompt_tokens",
    "emitted_tokens", "recomputed_tokens", "waiting", "kv_blocks",
)  # fmt: skip
SUMS = ("steps", "prompt_tokens", "emitted_tokens", "recomputed_tokens", "busy_s", "runs")
HIGHEST = ("decodes", "prompts", "waiting", "kv_blocks")
NAMES = ("step", "decode", "prefill", "prefill + decode")
"""By whether something decodes, and twice whether a prompt is computed."""


class Runs(NamedTuple):
    """Runs of steps by replica and time, or what several of them were together."""

    columns: Columns
    total: int
    """Runs that last into the window."""

    @property
    def shown(self) -> int:
        """Slices that they become."""
        return len(self.columns["replica"]) if self.total else 0


def read_runs(view: View, most: int) -> Runs:
    """Read runs of steps; if they are more than `most`, those that start close together as one.

    Close together: on one replica and in one of equal spans of time, as many as keep the
    slices below `most`.
    """
    total = sum(len(part["replica"]) for part in _inside(view, COLUMNS[:3]))
    if not total:
        return Runs({}, 0)
    parts = (_counted(part) for part in _inside(view, COLUMNS))
    if total > most:
        spans = max(1, most // max(1, sum(one["replicas"] for one in serving(view))))
        merged = (_merged(part, _span(view, part, spans)) for part in parts)
        runs = join_columns(merged, {})
        return Runs(_merged(runs, _span(view, runs, spans)), total)
    runs = join_columns(parts, {})
    order = _order(runs, runs["started_s"])
    return Runs({name: column[order] for name, column in runs.items()}, total)


def serving(view: View) -> list[Mapping[str, Any]]:
    """Deployments that serve LLMs."""
    return [one for one in view.stations if one["kind"] == "serve"]


def _inside(view: View, names: tuple[str, ...]) -> Iterator[Columns]:
    return view.inside("steps", names, "started_s", "finished_s")


def _counted(runs: Columns) -> Columns:
    import numpy as np

    busy = runs["finished_s"] - runs["started_s"]
    return {**runs, "busy_s": busy, "runs": np.ones(len(busy), np.int64)}


def _span(view: View, runs: Columns, spans: int) -> Ints:
    """Give the number of the span of time in which each run starts."""
    import numpy as np

    share = (runs["started_s"] - view.start_s) / (view.stop_s - view.start_s)
    number: Ints = np.clip((share * spans).astype(np.int64), 0, spans - 1)
    return number


def _order(runs: Columns, span: npt.NDArray[np.generic]) -> Ints:
    import numpy as np

    return np.lexsort((runs["finished_s"], runs["started_s"], span, runs["replica"]))


def _merged(runs: Columns, span: Ints) -> Columns:
    """Make one row of those of a replica and a span: sums, or the highest of any."""
    import numpy as np

    order = _order(runs, span)
    if not len(order):
        return runs
    columns = {name: column[order] for name, column in runs.items()}
    span, replica = span[order], columns["replica"]
    fresh = np.concatenate([[True], (span[1:] != span[:-1]) | (replica[1:] != replica[:-1])])
    first = np.flatnonzero(fresh)
    made = {name: columns[name][first] for name in ("replica", "started_s")}
    made |= {name: np.add.reduceat(columns[name], first) for name in SUMS}
    highest = ("finished_s", *HIGHEST)
    made |= {name: np.maximum.reduceat(columns[name], first) for name in highest}
    return {name: made[name] for name in columns}


def replica_slices(view: View, tape: Tape, runs: Runs, starts: Starts) -> list[Slices]:
    """Add the tracks of the replicas, and give their runs; arrows end where calls begin."""
    if not runs.total:
        return []
    columns = runs.columns
    replica, started, finished = (columns[name] for name in ("replica", "started_s", "finished_s"))
    start, end = view.cut_ns(started), view.cut_ns(finished)
    track = _tracks(view, tape, runs, lanes(replica, start, end))
    merged = runs.shown < runs.total
    args = {name: columns[name] for name in SUMS if merged or name not in ("busy_s", "runs")}
    args |= {f"{name}_max" if merged else name: columns[name] for name in HIGHEST}
    args |= cut_args(view, started, finished)
    kind = (columns["decodes"] > 0) + 2 * (columns["prompts"] > 0)
    slices = Slices("run", Labels(kind, NAMES), track, start, end, 0, args)
    return [slices._replace(flows=_heads(replica, start, end, starts))]


def _tracks(view: View, tape: Tape, runs: Runs, lane: Ints) -> Ints:
    """Add a track for each replica, and more of its name where its runs overlap."""
    import numpy as np

    replica = runs.columns["replica"]
    most = np.zeros(int(replica.max()) + 1, np.int64)
    np.maximum.at(most, replica, lane)
    table = np.zeros((len(most), int(most.max()) + 1), np.int64)
    used = set(np.unique(replica).tolist())
    for station in serving(view):
        first, count = int(station["first_replica"]), int(station["replicas"])
        mine = [number for number in range(first, first + count) if number in used]
        if not mine:
            continue
        note = f"Runs of steps. A replica has {station['kv_blocks']:,} KV blocks of "
        note += f"{station['block_tokens']} tokens on {station['devices_per_replica']} devices"
        parent = tape.track(_title(str(station["name"]), count, runs), note=note)
        for number in mine:
            for k in range(int(most[number]) + 1):
                name = f"replica {number - first}"
                table[number, k] = tape.track(name, parent, lane=True)
    return table[replica, lane]


def _title(name: str, count: int, runs: Runs) -> str:
    told = f"{name}: {count:,} replica{'' if count == 1 else 's'}"
    if runs.shown < runs.total:
        told += f" ({runs.total / runs.shown:.1f} runs of steps a slice)"
    return told


def _heads(replica: Ints, start: Ints, end: Ints, starts: Starts) -> dict[int, list[int]]:
    """Find the run in which each call begins to be computed."""
    import numpy as np

    heads: dict[int, list[int]] = {}
    for number in np.unique(starts.replica).tolist():
        rows = np.flatnonzero(replica == number)
        mine = starts.replica == number
        at, call = starts.at_ns[mine], starts.call[mine]
        place = np.searchsorted(start[rows], at, side="right") - 1
        for k, flow, instant in zip(place.tolist(), (call + 1).tolist(), at.tolist(), strict=True):
            if k >= 0 and instant <= end[rows[k]]:
                heads.setdefault(int(rows[k]), []).append(flow)
    return heads
