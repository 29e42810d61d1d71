"""Rates that change in the course of time, and the instants that they give.

A process of rate 1 is stretched where the rate is low and squeezed where it is
high: its n-th instant u becomes the time t at which the cumulative rate has
reached u. So whatever the rate does, the n-th session is the same one, and a rate
k times as high everywhere has the n-th instant of u / k. Rates are pieces, each
constant or linear, so that the inverse is exact and needs no horizon [1]_.

References
----------
.. [1] Cinlar, Introduction to Stochastic Processes, 1975, section 4.7 (time change);
   Gerhardt and Nelson, "Transforming renewal processes for simulation of nonstationary
   arrival processes", INFORMS Journal on Computing 21 (2009), for other renewal bases.
"""

from __future__ import annotations

from itertools import cycle, pairwise
from math import inf, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from factorysim.spec.arrivals import MmppArrivals, ProfileSpec, RatedArrivals, SpikeSpec

HOUR_S = 3600.0
WEEK_S = 7 * 24 * HOUR_S


class Piece(NamedTuple):
    """A time over which the rate is constant, or changes linearly."""

    length_s: float
    begin: float
    """Level at its start, as a multiple of the mean."""
    end: float

    @property
    def mass(self) -> float:
        """Level, integrated over the piece."""
        if self.length_s == inf:
            return inf if self.begin else 0.0
        return self.length_s * (self.begin + self.end) / 2.0

    def until(self, length_s: float) -> Piece:
        """Cut off what comes after a part of it."""
        if self.begin == self.end or self.length_s == length_s:
            return Piece(length_s, self.begin, self.end)
        slope = (self.end - self.begin) / self.length_s
        return Piece(length_s, self.begin, self.begin + slope * length_s)

    def rest(self, length_s: float) -> Piece:
        """Cut off a first part of it."""
        return Piece(self.length_s - length_s, self.until(length_s).end, self.end)


def inverted(unit: Iterator[float], pieces: Iterator[Piece], rate: float) -> Iterator[float]:
    """Turn instants of a process of rate 1 into those at a changing rate, in seconds.

    Parameters
    ----------
    pieces
        From time 0 on, without a gap, for ever.
    rate
        By which their levels are multiplied, per second.

    Examples
    --------
    >>> pieces = iter([Piece(1.0, 1.0, 1.0), Piece(1.0, 0.0, 0.0), Piece(inf, 4.0, 4.0)])
    >>> list(inverted(iter([1.0, 3.0, 4.0]), pieces, 2.0))
    [0.5, 2.125, 2.25]
    """
    start_s = done = 0.0
    piece = next(pieces)
    mass = rate * piece.mass
    for instant in unit:
        while instant - done >= mass:
            done += mass
            start_s += piece.length_s
            piece = next(pieces)
            mass = rate * piece.mass
        left = (instant - done) / rate
        begin, end = piece.begin, piece.end
        if begin == end:
            yield start_s + left / begin
        else:
            # begin t + (end - begin) t^2 / (2 length) = left, in the form without cancellation.
            slope = (end - begin) / piece.length_s
            root = sqrt(max(0.0, begin * begin + 2.0 * slope * left))
            yield start_s + (2.0 * left / (begin + root) if left else 0.0)


def product(first: Iterator[Piece], second: Iterator[Piece]) -> Iterator[Piece]:
    """Multiply two rates, of which `second` is constant in each of its pieces.

    Examples
    --------
    >>> slopes = iter([Piece(2.0, 0.0, 2.0), Piece(inf, 1.0, 1.0)])
    >>> steps = iter([Piece(1.0, 1.0, 1.0), Piece(inf, 3.0, 3.0)])
    >>> rates = product(slopes, steps)
    >>> next(rates), next(rates)
    (Piece(length_s=1.0, begin=0.0, end=1.0), Piece(length_s=1.0, begin=3.0, end=6.0))
    """
    one, other = next(first), next(second)
    while True:
        length_s = min(one.length_s, other.length_s)
        part, level = one.until(length_s), other.begin
        yield Piece(length_s, part.begin * level, part.end * level)
        one, other = (
            next(first) if one.length_s == length_s else one.rest(length_s),
            next(second) if other.length_s == length_s else other.rest(length_s),
        )


def pieces_of(arrivals: RatedArrivals, seed: int, replication: int, name: str) -> Iterator[Piece]:
    """Give the rate of arrivals over time, as multiples of their mean rate."""
    from factorysim.spec.arrivals import MmppArrivals

    pieces = mean_pieces(arrivals)
    if isinstance(arrivals, MmppArrivals):
        pieces = product(pieces, _states(arrivals, seed, replication, name))
    return pieces


def mean_pieces(arrivals: RatedArrivals) -> Iterator[Piece]:
    """Give what is known of a rate beforehand: profile and spikes."""
    pieces = iter([Piece(inf, 1.0, 1.0)])
    if arrivals.profile is not None:
        pieces = _week(profile_of(arrivals.profile), arrivals.start)
    return product(pieces, _spiked(arrivals.spikes)) if arrivals.spikes else pieces


def expected(arrivals: RatedArrivals, until_s: float) -> float:
    """Mean number of arrivals up to a time.

    Examples
    --------
    >>> from factorysim.spec.arrivals import PoissonArrivals, SpikeSpec
    >>> spikes = {"one": SpikeSpec(at="10 s", length="5 s", times=10.0)}
    >>> expected(PoissonArrivals(process="poisson", rate="2/s", spikes=spikes), 20.0)
    130.0
    """
    total = now_s = 0.0
    for piece in mean_pieces(arrivals):
        part = piece if piece.length_s <= until_s - now_s else piece.until(until_s - now_s)
        total += part.mass
        now_s += part.length_s
        if now_s >= until_s:
            break
    return arrivals.rate * total


def profile_of(profile: ProfileSpec | str) -> ProfileSpec:
    """Find a shipped profile by its name."""
    from factorysim.spec.profile import ProfileFile
    from factorysim.workload.files import CATALOG, read_spec

    if not isinstance(profile, str):
        return profile
    return read_spec(CATALOG / "profiles" / f"{profile}.yaml", ProfileFile).profile


def _week(profile: ProfileSpec, start_s: float) -> Iterator[Piece]:
    """Go through the weeks from an instant of the first one on."""
    levels = [hour * day for day in profile.days for hour in profile.hours]
    mean = sum(levels) / len(levels)
    levels = [level / mean for level in levels]
    if profile.between == "steps":
        week = [Piece(HOUR_S, level, level) for level in levels]
        offset_s = start_s % WEEK_S
    else:
        # From the middle of each hour to that of the next.
        week = [Piece(HOUR_S, a, b) for a, b in pairwise([*levels, levels[0]])]
        offset_s = (start_s - HOUR_S / 2.0) % WEEK_S
    pieces = cycle(week)
    for piece in pieces:
        if offset_s < piece.length_s:
            yield piece.rest(offset_s)
            break
        offset_s -= piece.length_s
    yield from pieces


def _spiked(spikes: Mapping[str, SpikeSpec]) -> Iterator[Piece]:
    edges = sorted({0.0, *(edge for s in spikes.values() for edge in (s.at, s.at + s.length))})
    for begin, end in pairwise([*edges, inf]):
        level = 1.0
        for spike in spikes.values():
            if spike.at <= begin < spike.at + spike.length:
                level *= spike.times
        yield Piece(end - begin, level, level)


def _states(arrivals: MmppArrivals, seed: int, replication: int, name: str) -> Iterator[Piece]:
    """Go through the states, from one drawn as they share the time on."""
    from factorysim.rng import stream

    generator = stream(seed, replication, name, "states")
    shares, mean = arrivals.time_shares, arrivals.rate
    ways = {state: arrivals.ways(state) for state in arrivals.states}
    state = _drawn(shares, generator.random())
    while True:
        spec = arrivals.states[state]
        level = spec.rate / mean
        yield Piece(generator.standard_exponential() * spec.sojourn, level, level)
        state = _drawn(ways[state], generator.random())


def _drawn(weights: Mapping[str, float], uniform: float) -> str:
    """Choose by weights, with one uniform."""
    left = uniform * sum(weights.values())
    chosen = ""
    for name, weight in weights.items():
        if weight:
            chosen = name
            if left < weight:
                break
            left -= weight
    return chosen
