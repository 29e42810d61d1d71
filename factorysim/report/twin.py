"""A twin beside its source, in lines of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorysim.spec.twin import TwinSpec
    from factorysim.workload.twin.compare import Comparison, Likeness


def twin_lines(twin: TwinSpec, compared: Comparison) -> list[str]:
    """Say in lines of 80 columns how like its source a twin is."""
    ours, theirs = compared.prefix_share
    lines = [
        f"  {twin.source.sessions:,} sessions, {twin.source.llm_calls:,} LLM calls"
        + (", joined by the blocks they repeat" if twin.source.joined else "")
        + f"; {compared.drawn:,} drawn",
    ]
    if twin.arrivals is not None:
        rate, cv = twin.arrivals.rate_per_s, twin.arrivals.cv
        lines.append(f"  arrivals: {{process: gamma, rate: {rate:g}/s, cv: {cv:g}}}")
    lines += ["", f"  {'':26}{'median':>9}{'twin':>8}{'p90':>9}{'twin':>8}{'KS':>8}{'noise':>8}"]
    lines += [_row(one) for one in compared.quantities]
    lines += [
        "",
        f"  tokens that repeat the session's own: {ours:.1%} of prompts, twin {theirs:.1%}",
    ]
    lines += [
        f"  rank correlation of {name}: {a:.2f}, twin {b:.2f}"
        for name, (a, b) in compared.correlations.items()
    ]
    lines += [
        "  KS: the largest difference between the shares of values; noise: what 95 % of",
        "  samples of as many sessions stay below. * marks a distance beyond it.",
    ]
    return lines


def _row(one: Likeness) -> str:
    mark = "*" if one.distance > one.noise else " "
    cells = (one.source[1], one.twin[1], one.source[2], one.twin[2])
    widths = (9, 8, 9, 8)
    shown = "".join(f"{_short(v):>{w}}" for v, w in zip(cells, widths, strict=True))
    return f"  {one.name:26}{shown}{one.distance:>7.3f}{mark}{one.noise:>8.3f}"


def _short(value: float) -> str:
    """Write a number in at most seven characters."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if value >= limit:
            scale = {"G": 1e9, "M": 1e6, "K": 1e3}[suffix]
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def comparison_data(compared: Comparison) -> dict[str, object]:
    """Give a comparison as what JSON can hold."""
    return compared._asdict() | {"quantities": [one._asdict() for one in compared.quantities]}
