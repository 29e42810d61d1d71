"""What goes on at places: tools at hosts, sandboxes, transfers, KV tiers; and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.report.timeline.lanes import lanes
from factorysim.report.timeline.slices import Slices
from factorysim.report.timeline.view import View, cut_args, picked
from factorysim.store import Labels, join_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.report.timeline.names import Names
    from factorysim.report.timeline.packets import Tape
    from factorysim.store import Columns

    Ints = npt.NDArray[np.int64]


class Kind(NamedTuple):
    """A table whose rows are drawn as slices on lanes."""

    title: str
    table: str
    note: str
    group: str
    """Column of words: a group of tracks for each."""
    host: str | None
    """Column of numbers: tracks of a group for each; None: one for the group."""
    name: str
    """Column of words that slices are called by."""
    since: str
    until: str
    args: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    """Of them, numbers of nodes."""

    @property
    def numbered(self) -> bool:
        """Whether it has numbers that have names."""
        return bool(self.host or self.nodes)


KINDS = (
    Kind(
        "tools", "tools", "Tools while a host runs them; their waits are with their sessions",
        "deployment", "host", "cls", "started_s", "finished_s",
        ("tool", "session", "outcome", "cores", "cpu_s", "memory_bytes", "sandbox"),
    ),
    Kind(
        "sandboxes", "sandboxes", "Sandboxes from when they get memory until they end",
        "deployment", "host", "outcome", "granted_s", "ended_s",
        ("sandbox", "session", "warm", "asked_s", "ready_s", "tools", "memory_bytes"),
    ),
    Kind(
        "transfers", "transfers", "Bytes that cross the fabric, between nodes of the graph",
        "kind", None, "kind", "started_s", "finished_s", ("src", "dst", "size_bytes", "slowed_s"),
        ("src", "dst"),
    ),
    Kind(
        "KV tiers", "tiers", "What becomes of KV blocks in the tiers below HBM",
        "tier", None, "event", "started_s", "finished_s",
        ("replica", "call", "blocks", "size_bytes", "hit_tokens"),
    ),
)  # fmt: skip


class Thinned(NamedTuple):
    """Rows of a table in the window, or an even part of them."""

    rows: Columns
    total: int
    every: int
    """One row in so many is shown."""


def read_thinned(view: View, kind: Kind, most: int) -> Thinned:
    """Read the rows in the window; of more than `most`, one in so many, in order of the table."""
    import numpy as np

    pair = (kind.since, kind.until)
    total = sum(len(part[kind.since]) for part in view.inside(kind.table, pair, *pair))
    every = max(1, -(-total // most))
    words = {kind.group, kind.name, *kind.args, *pair, *((kind.host,) if kind.host else ())}
    parts, seen = [], 0
    for part in view.inside(kind.table, tuple(sorted(words)), *pair):
        count = len(part[kind.since])
        parts.append(picked(part, (np.arange(seen, seen + count) % every) == every // 2))
        seen += count
    return Thinned(join_columns(parts, {}), total, every)


def place_slices(view: View, tape: Tape, kind: Kind, found: Thinned, names: Names) -> list[Slices]:
    """Add a group of tracks for each place, and give what goes on there."""
    if not found.total:
        return []
    rows = found.rows
    since, until = rows[kind.since], view.until(rows[kind.until])
    start, end = view.cut_ns(since), view.cut_ns(until)
    track = _tracks(tape, kind, found, start, end, names)
    args = {name: rows[name] for name in kind.args} | cut_args(view, since, until)
    args |= {name: names.of(rows[name]) for name in kind.nodes}
    return [Slices(kind.table, rows[kind.name], track, start, end, 0, args)]


def _tracks(tape: Tape, kind: Kind, found: Thinned, start: Ints, end: Ints, names: Names) -> Ints:
    """Add tracks: by group and host, as many of a name as go on at once."""
    import numpy as np

    group: Labels = found.rows[kind.group]
    host = np.zeros(len(start), np.int64) if kind.host is None else found.rows[kind.host]
    place = group.codes.astype(np.int64) * (int(host.max()) + 2) + host + 1
    lane = lanes(place, start, end)
    keys = np.stack([group.codes, host, lane], axis=1)
    known, which = np.unique(keys, axis=0, return_inverse=True)
    thinned = f" (1 in {found.every:,})" if found.every > 1 else ""
    root = tape.track(f"{kind.title}{thinned}", note=kind.note)
    parents: dict[int, int] = {}
    made = []
    for code, number, _ in known.tolist():
        word = group.words[code]
        if kind.host is None:
            made.append(tape.track(word, root, lane=True))
            continue
        if code not in parents:
            parents[code] = tape.track(word, root)
        made.append(tape.track(names.host(word, number), parents[code], lane=True))
    return np.array(made, np.int64)[which.ravel()]


def event_instants(view: View, tape: Tape, most: int) -> list[Slices]:
    """Add a track for each kind of event, and give the events."""
    import numpy as np

    kind = Kind("events", "events", "", "kind", None, "kind", "at_s", "at_s", ("entity", "detail"))
    found = read_thinned(view, kind, most)
    if not found.total:
        return []
    rows: dict[str, Any] = dict(found.rows)
    at, labels = view.cut_ns(rows["at_s"]), rows["kind"]
    root = tape.track(f"events{f' (1 in {found.every:,})' if found.every > 1 else ''}")
    tracks = np.array([tape.track(word, root) for word in labels.words], np.int64)
    args = {name: rows[name] for name in kind.args}
    return [Slices("event", labels, tracks[labels.codes], at, at, 0, args)]
