"""Write a timeline: what is shown, in which order, and what the trace says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import factorysim
from factorysim.report.timeline.chosen import Chosen, choose
from factorysim.report.timeline.counters import Counter, counters
from factorysim.report.timeline.names import Names, names_of
from factorysim.report.timeline.packets import Tape
from factorysim.report.timeline.places import (
    KINDS,
    event_instants,
    place_slices,
    read_thinned,
)
from factorysim.report.timeline.replicas import read_runs, replica_slices
from factorysim.report.timeline.sessions import session_slices
from factorysim.report.timeline.slices import Slices, one_name
from factorysim.store import write_bytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.report.timeline.view import View

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

SESSIONS, RUNS, PLACES = 150_000, 50_000, 20_000
"""Slices of sessions, of replicas, and of each kind of place, at the most, about: a trace stays
below 30 MB or so, which a browser opens in seconds."""
FEW = 4
"""Counters of a group that stand at the top by themselves, where they are seen at once."""


class Timeline(NamedTuple):
    """A trace that was written."""

    path: Path
    size_bytes: int
    packets: int
    told: tuple[str, ...]
    """What is shown, and what of how many."""


def write_timeline(view: View, out: Path, sessions: int | None = None) -> Timeline:
    """Write one replication of a run, between two instants, as a Perfetto trace.

    Parameters
    ----------
    view
        From `look`.
    sessions
        To show at the most, evenly over each stream's time; None: as many as keep the trace
        easy to open. What else is too much is thinned evenly or merged; the trace says so.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    tape, told = Tape(), list[str]()
    write_bytes(out, _parts(view, tape, told, sessions))
    return Timeline(out, out.stat().st_size, tape.packets, tuple(told))


def _parts(view: View, tape: Tape, told: list[str], sessions: int | None) -> Iterator[bytes]:
    """Make the trace, a few thousand packets at a time; `told` is what it shows."""
    chosen = choose(view, sessions, SESSIONS)
    runs = read_runs(view, RUNS)
    places = [(kind, read_thinned(view, kind, PLACES)) for kind in KINDS]
    told.append(_sampled(view, chosen))
    if runs.shown < runs.total:
        told.append(f"{runs.total:,} runs of steps merged to {runs.shown:,} slices")
    told += [
        f"1 in {found.every:,} of {found.total:,} rows of {kind.title}"
        for kind, found in places
        if found.every > 1
    ]
    numbered = any(found.total for kind, found in places if kind.numbered)
    names = names_of(view.path, view.manifest) if numbered else Names()
    if names.reason:
        told.append(f"nodes and hosts by their numbers: {names.reason}")
    about = tape.track(f"about: {told[0]}", note="; ".join(told))
    lines = _counter_tracks(view, tape)
    flowing, starts = session_slices(view, tape, chosen)
    steps = replica_slices(view, tape, runs, starts)
    others = [place_slices(view, tape, kind, found, names) for kind, found in places]
    events = event_instants(view, tape, PLACES)
    facts = _facts(view)
    yield from tape.attributes(facts | {"factorysim.shown": "; ".join(told)})
    yield from tape.tracks()
    yield from tape.slices([_about(view, about, facts, told)])
    yield from tape.counters(lines)
    for batches in (flowing, steps, *others):
        yield from tape.slices(batches)
    yield from tape.slices(events, "instant")


def _sampled(view: View, chosen: Chosen) -> str:
    of = "" if view.whole else " of the window"
    if chosen.shown < chosen.total:
        return f"sampled: {chosen.shown:,} of {chosen.total:,} sessions{of}"
    return f"all {chosen.total:,} sessions{of}" if chosen.total != 1 else f"the one session{of}"


def _facts(view: View) -> dict[str, str | int]:
    """Tell which run this is, for the trace's metadata."""
    manifest = view.manifest
    start, stop, end = (f"{at:.10g} s" for at in (view.start_s, view.stop_s, view.end_s))
    return {
        "factorysim.version": factorysim.__version__,
        "factorysim.scenario": str(manifest["scenario"]["name"]),
        "factorysim.question": " ".join(str(manifest["scenario"]["question"]).split()),
        "factorysim.run": str(manifest["manifest_sha256"]),
        "factorysim.seed": int(manifest["seed"]),
        "factorysim.replication": view.replication,
        "factorysim.window": f"{start} to {stop} of {end}",
    }


def _about(view: View, track: int, facts: dict[str, str | int], told: list[str]) -> Slices:
    """Make a slice as long as the window, which tells what the trace is of and what it lacks."""
    import numpy as np

    name = f"{facts['factorysim.scenario']}, replication {view.replication}"
    words = {key.removeprefix("factorysim."): str(value) for key, value in facts.items()}
    words |= {f"shown {place}": text for place, text in enumerate(told, 1)}
    window = view.cut_ns(np.array([view.start_s, view.stop_s]))
    return Slices(
        "about",
        one_name(name, 1),
        np.array([track]),
        window[:1],
        window[1:],
        0,
        {key: one_name(text, 1) for key, text in words.items()},
    )


def _counter_tracks(view: View, tape: Tape) -> list[tuple[int, Ints, Floats]]:
    """Add the tracks of all counters: the factory's and those of small groups at the top."""
    groups: dict[str, list[Counter]] = {}
    for counter in counters(view):
        groups.setdefault(counter.group, []).append(counter)
    lines = []
    for name, members in groups.items():
        grouped = len(members) > FEW
        members.sort(key=lambda one: (not one.whole, one.name))
        rest = sum(not one.whole for one in members)
        parent = 0
        for one in members:
            if grouped and not one.whole and not parent:
                parent = tape.track(f"{name}: {rest:,} places")
            track = tape.track(one.name, 0 if one.whole else parent, unit=one.unit)
            lines.append((track, one.at_ns, one.value))
    return lines
