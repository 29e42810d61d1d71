"""Where a session's time goes, as parts of a bar for each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.time_shares import time_shares as shares_of
from factorysim.report.markup import join, tag
from factorysim.report.numbers import percent
from factorysim.report.page import cut
from factorysim.report.sections.section import Section, each, folded, note, table
from factorysim.report.svg.bars import Part, stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from factorysim.report.charts.time_shares import TimeShares
    from factorysim.report.sections.section import Shown, View


MOST = 13
"""Bars: of all streams, and of twelve."""
NARROW = 360.0
"""Pixels of bars on a telephone, where wider ones would shrink with all that is written on them."""


def time_shares(view: View) -> Section:
    """Divide the time on the critical path of sessions, with and without the user's gaps."""
    return Section("shares", "Where time goes", join(
        note("On the critical path of the measured sessions that completed; summed over them."),
        each(view, lambda one: _of_run(one, 760.0 if not view.several else 480.0)),
    ))  # fmt: skip


def _of_run(one: Shown, width: float) -> Markup:
    found = shares_of(one.source)
    if not found.bars:
        return tag("p", f"Withheld: {found.reason}.", class_="empty")
    return join(_drawn(one, _once(found), width), _left_out(one, found))


def _once(found: TimeShares) -> TimeShares:
    """Leave out all streams together where there is but one."""
    return found._replace(bars=found.bars[1:]) if len(found.bars) == 2 else found


def _left_out(one: Shown, found: TimeShares) -> Markup:
    """Say what the bars do not hold: sessions that did not end, and kinds of time, and why."""
    arrived, ended = (_count(one, f"sessions.{what}") for what in ("arrived", "completed"))
    share = percent(1 - ended / arrived)
    told = f"Left out: the {share} of the measured sessions that did not complete."
    kinds = [note(f"Withheld: {what}: {why}.") for what, why in found.withheld]
    return join(note(told) if ended < arrived else None, kinds)


def _count(one: Shown, name: str) -> float:
    value = one.run.summary[name].value
    assert isinstance(value, float)
    return value


def _drawn(one: Shown, found: TimeShares, width: float) -> Markup:
    with_gaps = [(bar.stream, bar.shares) for bar in found.bars]
    without = [(bar.stream, bar.without_gaps) for bar in found.bars if bar.without_gaps]
    gaps = any(bar.shares.get("gap", 0.0) > 0 for bar in found.bars)
    if not gaps:
        return join(_bars(found, with_gaps, width, "Where time goes"), _values(found))
    name = f"gaps{one.letter}"
    return join(
        tag(
            "div",
            tag(
                "p",
                [
                    tag("button", text, type="button", aria_pressed=state, data_for=f"{name}-{key}")
                    for key, text, state in (
                        ("out", "without the user's gaps", "true"),
                        ("in", "with them", "false"),
                    )
                ],
                class_="choices",
            ),
            tag("div", _bars(found, without, width, "Where time goes, without the user's gaps"),
                id=f"{name}-out", data_title="Without the user's gaps"),
            tag("div", _bars(found, with_gaps, width, "Where time goes, with the user's gaps"),
                id=f"{name}-in", data_title="With the user's gaps"),
            class_="choose",
        ),
        _values(found),
    )  # fmt: skip


def _bars(
    found: TimeShares, bars: Sequence[tuple[str, Mapping[str, float]]], width: float, label: str
) -> Markup:
    if not bars:
        return tag("p", "Nothing is left without them.", class_="empty")
    more = len(bars) - MOST
    bars = bars[:MOST]
    rows = [
        (cut(stream, 60), [
            Part(share, f"t-{kind}", percent(share),
                 f"{cut(stream, 60)}\n{found.words[kind]}: {percent(share)}")
            for kind, share in shares.items()
            if share > 0
        ])
        for stream, shares in bars
    ]  # fmt: skip
    seen = [kind for kind in found.words if any(s.get(kind, 0.0) >= 5e-4 for _, s in bars)]
    return join(
        tag("div", stack(label, rows, width), class_="broad"),
        tag("div", stack(label, rows, NARROW), class_="slim"),
        _key([(kind, found.words[kind]) for kind in seen]),
        note(f"{more:,} more streams are not drawn; the values below are of all.")
        if more > 0
        else None,
    )


def _key(entries: list[tuple[str, str]]) -> Markup:
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("svg", tag("rect", class_=f"t-{kind}", width=14, height=14),
                    viewBox="0 0 14 14", class_="box", aria_hidden="true"),
                text,
            )
            for kind, text in entries
        ],
        class_="key",
    )  # fmt: skip


def _values(found: TimeShares) -> Markup:
    kinds = [kind for kind in found.words if any(bar.shares.get(kind) for bar in found.bars)]
    rows = [
        (cut(bar.stream, 60), *(percent(bar.shares.get(kind, 0.0)) for kind in kinds))
        for bar in found.bars
    ]
    head = ("", *(found.words[kind] for kind in kinds))
    return folded("Values", table(head, rows, caption="Shares of all the time, gaps included"))
