"""The metrics, as `factorysim/metrics/names.py` names them."""

from __future__ import annotations

from itertools import groupby

from pieces import MADE, cell, code, table

from factorysim.metrics.names import METRICS

INTRO = """\
`summary.json` maps each name to `{value, ci_low, ci_high, n, reason, model_low, model_high}`: the
mean over replications, Student's 95 % interval between them, their number; where there is no
value, why. `model_low` and `model_high` bound where 80 % of published measurements of such a
factory fell around predictions ([fidelity](../fidelity.md)). `metrics.parquet` has the same by
replication, and broken down by stream, LLM, pool and tenant.

The *window* tells what counts. `arrivals`: who arrived between warm-up and the end of the window,
followed to the end; `clock`: what happened in the window, whoever it was; `run`: all of the run.

In a name, `POOL` stands for a pool of the factory, `LAW` for an audited law, `THRESHOLD` for one
of an SLO.
"""


def page() -> str:
    """Tell every metric by the first word of its name."""
    sections = [f"{MADE}# Metrics\n\n{INTRO}"]
    first: dict[str, None] = dict.fromkeys(name.split(".")[0] for name in METRICS)
    order = {word: place for place, word in enumerate(first)}
    names = sorted(METRICS, key=lambda name: order[name.split(".")[0]])
    for word, group in groupby(names, key=lambda name: name.split(".")[0]):
        rows = [_row(name) for name in group]
        head = ("Name", "Unit", "Of", "Window", "Formula")
        sections.append(f"## {word}\n\n{table(head, rows)}")
    return "\n".join(sections)


def _row(name: str) -> tuple[str, str, str, str, str]:
    metric = METRICS[name]
    return (
        code(name),
        cell(metric.unit),
        cell(metric.population),
        metric.window,
        cell(metric.formula),
    )
