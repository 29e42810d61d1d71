"""Pools: how busy, how full, how well used, and who waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.pools import pool_bars
from factorysim.report.markup import join, tag
from factorysim.report.sections.section import Section, each, note, reasons, table, told
from factorysim.report.svg.bars import small
from factorysim.report.terminal import cell

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.markup import Content
    from factorysim.report.sections.section import Shown, View

HEAD = ("pool", "in a step", "full", "MFU", "MBU", "queue", "longest")
MEASURES = ("utilization", "saturation", "mfu", "mbu")


def pools(view: View) -> Section:
    """Give every pool a row."""
    return Section("pools", "Pools", join(
        each(view, _of_run),
        note(
            tag("b", "In a step"), ": time that devices spend in steps, or cores in tools. ",
            tag("b", "Full"), ": the fullest of sequences, KV blocks and tokens of a step. ",
            tag("b", "MFU, MBU"), ": arithmetic and bytes needed, of what devices could do at "
            "their peaks. ",
            tag("b", "Queue"), ": who waits for a place, on average and at most.",
        ),
    ))  # fmt: skip


def _of_run(one: Shown) -> Markup:
    summary = one.run.summary
    notes: dict[str, int] = {}
    names = dict.fromkeys(bar.pool for bar in pool_bars(one.source))
    if not names:
        return tag("p", "The run tells of no pool.", class_="empty")
    rows = [
        (
            pool,
            *(_share(one, f"{measure}.{pool}", notes) for measure in MEASURES),
            *(
                told(name, summary.get(name), notes)
                for name in (f"queue.{pool.removesuffix('.tools')}.{stat}"
                             for stat in ("mean", "max"))
            ),
        )
        for pool in names
    ]  # fmt: skip
    return join(
        table(HEAD, rows, caption="Means over replications, ± half the 95 % interval"),
        reasons(notes),
    )


def _share(one: Shown, name: str, notes: dict[str, int]) -> Content:
    line = one.run.summary.get(name)
    text = cell(name, line, notes)
    if line is None or not isinstance(line.value, float):
        return text
    return join(text, small(line.value))
