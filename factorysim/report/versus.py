"""A comparison in the terminal: who sustains the demand, then side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.names import metric
from factorysim.report.numbers import common_unit, digits
from factorysim.report.terminal import mark, titled_table, verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from factorysim.study.compare import Comparison, Pair

ROUNDING = 1e-9
"""Half widths below this share of the difference are the rounding of equal differences."""
ROWS = {
    "goodput.sessions_per_s": "arrivals that met SLO",
    "sessions.completed_per_s": "sessions ended",
    "tokens.output_per_s": "output tokens made",
    "tokens.output_per_s.per_device": "  per device",
    "tokens.output_per_s.per_mw": "  per MW of IT",
    "ttft_s.mean": "TTFT, mean",
    "ttft_s.p95": "TTFT, p95",
    "tpot_s.mean": "TPOT, mean",
    "itl_s.p95": "ITL, p95",
    "turn_s.mean": "longest turn, mean",
    "session_s.mean": "session, mean",
    "kv.hit_rate": "KV hits",
    "saturation": "fullest pool",
    "power.it_w.mean": "IT power",
    "energy.j_per_output_token.facility": "facility energy",
    "energy.j_per_session": "  per session",
    "cost.energy_usd_per_mtok_output": "electricity",
    "carbon.g_per_session": "carbon per session",
}


def comparison_report(comparison: Comparison) -> list[RenderableType]:
    """Everything that a comparison says, as parts to print one after the other."""
    from rich.text import Text

    a, b = (run.manifest["scenario"]["name"] for run in (comparison.a, comparison.b))
    parts: list[RenderableType] = [Text(comparison.verdict, style="bold"), ""]
    for letter, run in (("A", comparison.a), ("B", comparison.b)):
        head, _, _, *rest = verdict(run)
        parts += [Text.assemble((f"{letter} ", "bold"), head), *rest, ""]
    table = titled_table(f"A = {a}, B = {b}", ("", "A", "B", "B - A, 95 %", "B / A", ""))
    notes: dict[str, int] = {}
    for name, text in ROWS.items():
        pair = comparison.pairs.get(name)
        if pair is not None:
            table.add_row(text, *_cells(name, pair, notes))
    table.columns[-1].justify = "left"
    parts.append(table)
    parts += [Text(f"({number}) {reason}", style="dim") for reason, number in notes.items()]
    parts += [mark("Note: ", note, "yellow") for note in comparison.notes]
    return [*parts, *_gain(comparison)]


def _cells(name: str, pair: Pair, notes: dict[str, int]) -> list[str]:
    if pair.a is None or pair.b is None:
        number = notes.setdefault(pair.reason or "no reason given", len(notes) + 1)
        return [f"({number})", "", "", "", ""]
    factor, unit = common_unit(max(abs(pair.a), abs(pair.b)), unit_of(name))
    difference = ""
    if pair.difference is not None and pair.ci_high is not None:
        half = half_width(pair.difference, pair.ci_high, factor)
        difference = f"{digits(pair.difference / factor)} ±{half}"
    ratio = "" if pair.ratio is None else digits(pair.ratio)
    return [digits(pair.a / factor), digits(pair.b / factor), difference, ratio, unit]


def half_width(difference: float, high: float, factor: float) -> str:
    """Write half the interval of a difference; what is left of rounding is 0.

    Examples
    --------
    >>> half_width(0.5, 0.75, 0.01), half_width(1 / 60, 1 / 60 + 7e-16, 1.0)
    ('25.0', '0')
    """
    half = high - difference
    return digits(half / factor) if half > ROUNDING * abs(difference) else "0"


def unit_of(name: str) -> str:
    """Look up the unit of a metric, also where it is given per device or per MW."""
    for suffix, unit in ((".per_device", "/device"), (".per_mw", "/MW")):
        if name.endswith(suffix):
            return metric(name.removesuffix(suffix)).unit + unit
    return metric(name).unit


def _gain(comparison: Comparison) -> list[RenderableType]:
    """Tell how large the factories are, and what the common random numbers were worth."""
    from rich.text import Text

    a, b = comparison.a.manifest, comparison.b.manifest
    parts: list[RenderableType] = [
        Text(
            f"{len(a['replications'])} paired replications; serving devices: "
            f"A {a['devices']}, B {b['devices']}"
        )
    ]
    if comparison.power_mismatch is not None:
        parts.append(Text(f"IT power differs by {comparison.power_mismatch:+.1%} (B against A)."))
    pair = comparison.pairs.get("tokens.output_per_s")
    if pair is not None and pair.variance_reduction is not None:
        factor = digits(pair.variance_reduction)
        parts.append(
            Text(
                "Common random numbers divide the variance of the difference in output "
                f"tokens/s by {factor}."
            )
        )
    return parts
