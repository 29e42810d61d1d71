"""Cross-validation in the terminal: errors and coverage, then whether devices are ranked well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import printable
from factorysim.report.numbers import digits, percent
from factorysim.report.terminal import mark, titled_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from factorysim.study.cross_validation import CrossValidation, Scored

TITLES = {
    "seen": "Seen: rows that the factors were fitted to",
    "generation": "Left out by generation",
    "family": "Left out by family of LLMs",
}
NONE = "-"


def cross_validation_report(found: CrossValidation) -> list[RenderableType]:
    """Everything that a cross-validation says, as parts to print one after the other."""
    parts: list[RenderableType] = []
    for one in found.classes:
        rows, lost = len(one.residuals), len(one.unpredicted)
        told = f"{rows} of {rows + lost} rows"
        if one.name != "seen":
            told += f", {len(one.folds)} folds: {', '.join(one.folds)}"
        parts += [
            mark("Predicted: ", printable(told), "bold"),
            "",
            _scores(one),
            "",
            _bands(one),
            "",
            *_ranks(one),
            "",
        ]
    return parts


def _scores(found: Scored) -> Table:
    """Errors, and the share of rows within bands that were made without them."""
    head = ("", "load", "rows", "median", "mean", "bias", "in band", "of", "width")
    table = titled_table(TITLES[found.name], head)
    for cell in found.cells:
        shares = [NONE if one is None else percent(one) for one in (cell.median, cell.mean)]
        table.add_row(
            cell.quantity,
            cell.load,
            str(cell.rows),
            *shares,
            NONE if cell.bias is None else f"{100 * cell.bias:+.1f} %",
            NONE if cell.coverage is None else percent(cell.coverage),
            str(cell.banded or NONE),
            NONE if cell.width is None else digits(cell.width),
        )
    table.columns[1].justify = "left"
    return table


def _bands(found: Scored) -> Table:
    head = ("80 % of measured/predicted", "load", "low", "high", "high/low", "rows", "sources")
    table = titled_table("Bands of all rows", head)
    for band in found.bands:
        _, low, high = band.bounds
        table.add_row(
            band.quantity, band.load, digits(low), digits(high), digits(high / low),
            str(band.rows), str(len(band.sources)),
        )  # fmt: skip
    table.columns[1].justify = "left"
    return table


def _ranks(found: Scored) -> list[RenderableType]:
    """Tell of each quantity how often devices are put in the order that was measured."""
    parts: list[RenderableType] = []
    for quantity in ("throughput", "tpot"):
        sets = [one for one in found.ranked if one.quantity == quantity]
        if not sets:
            continue
        pairs, agree = sum(one.pairs for one in sets), sum(one.agree for one in sets)
        told = f"{quantity}: {agree} of {pairs} pairs in {len(sets)} sets of one LLM and load"
        rho = [one.spearman for one in sets if one.spearman is not None]
        if rho:
            told += (
                f"; Spearman {digits(sum(rho) / len(rho))} on average of {len(rho)} sets of three "
                f"devices or more, {digits(min(rho))} at worst"
            )
        parts.append(mark("Devices ranked as measured: ", told, ""))
    return parts
