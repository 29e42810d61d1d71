"""At what context sessions are compacted whenever they reach it.

An LLM's context ends somewhere, and the harness compacts before: always there, in
one session, and elsewhere in another. Sessions that ended before they came so far
say only that their limit lies beyond, and those that began beyond a context say
nothing of it: the product-limit estimate with delayed entry [1]_ takes both in.

References
----------
.. [1] Kaplan, Meier, "Nonparametric estimation from incomplete observations", JASA 1958;
   Klein, Moeschberger, Survival Analysis, 2003, section 4.6 (left truncation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from factorysim.workload.twin.calls import Bools, Calls, Ints

LONG_CALLS = 8
"""Of a session, at least: shorter ones do not show a limit."""
NEAR = 0.85
"""Of the longest prompt of its session: a compaction there is one at its limit."""
POINTS = 40


def _longest(calls: Calls) -> Ints:
    longest = np.zeros(int(calls.session[-1]) + 1, dtype=np.int64)
    np.maximum.at(longest, calls.session, calls.prompt)
    return longest


def at_limit(calls: Calls, compacted: Bools) -> Bools:
    """Tell which compactions are those of a session that came to its limit."""
    near = calls.before >= NEAR * _longest(calls)[calls.session]
    return compacted & near & (calls.length >= LONG_CALLS)


def session_limits(calls: Calls, full: Bools) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Estimate the share of sessions whose limit is above each context.

    Parameters
    ----------
    full
        Compactions at a limit, by call.

    Returns
    -------
    Contexts, ascending, and the shares; both empty if no session has shown a limit.
    """
    long = calls.first & (calls.length >= LONG_CALLS)
    numbers, entries = calls.session[long], calls.prompt[long]
    exits = _longest(calls)[numbers]
    shown = np.zeros(len(numbers), dtype=bool)
    place = {number: at for at, number in enumerate(numbers.tolist())}
    for call in np.nonzero(full)[0].tolist():
        at = place[int(calls.session[call])]
        if not shown[at]:  # the first one tells; the others are at the same limit
            shown[at], exits[at] = True, calls.before[call]
    alive = 1.0
    limits: list[int] = []
    shares: list[float] = []
    for context in np.unique(exits[shown]).tolist():
        risk = int(((entries <= context) & (exits >= context)).sum())
        alive *= 1.0 - int((shown & (exits == context)).sum()) / risk
        limits.append(int(float(f"{context:.3g}")))
        shares.append(round(alive, 4))
    return _thinned(limits, shares)


def _thinned(limits: list[int], shares: list[float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Keep so many points, each context once with its last share."""
    last = dict(zip(limits, shares, strict=True))
    points = list(last.items())
    if len(points) > POINTS:
        chosen = np.linspace(0, len(points) - 1, POINTS).round().astype(int)
        points = [points[place] for place in chosen]
    return tuple(limit for limit, _ in points), tuple(share for _, share in points)
