"""After a spike of arrivals: how long until as few wait, and are there, as before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.inputs import Layout, Spike, Tables, Value, Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LEVEL = 0.95
"""Share of the time before a spike in which there were no more than its level."""
WHAT = ("waiting", "calls", "sessions")
NO_SPIKES = "no stream has a spike of more than its usual rate"


class Count(NamedTuple):
    """How many there are, as a staircase: from each instant on, until the next."""

    at_s: Floats
    number: Floats

    def after(self, instant_s: float) -> float:
        """Count those there at an instant, whoever comes or leaves just then settled."""
        import numpy as np

        step = int(np.searchsorted(self.at_s, instant_s, side="right"))
        return float(self.number[step - 1]) if step else 0.0


def count(came_s: Floats, left_s: Floats) -> Count:
    """Count who is there in the course of time; who has not left (NaN) stays.

    Examples
    --------
    >>> import numpy as np
    >>> there = count(np.array([0.0, 1.0]), np.array([2.0, np.nan]))
    >>> there.number.tolist()
    [1.0, 2.0, 1.0]
    """
    import numpy as np

    left = left_s[~np.isnan(left_s)]
    instants = np.concatenate([came_s, left])
    changes = np.concatenate([np.ones(len(came_s)), -np.ones(len(left))])
    at, where = np.unique(instants, return_inverse=True)
    return Count(at, np.cumsum(np.bincount(where, changes, len(at))))


def level_before(there: Count, start_s: float, end_s: float) -> float:
    """Least number that was not exceeded in 95 % of a time.

    Examples
    --------
    >>> import numpy as np
    >>> there = count(np.array([0.0, 9.0, 9.6]), np.array([99.0, 99.0, 99.0]))
    >>> level_before(there, 0.0, 10.0)  # two from 9 s on, three for the last 0.4 s
    2.0
    """
    import numpy as np

    inside = (there.at_s > start_s) & (there.at_s < end_s)
    edges = np.concatenate([[start_s], there.at_s[inside], [end_s]])
    number = np.concatenate([[there.after(start_s)], there.number[inside]])
    order = np.argsort(number, kind="stable")
    spent = np.cumsum(np.diff(edges)[order])
    place = int(np.searchsorted(spent, LEVEL * spent[-1] * (1 - 1e-12)))
    return float(number[order][place])


def recovery_s(there: Count, level: float, from_s: float, until_s: float) -> float | None:
    """Time until no more than a level are there again; None: not until the end.

    Examples
    --------
    >>> import numpy as np
    >>> there = count(np.zeros(5), np.array([3.0, 4.0, 5.0, 6.0, 7.0]))
    >>> recovery_s(there, 1.0, 2.0, 100.0)
    4.0
    """
    import numpy as np

    if there.after(from_s) <= level:
        return 0.0
    later = np.flatnonzero((there.at_s > from_s) & (there.at_s < until_s))
    back = later[there.number[later] <= level]
    return float(there.at_s[back[0]] - from_s) if len(back) else None


def recovery_values(tables: Tables, window: Window, layout: Layout) -> list[Value]:
    """Time that each spike of a stream is felt by its calls and sessions, and the longest.

    Of each spike, the level before is that of the time since the spike before it, or
    since the window's start: the number not exceeded in 95 % of that time. It is felt
    until, after its end, no more than that are there for the first time. What has not
    come back by the window's end, when arrivals end, has no value.
    """
    if not layout.spikes:
        return [Value(f"recovery_s.{what}", None, reason=NO_SPIKES) for what in WHAT]
    values: list[Value] = []
    for what in WHAT:
        found: list[Value] = []
        calm: dict[str, float] = {}
        for spike in layout.spikes:
            since = calm.get(spike.stream, window.start_s)
            there = _there(tables, what, spike.stream)
            told, reason = _felt(there, spike, since, window.end_s)
            key = f"{spike.stream}.{spike.name}"
            found.append(Value(f"recovery_s.{what}", told, 0, reason, "spike", key))
            calm[spike.stream] = spike.end_s
        values += [_longest(found), *found]
    return values


def _there(tables: Tables, what: str, stream: str) -> Count:
    """Count a stream's calls before their first token, its calls, or its sessions."""
    import numpy as np

    table = tables.sessions if what == "sessions" else tables.calls
    came, left = table["arrived_s"], table["finished_s"]
    if what == "waiting":
        first = table["first_token_s"]
        left = np.where(np.isnan(first), left, first)
    mine = table["stream"].equal(stream)
    return count(came[mine], left[mine])


def _felt(there: Count, spike: Spike, since_s: float, until_s: float) -> tuple[float | None, str]:
    """Give the time, or the reason why there is none."""
    if spike.start_s <= since_s:
        return None, f"spike {spike.name}: no time before it to compare with"
    if spike.end_s >= until_s:
        return None, f"spike {spike.name}: not over before the window is"
    level = level_before(there, since_s, spike.start_s)
    felt = recovery_s(there, level, spike.end_s, until_s)
    if felt is None:
        watched = f"{until_s - spike.end_s:.4g} s, until the window's end"
        return None, f"spike {spike.name}: felt for more than {watched} (level {level:g})"
    return felt, ""


def _longest(found: list[Value]) -> Value:
    """Of all spikes, the longest; none where that of one is not known."""
    missing = [value for value in found if value.value is None]
    worst = missing[0] if missing else max(found, key=lambda value: float(value.value or 0.0))
    return worst._replace(by="all", key="")
