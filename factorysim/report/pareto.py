"""A sweep over sessions in flight in the terminal: frontiers, points, and what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import printable
from factorysim.report.numbers import amount, digits, seconds
from factorysim.report.terminal import mark, titled_table
from factorysim.study.pareto import layouts_asked, unmeasured

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from factorysim.study.pareto import Estimate, Pareto, Point

NO_P95 = "a p95 needs 400 calls; --calls measures more"
HEAD = ("in flight", "a user", "a GPU", "a MW", "frontier", "J/token", "TTFT p95")


def pareto_report(found: Pareto) -> list[RenderableType]:
    """Everything that a sweep says, as parts to print one after the other."""
    parts: list[RenderableType] = [*verdict(found), ""]
    for factory in found.factories:
        layouts = dict.fromkeys(p.layout for p in found.points if p.scenario == factory.name)
        for layout in layouts:
            parts += [_points(found, factory.name, layout), ""]
    for one in unmeasured(found):
        head = f"Not measured: {one.where}: "
        parts.append(mark(printable(head), printable(one.reason), "red"))
    return parts + _footer(found)


def verdict(found: Pareto) -> list[Text]:
    """Three lines a factory: what a user gets at most, and what a MW and a GPU make at most.

    And how many layouts are missing, if any are.
    """
    lines = [line for factory in found.factories for line in _ends(found, factory.name)]
    asked, missed = layouts_asked(found)
    return [*lines, *([_missed(asked, missed)] if missed else [])]


def _missed(asked: int, missed: int) -> Text:
    from rich.text import Text

    are = "is" if missed == 1 else "are"
    return Text(f"{missed} of {asked} layouts {are} not drawn: nothing of them could be measured")


def _ends(found: Pareto, scenario: str) -> list[Text]:
    from rich.text import Text

    mine = [point for point in found.points if point.scenario == scenario]
    if not mine:
        return [Text(printable(f"{scenario}: no point could be measured."), style="bold")]
    quick = max(mine, key=lambda point: point.tokens_per_s_per_user.value)
    megawatt = max(mine, key=lambda point: point.tokens_per_s_per_mw.value)
    gpu = max(mine, key=lambda point: point.tokens_per_s_per_gpu.value)
    speed = digits(quick.tokens_per_s_per_user.value)
    lines = [
        f"{scenario}: up to {speed} tokens/s for a user ({_where(quick)})",
        f"  up to {amount(megawatt.tokens_per_s_per_mw.value)} tokens/s from a MW {_at(megawatt)}",
        f"  up to {digits(gpu.tokens_per_s_per_gpu.value)} tokens/s from a GPU {_at(gpu)}",
    ]
    return [Text(printable(line), style="bold") for line in lines]


def _at(point: Point) -> str:
    return f"({_where(point)}, {digits(point.tokens_per_s_per_user.value)} for a user)"


def _where(point: Point) -> str:
    return f"{point.layout}, {point.concurrency:,} in flight"


def _points(found: Pareto, scenario: str, layout: str) -> Table:
    mine = [p for p in found.points if (p.scenario, p.layout) == (scenario, layout)]
    first = mine[0]
    replicas = f"{first.replicas} replica{'s' * (first.replicas != 1)}"
    devices = f"{first.devices:,} device{'s' * (first.devices != 1)}"
    title = f"{scenario}, {layout}: tokens/s from {replicas} on {devices}"
    if first.partner_devices:
        title += f" (and {first.partner_devices:,} across a split, not counted in a GPU's)"
    table = titled_table(printable(title), HEAD)
    for point in mine:
        table.add_row(
            f"{point.concurrency:,}",
            _cell(point.tokens_per_s_per_user),
            _cell(point.tokens_per_s_per_gpu),
            _cell(point.tokens_per_s_per_mw),
            _frontier(point),
            _cell(point.j_per_output_token),
            "-" if point.ttft_p95_s is None else seconds(point.ttft_p95_s.value),
        )
    table.columns[0].justify = "right"
    return table


def _cell(estimate: Estimate) -> str:
    text = amount(estimate.value)
    if estimate.low is None or estimate.high is None or estimate.high == estimate.low:
        return text
    half = (estimate.high - estimate.low) / 2 / estimate.value
    return f"{text} ±{100 * half:.2g}%"


def _frontier(point: Point) -> str:
    kinds = {"GPU": point.on_gpu_frontier, "MW": point.on_mw_frontier}
    there = [kind for kind, on in kinds.items() if on]
    return "both" if len(there) == 2 else "".join(there) or "-"


def _footer(found: Pareto) -> list[RenderableType]:
    calls = f"{found.replications} replication{'s' * (found.replications != 1)} a point"
    least = f"of {found.calls:,} calls at least and several times the sessions in flight"
    parts: list[RenderableType] = [
        mark(
            "Measured: ",
            f"closed loops {least}, {calls}, seed {found.seed}; a user's tokens/s are 1 / median "
            "TPOT, a MW is of facility power",
            "",
        )
    ]
    parts += [
        mark(
            "Assumed: ",
            printable(f"{one.name} rests on {one.assumed} facts that nobody has published"),
            "yellow",
        )
        for one in found.factories
        if one.assumed
    ]
    for error in dict.fromkeys(one.model_error for one in found.factories):
        parts.append(mark("Model error: ", printable(error), ""))
    if any(point.ttft_p95_s is None for point in found.points):
        parts.append(mark("Note: ", f"-: {NO_P95}", "yellow"))
    return parts + [mark("Note: ", printable(note), "yellow") for note in found.notes]
