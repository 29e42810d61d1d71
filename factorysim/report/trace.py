"""What a trace holds, as text of 80 columns: figures in groups, distributions in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.numbers import digits, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.workload.inspect import TraceSummary
    from factorysim.workload.repair import Repair
    from factorysim.workload.samples import Lengths

    Row = tuple[str, str | None]

LABEL = 34
"""Columns of a label."""


def trace_lines(summary: TraceSummary, repairs: Iterable[Repair] = ()) -> list[str]:
    """Lay out a summary; what is not known is left out.

    Examples
    --------
    >>> from factorysim.workload.inspect import summarize
    >>> from factorysim.workload.session import LlmNode, Session
    >>> trace_lines(summarize([Session("a", 0, [LlmNode(10, 2)])]))[:2]
    ['Arrivals', '  sessions                                   1']
    """
    lines: list[str] = []
    for title, rows in _groups(summary):
        lines += _group(title, rows)
    lines += _distributions(summary)
    told = [f"  {repair}" for repair in repairs]
    return [*lines, "Repaired", *told] if told else lines


def _groups(s: TraceSummary) -> list[tuple[str, list[Row]]]:
    ttl = s.ttl_hit_share or {}
    return [
        (
            "Arrivals",
            [
                ("sessions", f"{s.sessions:,}"),
                ("from the first to the last", seconds(s.duration_s)),
                ("rate", _per_s(s.sessions_per_s)),
                ("CV of the gaps", _number(s.gap_cv)),
                ("CV of counts in 10 s", _number(s.count_cv_10s)),
                ("dispersion of counts in 10 s", _number(s.dispersion_10s)),
            ],
        ),
        (
            "Sessions",
            [
                ("LLM calls", f"{s.llm_calls:,}"),
                ("not set off by a user", _share(s.not_user_share)),
                ("tool calls", _count(s.tool_calls)),
                ("gaps of users and approvals", _count(s.gaps)),
                ("calls with a longer prompt", _share(s.growth_share)),
                ("compactions", _count(s.compactions)),
                ("sessions with one", _share(s.compacted_share) if s.compactions else None),
            ],
        ),
        (
            "Prompt tokens that a cache holds",
            [
                ("endless", _share(s.hit_share)),
                ("endless, without first calls", _share(s.later_hit_share)),
                ("endless, had by others only", _share(s.cross_session_share)),
                *((f"for {time} after the last use", _share(ttl[time])) for time in ttl),
                ("calls out of order (too many)", _count(s.early_calls)),
            ],
        ),
        (
            "Tools",
            [
                ("calls below 1 s", _share(s.tools_below_1s_share)),
                ("time in calls above 1 min", _share(s.tool_time_above_1min_share)),
                ("share of tools and LLM time", _share(s.tool_active_share)),
            ],
        ),
    ]


def _group(title: str, rows: list[Row]) -> list[str]:
    known = [f"  {label:<{LABEL}}{value:>10}" for label, value in rows if value is not None]
    return [title, *known] if known else []


def _distributions(s: TraceSummary) -> list[str]:
    several = s.llm_calls > s.sessions
    rows: list[tuple[str, Lengths | None]] = [
        ("calls of a session", s.calls_per_session if several else None),
        ("user turns of a session", s.turns_per_session if several else None),
        ("prompt, tokens", s.prompt_tokens),
        ("new in it, tokens", s.new_tokens),
        ("growth, tokens", s.growth_tokens),
        ("output, tokens", s.output_tokens),
        ("tool call, s", s.tool_seconds),
        ("wait for tools, s", s.tool_gap_seconds),
        ("wait for the user, s", s.user_gap_seconds),
    ]
    known = [(label, lengths) for label, lengths in rows if lengths is not None]
    if not known:
        return []
    points = list(known[0][1].quantiles)
    head = "".join(f"{name:>9}" for name in ["mean", *points])
    lines = [f"{'Distributions':<24}{head}{'total':>11}"]
    for label, lengths in known:
        numbers = "".join(f"{_cell(x):>9}" for x in [lengths.mean, *lengths.quantiles.values()])
        lines.append(f"  {label:<22}{numbers}{_short(lengths.total):>11}")
    return lines


def _cell(value: float) -> str:
    """Write a number in eight columns."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}" if abs(value) < 1e6 else _short(value)
    return digits(value)


def _short(value: float) -> str:
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= factor:
            return f"{digits(value / factor)} {prefix}"
    return f"{value:,.0f}"


def _number(value: float | None) -> str | None:
    return None if value is None else digits(value)


def _per_s(value: float | None) -> str | None:
    return None if value is None else f"{digits(value)} /s"


def _share(value: float | None) -> str | None:
    return None if value is None else percent(value)


def _count(value: int) -> str | None:
    return f"{value:,}" if value else None
