"""What the streams of a scenario got at one rate, and what that says of their SLOs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.in_slo import NOBODY, ROUNDING, InSlo, Judgement, pooled, worst
from factorysim.metrics.slo import has_threshold
from factorysim.metrics.summary import shares_in_slo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.metrics.replication import Replication
    from factorysim.spec.stream import StreamSpec


class Attained(NamedTuple):
    """What the sessions of a stream got at one point."""

    share: float | None
    """In SLO, of those with a verdict, mean over replications, as `run` has it; None where no
    session has one."""
    least: float | None
    """Of all sessions, if each that was still under way misses; None: none arrived."""
    most: float | None
    """If each of them meets it."""
    attain: float
    """Asked for."""
    sessions: int
    """With a verdict, in all replications."""
    shares: tuple[float | None, ...]
    """By replication."""
    missed: dict[str, float]
    """Threshold -> share of sessions past it; `failed`: past none, and not in SLO. Means
    over replications."""

    @property
    def found(self) -> InSlo:
        """The share, and what it can still become."""
        return InSlo(self.share, self.least, self.most)

    @property
    def judgement(self) -> Judgement:
        """What `run` says of the stream."""
        return self.found.judged(self.attain)

    @property
    def reached(self) -> bool:
        """Whether of the sessions with a verdict as many are in SLO as asked for."""
        return self.share is not None and self.share >= self.attain - ROUNDING


class Point(NamedTuple):
    """All replications at one rate."""

    scale: float
    """Of the scenario's own rate."""
    rate: float
    inside: bool
    streams: dict[str, Attained]
    overload: str | None
    """`steady`, `unsettled` or `overloaded`; None of a run with an end."""
    saturation: float | None
    bottleneck: str

    @property
    def judgement(self) -> Judgement:
        """What `run` says of all streams together, overload apart."""
        return worst(one.judgement for one in self.streams.values())

    @property
    def misses(self) -> bool:
        """Whether a stream has less than its share, of the sessions with a verdict."""
        return any(one.share is not None and not one.reached for one in self.streams.values())

    @property
    def open(self) -> tuple[str, float]:
        """Stream of which most was under way at the end, and that share of its sessions."""
        open_ = {name: one.found.open for name, one in self.streams.items()}
        longest = max(open_, key=lambda name: open_[name])
        return longest, open_[longest]


def attained(
    streams: Mapping[str, StreamSpec], replications: Sequence[Replication]
) -> dict[str, Attained]:
    """Tell what each stream with a threshold got in all replications of a rate."""
    shares = shares_in_slo(replications)
    told: dict[str, Attained] = {}
    for name, stream in streams.items():
        if has_threshold(stream.slo):
            mine = shares.get(name, [NOBODY] * len(replications))
            told[name] = Attained(
                *pooled(mine),
                stream.slo.attain,
                _verdicts(replications, name),
                tuple(one.share for one in mine),
                _missed(replications, name),
            )
    return told


def is_inside(streams: Iterable[Attained], state: str | None) -> bool:
    """Whether every stream reaches its share, and the backlog does not grow.

    A stream that no session of has a verdict says nothing; where none says anything,
    the point is not inside.
    """
    known = [one.reached for one in streams if one.share is not None]
    return bool(known) and all(known) and state != "overloaded"


def _verdicts(replications: Iterable[Replication], stream: str) -> int:
    """Sessions of a stream with a verdict."""
    return sum(
        value.n
        for replication in replications
        for value in replication.values
        if (value.name, value.by, value.key) == ("slo.sessions", "stream", stream)
    )


def _missed(replications: Iterable[Replication], stream: str) -> dict[str, float]:
    """Share of a stream's sessions past each threshold, mean over replications."""
    shares: dict[str, list[float]] = {}
    for replication in replications:
        for value in replication.values:
            _, found, threshold = value.name.partition("slo.missed.")
            if found and value.key == stream and value.value is not None:
                shares.setdefault(threshold, []).append(float(value.value))
    return {threshold: sum(some) / len(some) for threshold, some in shares.items()}


def open_note(points: Sequence[Point], unit: str) -> str | None:
    """Say between which rates sessions that were still under way could turn the verdict.

    Parameters
    ----------
    points
        By rate, at least one.
    """
    turned = [one for one in points if one.judgement in ("so_far", "undecided")]
    if not turned:
        return None
    worst_of = max(turned, key=lambda one: one.open[1])
    stream, share = worst_of.open
    met = max((one.rate for one in points if one.judgement == "met"), default=None)
    missed = min((one.rate for one in points if one.judgement == "missed"), default=None)
    sure = "at none of these rates" if met is None else f"up to {met:.3g}"
    lost = "at none" if missed is None else f"from {missed:.3g}"
    return (
        f"up to {share:.1%} of the sessions of {stream} (at {worst_of.rate:.3g} {unit}) were still "
        f"under way at the end; SLOs are sure to be met {sure} and to be missed {lost}: "
        "a longer run.drain would tell more"
    )
