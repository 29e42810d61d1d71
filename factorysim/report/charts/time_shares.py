"""Where a session's time goes, by stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.demand import SHARES
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
    found: dict[str, dict[str, list[float]]] = {}
    table = source.run.metrics
    table = table[table["name"].str.startswith("time_share.") & table["value"].notna()]
    for by, key, name, value in zip(
        table["by"], table["key"], table["name"], table["value"], strict=True
    ):
        if by in ("all", "stream"):
            bar = ALL if by == "all" else str(key)
            kind = str(name).removeprefix("time_share.")
            found.setdefault(bar, {}).setdefault(kind, []).append(float(value))
    line = source.run.summary.get("time_share.queue")
    reason = (line.reason if line is not None else None) or "no measured session has ended"
    return TimeShares(
        tuple(Bar(name, _means(found[name])) for name in (ALL, *source.streams) if name in found),
        WORDS,
        "" if found else reason,
        tuple(_withheld(source)) if found else (),
    )


def _withheld(source: Source) -> Iterator[tuple[str, str]]:
    for kind in SHARES:
        line = source.run.summary.get(f"time_share.{kind}")
        if line is not None and line.value is None:
            yield WORDS[kind], line.reason or "no reason given"


def _means(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {kind: sum(values[kind]) / len(values[kind]) for kind in SHARES if kind in values}
