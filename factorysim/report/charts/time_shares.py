"""Where a session's time goes, by stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.demand import SHARES
from factorysim.report.broken_down import broken_down, mean
from factorysim.report.terminal import SHARES as WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from factorysim.report.charts.source import Source

ALL = "all streams"


class Bar(NamedTuple):
    """The time of one stream's sessions."""

    stream: str
    """Or `ALL`."""
    shares: Mapping[str, float]
    """Kind of time -> share of the whole, user's gaps included; they add up to 1."""

    @property
    def without_gaps(self) -> dict[str, float]:
        """The same of what is left without the user's gaps; empty where nothing is."""
        rest = 1.0 - self.shares.get("gap", 0.0)
        if rest <= 0:
            return {}
        return {kind: share / rest for kind, share in self.shares.items() if kind != "gap"}


class TimeShares(NamedTuple):
    """Bars, and what their parts are called."""

    bars: tuple[Bar, ...]
    words: Mapping[str, str]
    """Kind of time -> what it is called."""
    reason: str
    """Why there are no bars; blank where there are."""
    withheld: tuple[tuple[str, str], ...] = ()
    """What a kind of time is called that no bar has, and why."""


def time_shares(source: Source) -> TimeShares:
    """Time on the critical path of completed sessions, as shares: of all, and by stream."""
    whole, parts = (broken_down(source.run, by) for by in ("all", "stream"))
    shares = {ALL: _means(whole.get("", {}))}
    shares |= {stream: _means(parts.get(stream, {})) for stream in source.streams}
    bars = tuple(Bar(name, one) for name, one in shares.items() if one)
    line = source.run.summary.get("time_share.queue")
    reason = (line.reason if line is not None else None) or "no measured session has ended"
    return TimeShares(
        bars,
        WORDS,
        "" if bars else reason,
        tuple(_withheld(source)) if bars else (),
    )


def _withheld(source: Source) -> Iterator[tuple[str, str]]:
    for kind in SHARES:
        line = source.run.summary.get(f"time_share.{kind}")
        if line is not None and line.value is None:
            yield WORDS[kind], line.reason or "no reason given"


def _means(found: Mapping[str, list[float]]) -> dict[str, float]:
    return {kind: mean(values) for kind in SHARES if (values := found.get(f"time_share.{kind}"))}
