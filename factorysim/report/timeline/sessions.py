"""Sessions: a track each, with its calls, tools and gaps, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.timeline.chosen import CRITICAL, TOLD, Chosen
from factorysim.report.timeline.lanes import lanes, pauses
from factorysim.report.timeline.phases import (
    CALL_COLUMNS,
    HANDOFF_COLUMNS,
    TOOL_COLUMNS,
    Phases,
    call_phases,
    handed_phases,
    tool_phases,
)
from factorysim.report.timeline.slices import Slices, one_name
from factorysim.report.timeline.view import View, cut_args, no_rows, picked
from factorysim.store import Labels, join_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.report.timeline.packets import Tape
    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

CALL_ARGS = (
    "call", "replica", "outcome", "prompt_tokens", "hit_tokens", "output_tokens", "preemptions",
    "attempts",
)  # fmt: skip
TOOL_ARGS = ("tool", "deployment", "host", "outcome", "cpu_s", "cores", "attempts")


class Starts(NamedTuple):
    """Where calls that are shown begin to be computed: the tails of the arrows."""

    call: Ints
    replica: Ints
    at_ns: Ints


class _Items(NamedTuple):
    """Calls or tools of the chosen sessions, and the phases of each."""

    category: str
    name: Labels
    rows: Columns
    args: tuple[str, ...]
    phases: Phases
    group: Ints
    """The row of its session."""
    start_ns: Ints
    end_ns: Ints


def session_slices(view: View, tape: Tape, chosen: Chosen) -> tuple[list[Slices], Starts]:
    """Add the tracks of the chosen sessions, and give their slices."""
    import numpy as np

    if not chosen.shown:
        none = np.zeros(0, np.int64)
        return [], Starts(none, none, none)
    items = [*_calls(view, chosen), _tools(view, chosen)]
    group, start, end = (
        np.concatenate([getattr(one, name) for one in items])
        for name in ("group", "start_ns", "end_ns")
    )
    since = view.cut_ns(chosen.rows["arrived_s"])
    until = view.cut_ns(view.until(chosen.rows["finished_s"]))
    np.minimum.at(since, group, start)
    np.maximum.at(until, group, end)  # what a failed session leaves behind goes on
    lane = lanes(group, start, end)
    home, track = _tracks(tape, chosen, group, lane)
    of, begin, stop = pauses(group, start, end, since, until)
    batches = [
        _whole(view, chosen, home, since, until),
        Slices("gap", one_name("gap", len(of)), home[of], begin, stop, 1),
    ]
    first = np.cumsum([0, *(len(one.group) for one in items)])
    for one, low, high in zip(items, first, first[1:], strict=False):
        batches += _told(view, one, track[low:high])
    batches += _stalls(view, items, track)
    return batches, _starts(view, items)


def _calls(view: View, chosen: Chosen) -> list[_Items]:
    """Read the calls of the chosen sessions: those of one replica, and those handed over."""
    import numpy as np

    calls = _of_chosen(view, chosen, "calls", CALL_COLUMNS, "arrived_s")
    parts = [
        picked(group, np.isin(group["call"], calls["call"]))
        for group in view.groups("handoffs", HANDOFF_COLUMNS)
    ]
    handoffs = join_columns(parts, no_rows("handoffs", HANDOFF_COLUMNS))
    handed = np.isin(calls["call"], handoffs["call"])
    calls, split = picked(calls, ~handed), picked(calls, handed)
    order = np.argsort(handoffs["call"])
    handoffs = picked(handoffs, order[np.searchsorted(handoffs["call"][order], split["call"])])
    split = {**split, "prefill_replica": handoffs["prefill_replica"]}
    split["moved_bytes"] = handoffs["moved_bytes"]
    return [
        _items(view, chosen, "call", calls, CALL_ARGS, call_phases(calls, view.end_s)),
        _items(
            view,
            chosen,
            "call",
            split,
            (*CALL_ARGS, "prefill_replica", "moved_bytes"),
            handed_phases(split, handoffs, view.end_s),
        ),
    ]


def _tools(view: View, chosen: Chosen) -> _Items:
    tools = _of_chosen(view, chosen, "tools", TOOL_COLUMNS, "ready_s")
    return _items(view, chosen, "tool", tools, TOOL_ARGS, tool_phases(tools, view.end_s))


def _of_chosen(
    view: View, chosen: Chosen, table: str, names: tuple[str, ...], since: str
) -> Columns:
    """Read what belongs to the chosen sessions and lasts into the window."""
    import numpy as np

    groups = view.inside(table, names, since, "finished_s")
    parts = [picked(group, np.isin(group["session"], chosen.rows["session"])) for group in groups]
    return join_columns(parts, no_rows(table, names))


def _items(
    view: View,
    chosen: Chosen,
    category: str,
    rows: Columns,
    args: tuple[str, ...],
    phases: Phases,
) -> _Items:
    where = rows["cls"] if category == "tool" else rows["deployment"]
    name = where if category == "tool" else Labels(where.codes, _prefixed("call", where.words))
    bounds = phases.bounds_s
    group, start, end = chosen.at(rows["session"]), view.cut_ns(bounds[:, 0]), bounds[:, -1]
    return _Items(category, name, rows, args, phases, group, start, view.cut_ns(end))


def _prefixed(word: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{word}: {name}" for name in names)


def _tracks(tape: Tape, chosen: Chosen, group: Ints, lane: Ints) -> tuple[Ints, Ints]:
    """Add a track for each session, and more below it where it does things at once.

    Returns
    -------
    Track of each session, and of each thing that it does.
    """
    import numpy as np

    stream, number = chosen.rows["stream"], chosen.rows["session"].tolist()
    parents = {
        name: tape.track(
            f"sessions of {name}: {shown:,} of {total:,}",
            note="A track for each session: its calls, tools and gaps, and what they wait for",
        )
        for name, (shown, total) in chosen.of_stream.items()
        if shown
    }
    most = np.zeros(chosen.shown, np.int64)
    np.maximum.at(most, group, lane)
    table = np.zeros((chosen.shown, int(most.max()) + 1), np.int64)
    for row, (code, sid) in enumerate(
        zip(stream.codes.tolist(), chosen.rows["sid"].tolist(), strict=True)
    ):
        table[row, 0] = tape.track(f"{number[row]}: {sid}", parents[stream.words[code]])
        for other in range(1, int(most[row]) + 1):
            table[row, other] = tape.track("at the same time", int(table[row, 0]), lane=True)
    return table[:, 0], table[group, lane]


def _whole(view: View, chosen: Chosen, track: Ints, since: Ints, until: Ints) -> Slices:
    """Give the slice around all that a session does."""
    import numpy as np

    rows = chosen.rows
    args = {name: rows[name] for name in (*TOLD, *CRITICAL)}
    args |= cut_args(view, rows["arrived_s"], view.until(rows["finished_s"]))
    name = Labels(np.zeros(chosen.shown, np.int32), ("session",))
    return Slices("session", name, track, since, until, 0, args)


def _told(view: View, one: _Items, track: Ints) -> Iterator[Slices]:
    """Give the slices of calls or tools on their tracks, and of the phases inside them."""
    bounds = one.phases.bounds_s
    args = {name: one.rows[name] for name in one.args}
    args |= cut_args(view, bounds[:, 0], bounds[:, -1])
    yield Slices(one.category, one.name, track, one.start_ns, one.end_ns, 1, args)
    for place, phase in enumerate(one.phases.names):
        since, until = (view.cut_ns(bounds[:, place + k]) for k in (0, 1))
        lasts = until > since
        made = Slices("phase", one_name(phase, len(track)), track, since, until, 2).where(lasts)
        if phase == "prefill":
            calls, at = one.rows["call"][lasts].tolist(), bounds[lasts, place].tolist()
            flows = {
                row: (call + 1,)
                for row, (call, began) in enumerate(zip(calls, at, strict=True))
                if began >= view.start_s
            }
            made = made._replace(flows=flows)
        yield made


def _starts(view: View, items: list[_Items]) -> Starts:
    """Find when and on which replica each call began to be computed, of those in the window."""
    import numpy as np

    found = []
    for one in items:
        if one.category == "call":
            began = one.phases.bounds_s[:, one.phases.names.index("prefill")]
            replica = one.rows.get("prefill_replica", one.rows["replica"])
            seen = (began >= view.start_s) & (began < view.stop_s) & (replica >= 0)
            found.append((one.rows["call"][seen], replica[seen], view.cut_ns(began[seen])))
    return Starts(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _stalls(view: View, items: list[_Items], track: Ints) -> Iterator[Slices]:
    """Give the exceptional gaps between two tokens of a call, inside its decode."""
    import numpy as np

    first = 0
    for one in items:
        own, first = track[first : first + len(one.group)], first + len(one.group)
        if one.category != "call" or not len(own):
            continue
        decode = one.phases.names.index("decode")
        since, until = (view.cut_ns(one.phases.bounds_s[:, decode + k]) for k in (0, 1))
        order = np.argsort(one.rows["call"])
        known = one.rows["call"][order]
        for gaps in view.groups("gaps", ("call", "at_s", "gap_s", "cause")):
            mine = picked(gaps, np.isin(gaps["call"], known) & ~gaps["cause"].equal("hand_off"))
            row = order[np.searchsorted(known, mine["call"])]
            begin = np.maximum(view.cut_ns(mine["at_s"] - mine["gap_s"]), since[row])
            end = np.minimum(view.cut_ns(mine["at_s"]), until[row])
            name = Labels(mine["cause"].codes, _prefixed("stall", mine["cause"].words))
            yield Slices("stall", name, own[row], begin, end, 3).where(end > begin)
